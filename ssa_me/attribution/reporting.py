"""An attribution as a section of a report: its figure, its words, what was held fixed, and how far it is to be trusted."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

from PIL import Image

from ssa_me.attribution.drawing import draw
from ssa_me.attribution.measures import FORMULAS
from ssa_me.attribution.quality import Quality
from ssa_me.attribution.result import Attribution
from ssa_me.attribution.settings import METHODS
from ssa_me.report import Markup, Section, figure, note, paragraph, table
from ssa_me.report.page import Cell

_NUMBERS = (
    "convergence",
    "deletion_auc",
    "insertion_auc",
    "random_auc",
    "infidelity",
    "infidelity_ratio",
    "pointing_game",
    "energy_pointing_game",
)


def attribution_section(image: Image.Image, found: Sequence[tuple[Attribution, Quality]]) -> Section:
    """The section of one method's attributions of `image`, one or more models."""
    method = METHODS[found[0][0].method]
    parts: list[Markup] = [paragraph(f"{method.summary} ({method.source})"), _figure(image, found)]
    for attribution, quality in found:
        verdict = quality.verdict
        parts.append(paragraph(f"{attribution.model}: trust {verdict.level}. {verdict.reason}"))
        measured = quality.to_json()
        rows: list[Sequence[Cell]] = [[name, measured[name], FORMULAS[name]] for name in _NUMBERS]
        parts.append(table(["Measure", "Value", "Formula"], rows))
        if attribution.words:
            words: list[Sequence[Cell]] = [[word.text, word.value] for word in attribution.words]
            parts.append(table(["Word", "Contribution"], words))
        settings = attribution.settings
        parts.append(
            note(
                f"{attribution.held} Absent is {settings.baseline}; {settings.steps} steps, seed {settings.seed}; "
                f"{attribution.evaluations:,} evaluations."
            )
        )
        parts += [note(said) for said in (*attribution.notes, *quality.notes)]
    return Section(f"Attribution: {method.title}", tuple(parts))


def _figure(image: Image.Image, found: Sequence[tuple[Attribution, Quality]]) -> Markup:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # scripts that matplotlib's font lacks
        draw(image, found).savefig(buffer, format="png", dpi=130)
    return figure(
        buffer.getvalue(),
        "What raises (red) and lowers (blue) the score, on the image and in the text.",
        1000,
    )
