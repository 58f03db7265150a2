"""Tables of a document, made anew by hand-made results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results_tables import neglect, renewed, scores

GAP = {"value": 0.25, "interval": [0.125, 0.5]}


def hits_of(name: str, value: float) -> dict[str, object]:
    return {name: {"subsets": {"binding_colour": {"hit@1": value}}, "overall": value}}


def test_a_marked_table_is_made_anew_and_nothing_else_changes(tmp_path: Path) -> None:
    found = {
        "models": hits_of("baseline", 0.5) | hits_of("ssa-me", 0.75),
        "difference": {"ssa-me - baseline": {"subsets.binding_colour.hit@1": GAP, "overall": GAP}},
    }
    (tmp_path / "b.json").write_text(json.dumps(found))
    document = (
        "# Results\n\n<!-- b hits -->\n\n| old |\n|---|\n| 1 |\n\nSaid of it.\n\n"
        "<!-- b differences -->\n\n<!-- gone hits -->\n\n| kept |\n"
    )
    assert renewed(document, tmp_path) == (
        "# Results\n\n<!-- b hits -->\n\n| hit@1, % | colour | all |\n|---|---|---|\n| baseline | 50.0 | 50.0 |\n"
        "| ssa-me | 75.0 | 75.0 |\n\nSaid of it.\n\n"
        "<!-- b differences -->\n\n| difference, points [95 %] | colour | all |\n|---|---|---|\n"
        "| ssa-me - baseline | +25.0 [+12.5, +50.0] | +25.0 [+12.5, +50.0] |\n<!-- gone hits -->\n\n| kept |\n"
    )
    again = renewed(renewed(document, tmp_path), tmp_path)
    assert again == renewed(document, tmp_path)


def test_what_the_data_cannot_give_has_no_row() -> None:
    place = {"regions": 3, "pointing_game": 0.5}
    baseline = {"localisation": {"attention": place, "salience": None}}
    ours = {"localisation": {"attention": place, "salience": place}}
    gaps = {"localisation.attention.pointing_game": GAP}
    found = {"models": {"baseline": baseline, "ssa-me": ours}, "difference": {"ssa-me - baseline": gaps}}
    assert scores(found).splitlines()[2:] == [
        "| attention on the named region (3), pointing game | 50.0 | 50.0 | +25.0 [+12.5, +50.0] |",
        "| salience on the named region, pointing game | – | 50.0 | – |",
    ]


def test_measures_of_neglect_stand_in_a_row_each() -> None:
    model = {"hit@1": {"value": 0.5}, "errors": {"neither": None}}
    gaps = {"hit@1": GAP, "errors.neither": GAP}
    found = {"models": {"baseline": model, "ssa-me": model}, "difference": {"ssa-me - baseline": gaps}}
    assert neglect(found).splitlines()[2:] == [
        "| hit@1 | 0.500 | 0.500 | +0.250 [+0.125, +0.500] |",
        "| errors.neither | – | – | +0.250 [+0.125, +0.500] |",
    ]


@pytest.mark.parametrize("document", ["docs/results.md", "assets/mini/README.md"])
def test_the_documents_tables_are_marked(document: str) -> None:
    text = (Path(__file__).parent.parent / document).read_text(encoding="utf-8")
    assert text.count("<!-- binding hits -->") == 1
