"""A method's attributions as one figure, fit for a paper: maps, curves and words of each model, as PNG or SVG.

It draws what it is given with matplotlib and knows no model. Maps of versions share one scale around zero; that of the
difference has its own. The same input gives the same file.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ssa_me import figures
from ssa_me.attribution.quality import Quality
from ssa_me.attribution.result import Attribution
from ssa_me.attribution.settings import METHODS

FORMATS = ("png", "svg")
_TITLES = {"baseline": "Baseline", "ssa-me": "SSA-ME", "ssa-me - baseline": "SSA-ME − baseline"}
_MOST_WORDS = 16
_GAIN, _LOSS = "#b2182b", "#2166ac"  # the two ends of the map's colours


def draw(image: Image.Image, found: Sequence[tuple[Attribution, Quality]], grid: bool = False) -> Figure:
    """One row an attribution of `image`, all by one method: image, map, words, deletion and insertion.

    grid: paint the true cells instead of smoothing them.
    """
    figure = Figure(figsize=(13, 3.4 * len(found) + 0.6), layout="constrained")
    method = METHODS[found[0][0].method]
    figure.suptitle(f"{method.title} — “{_shown(found[0][0].text)}”", fontsize=12)
    axes = figure.subplots(len(found), 4, squeeze=False, width_ratios=(1, 1.18, 1.1, 1.1))
    for (attribution, quality), row in zip(found, axes, strict=True):
        picture, boxes = figures.canvas(image, attribution.boxes)
        row[0].imshow(picture)
        for axis in row[:2]:
            axis.set_axis_off()
        row[0].set_title(f"{_TITLES[attribution.model]}: F = {attribution.image.score:.3f}", fontsize=10)
        _map(figure, row[1], picture, boxes, attribution, scale_of(attribution, found), grid)
        _words(row[2], attribution)
        _curves(row[3], quality)
    return figure


def write(figure: Figure, path: Path) -> Path:
    """Save as the format of the path's suffix."""
    with mpl.rc_context({"svg.hashsalt": "ssa-me"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # scripts that matplotlib's font lacks
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def scale_of(attribution: Attribution, found: Sequence[tuple[Attribution, Quality]]) -> figures.Scale:
    """The scale of one map: that of all versions' maps together, or the difference's own; from 0 where it has no sign."""
    alike = [other.values for other, _ in found if other.target == attribution.target]
    _, top = figures.shared_scale([np.abs(values) for values in alike])
    return (-top, top) if METHODS[attribution.method].signed else (0.0, top)


def _map(
    figure: Figure,
    axis: Any,
    picture: np.ndarray,
    boxes: np.ndarray,
    attribution: Attribution,
    scale: figures.Scale,
    grid: bool,
) -> None:
    colours = figures.DIVERGING if METHODS[attribution.method].signed else figures.HEAT
    grey = np.repeat(np.asarray(Image.fromarray(picture).convert("L"))[..., None], 3, axis=2)
    axis.imshow(figures.overlay(grey, boxes, attribution.values, scale, grid=grid, colours=colours))
    axis.set_title("contribution of each image token", fontsize=9)
    bar = mpl.cm.ScalarMappable(mpl.colors.Normalize(*scale), colours)
    figure.colorbar(bar, ax=axis, shrink=0.8).ax.tick_params(labelsize=7)


def _words(axis: Any, attribution: Attribution) -> None:
    words = attribution.words
    strongest = sorted(range(len(words)), key=lambda i: -abs(words[i].value))[:_MOST_WORDS]
    shown = [words[i] for i in sorted(strongest)]
    values = [word.value for word in shown]
    axis.barh(range(len(shown)), values, color=[_GAIN if value > 0 else _LOSS for value in values])
    axis.set_yticks(range(len(shown)), [_shown(word.text, 18) for word in shown], fontsize=8)
    axis.invert_yaxis()
    axis.axvline(0, color="0.4", linewidth=0.8)
    axis.tick_params(axis="x", labelsize=7)
    more = f", the strongest {len(shown)} of {len(words)}" if len(shown) < len(words) else ""
    axis.set_title(f"contribution of each word{more}", fontsize=9)


def _curves(axis: Any, quality: Quality) -> None:
    for name, curve, style in (
        ("deletion", quality.deletion, "-"),
        ("insertion", quality.insertion, "--"),
        ("random removal", quality.random, ":"),
    ):
        if curve is not None:
            axis.plot(curve.fractions, curve.scores, style, label=f"{name}, AUC {curve.auc:.3f}")
    if quality.deletion is not None:
        axis.legend(fontsize=7)
    axis.tick_params(labelsize=7)
    axis.set_xlabel("share of the image that is changed", fontsize=8)
    axis.set_title(f"F on the way; trust: {quality.verdict.level}", fontsize=9)


def _shown(text: str, most: int = 60) -> str:
    """Text as a label: no mathematics in it, and not too long."""
    text = text.replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most - 1]}…"
