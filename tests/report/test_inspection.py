"""The report of an inspection: what it holds, and that it says how it was made."""

from __future__ import annotations

import io
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ssa_me.explanation import Alignment, Explanation, RegionTable, Subjects
from ssa_me.report import Section, paragraph, plots
from ssa_me.report.inspection import Inspection, inspection_json, inspection_page

BOXES = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20]], float)
ATTENTION = {"baseline": np.array([0.1, 0.2, 0.0, 0.0]), "ssa-me": np.array([0.0, 0.4, 0.1, 0.0])}
SALIENCE = np.array([0.0, 0.9, 0.1, 0.0])
EVIL = "<script>$x</script> & a dog"


def alignment(phrase: str, region: bool = True, misaligned: bool = False) -> Alignment:
    scores = {"baseline": 0.25, "ssa-me": 0.5}
    return Alignment(
        phrase,
        0.5,
        (10, 0, 10, 10) if region else None,
        (0, 10, 10, 10) if region else None,
        0.625 if region else None,
        misaligned,
        scores,
        scores,
        SALIENCE,
    )


@pytest.fixture
def inspection() -> Inspection:
    found = (alignment("a red bird", misaligned=True), alignment("a tree", region=False))
    rows = {v: np.array([[0.5], [0.25]]) for v in ATTENTION}
    table = RegionTable(((10, 0, 10, 10),), (0,), SALIENCE[None], rows, {v: np.ones(1) for v in ATTENTION})
    explanation = Explanation(
        image_size=(20, 20),
        boxes=BOXES,
        similarity={"baseline": 0.31, "ssa-me": 0.42},
        attention=ATTENTION,
        attention_on_image={v: float(row.sum()) for v, row in ATTENTION.items()},
        stages={"head": SALIENCE, "gain": 0.5 + 0.5 * SALIENCE},
        regions=(),
        alignment=found,
        seconds={"vision": 0.1},
        subjects=Subjects(("a red bird", "a tree")),
        table=table,
    )
    standings = {
        "ssa-me": {"before": {"rank": 7, "score": 0.4}, "after": {"rank": 2, "score": 0.6}, "count": 24}
    }
    models = {"baseline": "a" * 12, "ssa-me": "b" * 12}
    return Inspection(
        "bird.jpg",
        "a red bird",
        explanation,
        ATTENTION,
        models,
        "mini",
        standings=standings,
        link="?tab=inspect",
    )


IMAGE = Image.new("RGB", (20, 20), "teal")


def test_a_page_shows_maps_scores_versions_and_the_command(inspection):
    html = inspection_page(IMAGE, inspection)
    assert html.count("<img ") == 4, "attention, stages, and a picture a phrase"
    for said in (
        "0.31",
        "0.42",
        "a" * 12,
        "b" * 12,
        "misaligned: a rival fits better",
        "no region found",
        "0.625",
    ):
        assert said in html
    assert "explain --image bird.jpg --text" in html
    assert "As drawn" not in html
    drawn = inspection_page(IMAGE, replace(inspection, regions=[(0, 0, 5, 5)]))
    assert "Rank as drawn" in drawn


def test_further_sections_stand_before_what_it_was_made_with(inspection):
    html = inspection_page(IMAGE, inspection, [Section("Attribution", (paragraph("by gradients"),))])
    assert html.index("Rank in the gallery") < html.index("by gradients") < html.index("Made with")


def test_text_of_a_query_is_text(inspection):
    evil = replace(inspection, text=EVIL, name=EVIL)
    assert "<script>" not in inspection_page(IMAGE, evil)
    parts = shlex.split(evil.command)
    assert parts[parts.index("--text") + 1] == EVIL and parts[parts.index("--image") + 1] == EVIL


def test_the_command_says_all_that_the_maps_depend_on(inspection):
    full = replace(inspection, checkpoint="org/model", options=("--method", "occlusion"))
    full = replace(full, explanation=replace(full.explanation, salience="full"))
    parts = shlex.split(full.command)
    assert parts[:4] == ["python", "-m", "ssa_me", "explain"]
    assert parts[-9:] == [
        "--salience", "full", "--checkpoint", "org/model", "--method", "occlusion", "--out", "inspection", "--json",
    ]  # fmt: skip
    assert parts.count("--phrase") == 2
    assert "--checkpoint" not in inspection.command


def test_the_command_is_one_that_there_is(inspection, tmp_path):
    from ssa_me.cli import main

    parts = shlex.split(inspection.command)[3:]
    parts[parts.index("inspection")] = str(tmp_path / "out")
    assert main(parts) == 2, "it is understood, and the file bird.jpg is not there"


def test_the_data_hold_the_maps(inspection):
    data = json.loads(json.dumps(inspection_json(inspection), allow_nan=False))
    assert data["attention"]["maps"]["ssa-me"] == [0.0, 0.4, 0.1, 0.0]
    assert data["table"]["scores"]["baseline"] == [[0.5], [0.25]]
    assert data["standings"]["ssa-me"]["after"]["rank"] == 2
    assert data["versions"]["ssa-me"] == "b" * 12
    assert len(data["alignment"]) == 2


def test_without_a_query_there_is_less_to_report(inspection):
    bare = replace(inspection.explanation, alignment=(), table=None, similarity={}, stages={})
    html = inspection_page(IMAGE, replace(inspection, text="", explanation=bare, standings={}))
    assert "names no subject" in html and "Rank in the gallery" not in html


def test_figures_are_files_of_their_kind_and_the_same_each_time(inspection):
    explanation = inspection.explanation
    first, second = (plots.save(plots.attention_figure(IMAGE, BOXES, ATTENTION), "svg") for _ in range(2))
    assert first.startswith(b"<?xml") and first == second
    picture = Image.open(io.BytesIO(plots.save(plots.stages_figure(IMAGE, BOXES, explanation.stages), "png")))
    assert picture.format == "PNG" and picture.width > 400


def test_a_dark_map_is_drawn(inspection):
    dark = dict.fromkeys(ATTENTION, np.zeros(4))
    assert plots.save(plots.attention_figure(IMAGE, BOXES, dark), "png")
