"""Figures of an inspection through matplotlib, fit for a paper: both attentions and their difference, stages, subjects.

Boxes are `(N, 4)` as x0, y0, x1, y1 in pixels of the image; values `(N,)`, one a token. Maps that are compared share one
scale, and every scale is drawn. The same input gives the same file.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ssa_me import figures
from ssa_me.explanation import Alignment
from ssa_me.model_info import TITLES

Format = Literal["png", "svg"]
STAGES = {"semantic": "Semantic", "expert": "Expert", "fused": "Fused", "head": "Head", "gain": "Regenerated"}
_ACROSS = 2.6  # inches of one picture


def attention_figure(
    image: Image.Image,
    boxes: np.ndarray,
    attention: Mapping[str, np.ndarray],
    grid: bool = False,
    titles: Mapping[str, str] = TITLES,
) -> Figure:
    """The image, each version's attention on one scale from 0, and SSA-ME's less the baseline's on its own around 0. titles:
    version → its name for people."""
    picture, scaled = figures.canvas(image, boxes)
    scale = figures.shared_scale(list(attention.values()))
    gap = attention["ssa-me"] - attention["baseline"]
    far = max(float(np.abs(gap).max(initial=0.0)), scale[1] / 4)  # a trifle is not blown up
    figure, axes = _row(4, picture)
    _show(axes[0], picture, "Image")
    for axis, (version, values) in zip(axes[1:3], attention.items(), strict=True):
        drawn = figures.overlay(picture, scaled, values, scale, grid=grid)
        _show(axis, drawn, f"{titles.get(version, version)}: {values.sum():.0%} on the image")
    drawn = figures.overlay(picture, scaled, gap, (-far, far), grid=grid, colours=figures.DIVERGING)
    _show(axes[3], drawn, f"{titles['ssa-me']} − {titles['baseline']}")
    _bar(figure, list(axes[1:3]), scale, figures.HEAT, "attention per token")
    _bar(figure, [axes[3]], (-far, far), figures.DIVERGING, "difference")
    return figure


def stages_figure(
    image: Image.Image, boxes: np.ndarray, stages: Mapping[str, np.ndarray], grid: bool = False
) -> Figure:
    """Every stage of the salience on the scale from 0 to 1."""
    picture, scaled = figures.canvas(image, boxes)
    named = {name: stages[name] for name in STAGES if name in stages}
    figure, axes = _row(len(named), picture)
    for axis, (name, values) in zip(axes, named.items(), strict=True):
        _show(axis, figures.overlay(picture, scaled, values, (0.0, 1.0), grid=grid), STAGES[name])
    _bar(figure, list(axes), (0.0, 1.0), figures.HEAT, "salience")
    return figure


def subject_figure(image: Image.Image, boxes: np.ndarray, alignment: Alignment, grid: bool = False) -> Figure:
    """The salience of one phrase, with its region and, dashed, the strongest rival."""
    picture, scaled = figures.canvas(image, boxes)
    figure, axes = _row(1, picture)
    drawn = figures.overlay(picture, scaled, alignment.salience, (0.0, 1.0), grid=grid)
    _show(axes[0], drawn, _shown(alignment.phrase))
    across, down = picture.shape[1] / image.width, picture.shape[0] / image.height
    for bbox, style in ((alignment.rival, "--"), (alignment.region, "-")):
        if bbox is not None:
            x, y, width, height = bbox
            corner, size = (x * across, y * down), (width * across, height * down)
            for colour, thick in (("black", 3.0), ("white", 1.4)):
                axes[0].add_patch(Rectangle(corner, *size, fill=False, ls=style, ec=colour, lw=thick))
    _bar(figure, list(axes), (0.0, 1.0), figures.HEAT, "salience")
    return figure


def save(figure: Figure, kind: Format, dpi: int = 120) -> bytes:
    """The figure as a file's bytes."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {}
    with mpl.rc_context({"svg.hashsalt": "ssa-me"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # scripts that matplotlib's font lacks
        figure.savefig(buffer, format=kind, dpi=dpi, **options)
    return buffer.getvalue()


def _row(count: int, picture: np.ndarray) -> tuple[Figure, Any]:
    shape = picture.shape[0] / picture.shape[1]
    figure = Figure(figsize=(_ACROSS * count + 0.4, _ACROSS * shape + 0.9), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _show(axis: Any, picture: np.ndarray, title: str) -> None:
    axis.imshow(picture)
    axis.set_axis_off()
    axis.set_title(title, fontsize=9)


def _bar(figure: Figure, axes: list[Any], scale: figures.Scale, colours: str, label: str) -> None:
    drawn = mpl.cm.ScalarMappable(mpl.colors.Normalize(*scale), colours)
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.7, aspect=30, pad=0.03)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _shown(text: str, most: int = 40) -> str:
    """Text as a title: no mathematics in it, and not too long."""
    text = text.replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most - 1]}…"
