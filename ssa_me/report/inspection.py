"""The report of an inspection: one image and one query, with maps, scores, versions, and the command that makes it again.

It puts together what it is given; it knows no model, no gallery and no page.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ssa_me.checkpoint import VERSIONS
from ssa_me.explanation import Alignment, Explanation
from ssa_me.model_info import TITLES
from ssa_me.report import plots
from ssa_me.report.page import Cell, Markup, Section, code, facts, figure, note, page, paragraph, table

EMBEDDED = "mini"
"""The checkpoint that the commands take by themselves."""
_WIDTH = 1000


@dataclass(frozen=True)
class Inspection:
    """What was inspected, and how.

    name: the image's. text: the query's, may be empty; with_image: whether it has an image, too. attention: version →
    (N,) at the chosen layer and head (counted from 1; None: the mean). models: version → fingerprint. standings: a row a
    ranking, as `Standing.to_json` gives it. regions: those that were drawn. link: the page's address, without a host. titles:
    version → its name for people.
    """

    name: str
    text: str
    explanation: Explanation
    attention: Mapping[str, np.ndarray]
    models: Mapping[str, str]
    checkpoint: str
    with_image: bool = False
    layer: int | None = None
    head: int | None = None
    standings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    regions: Sequence[Sequence[float]] | None = None
    options: Sequence[str] = ()
    link: str = ""
    titles: Mapping[str, str] = field(default_factory=lambda: dict(TITLES))

    @property
    def title(self) -> str:
        return f"“{self.text}” in {self.name}" if self.text else f"A look at {self.name}"

    @property
    def command(self) -> str:
        """What gives the same maps and numbers on the command line, of the image as a file; "" where two models are compared,
        of which the command explains one."""
        if self.titles != TITLES:
            return ""
        parts = ["python", "-m", "ssa_me", "explain", "--image", self.name, "--text", self.text or "…"]
        for alignment in self.explanation.alignment:
            parts += ["--phrase", alignment.phrase]
        if self.explanation.salience != "head":
            parts += ["--salience", self.explanation.salience]
        if self.checkpoint != EMBEDDED:
            parts += ["--checkpoint", self.checkpoint]
        return shlex.join([*parts, *self.options, "--out", "inspection", "--json"])


def inspection_json(inspection: Inspection) -> dict[str, Any]:
    """All numbers of the report: those of the `explain` command, and what they were made with."""
    explanation = inspection.explanation
    found = explanation.to_json() | {
        "image": {"name": inspection.name, "size": list(explanation.image_size)},
        "query": {"text": inspection.text, "image": inspection.with_image},
        "versions": dict(inspection.models),
        "titles": dict(inspection.titles),
        "checkpoint": inspection.checkpoint,
        "attention": {
            "layer": inspection.layer,
            "head": inspection.head,
            "boxes": np.asarray(explanation.boxes, float).round(2).tolist(),
            "maps": {version: _list(values) for version, values in inspection.attention.items()},
        },
        "stages": {name: _list(values) for name, values in explanation.stages.items()},
        "standings": {name: dict(standing) for name, standing in inspection.standings.items()},
        "drawn_regions": None if inspection.regions is None else [list(box) for box in inspection.regions],
        "command": inspection.command,
        "link": inspection.link,
    }
    if explanation.table is not None:
        found["table"] = {
            "regions": [[round(float(n), 1) for n in bbox] for bbox in explanation.table.bboxes],
            "scores": {
                v: np.asarray(rows, float).round(5).tolist() for v, rows in explanation.table.scores.items()
            },
        }
    return found


def inspection_page(image: Image.Image, inspection: Inspection, further: Sequence[Section] = ()) -> str:
    """The report as one HTML file; `further` sections stand before what it was made with."""
    explanation = inspection.explanation
    sections = [
        Section("Attention", _attention(image, inspection)),
        Section("Salience, stage by stage", _stages(image, explanation)),
        Section("Subject alignment", _alignment(image, inspection)),
        Section("Rank in the gallery", _standings(inspection)),
        *further,
        Section("Made with", _made(inspection)),
    ]
    first, second = (inspection.titles[version] for version in VERSIONS)
    lead = f"Where {first} and {second} look, what is salient, and which region answers to which phrase."
    return page(inspection.title, sections, lead)


def _attention(image: Image.Image, inspection: Inspection) -> tuple[Markup, ...]:
    explanation = inspection.explanation
    drawn = plots.attention_figure(image, explanation.boxes, inspection.attention, titles=inspection.titles)
    layer = "the layers that are read" if inspection.layer is None else f"layer {inspection.layer}"
    head = "all heads" if inspection.head is None else f"head {inspection.head}"
    said = f"The last token's attention on each image token, mean over {layer} and {head}; both models on one scale, not stretched."
    rows: list[Sequence[Cell]] = [
        [
            inspection.titles.get(version, version),
            explanation.similarity.get(version),
            float(values.sum()),
        ]
        for version, values in inspection.attention.items()
    ]
    return (
        figure(plots.save(drawn, "png"), said, _WIDTH),
        table(["Model", "cos(text, image)", "Attention on the image"], rows),
    )


def _stages(image: Image.Image, explanation: Explanation) -> tuple[Markup, ...]:
    if not explanation.stages:
        return ()
    drawn = plots.stages_figure(image, explanation.boxes, explanation.stages)
    said = "The largest over the subjects, from 0 to 1 and never stretched to the maximum: an absent subject stays dark."
    return (figure(plots.save(drawn, "png"), said, _WIDTH),)


def _alignment(image: Image.Image, inspection: Inspection) -> tuple[Markup, ...]:
    explanation = inspection.explanation
    if not explanation.alignment:
        return (paragraph("The query names no subject."),)
    headings = ["Phrase", *(inspection.titles[version] for version in VERSIONS), "Strongest rival", "Verdict"]
    rows: list[Sequence[Cell]] = [
        [
            found.phrase,
            found.scores.get("baseline") if found.region else None,
            found.scores.get("ssa-me") if found.region else None,
            found.rival_score,
            _verdict(found),
        ]
        for found in explanation.alignment
    ]
    pictures = [
        figure(
            plots.save(plots.subject_figure(image, explanation.boxes, found), "png"),
            f"{found.phrase}: its salience, its region, and dashed the strongest rival.",
            300,
        )
        for found in explanation.alignment
    ]
    return (table(headings, rows, "cos(e(phrase), a) of each phrase and its region"), *pictures)


def _verdict(found: Alignment) -> str:
    if found.region is None:
        return "no region found"
    return "misaligned: a rival fits better" if found.misaligned else "aligned"


def _standings(inspection: Inspection) -> tuple[Markup, ...]:
    if not inspection.standings:
        return ()
    drawn = inspection.regions is not None
    headings = ["Ranking", "Rank", "Score"] + (["Rank as drawn", "Score as drawn"] if drawn else []) + ["Of"]
    rows: list[Sequence[Cell]] = []
    for name, found in inspection.standings.items():
        after = [found["after"]["rank"], float(found["after"]["score"])] if drawn else []
        before = [found["before"]["rank"], float(found["before"]["score"])]
        rows.append([name, *before, *after, found["count"]])
    said = (
        "As drawn: the image embedded again with the drawn regions as its salience; the gallery is unchanged."
    )
    return (table(headings, rows), *((note(said),) if drawn else ()))


def _made(inspection: Inspection) -> tuple[Markup, ...]:
    explanation = inspection.explanation
    width, height = explanation.image_size
    values: dict[str, Cell] = {"Image": f"{inspection.name}, {width} × {height} px"}
    values |= {
        "Query": inspection.text or "no text",
        "Query's image": "yes" if inspection.with_image else "none",
    }
    values |= {"Checkpoint": inspection.checkpoint, "Salience": explanation.salience}
    values |= {inspection.titles.get(version, version): mark for version, mark in inspection.models.items()}
    if inspection.link:
        values["Link"] = inspection.link
    if not inspection.command:
        return (facts(values),)
    said = paragraph("On the command line, where the image is a file:")
    return facts(values), said, code(inspection.command)


def _list(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
