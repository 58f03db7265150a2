"""The tables of an ablation, from scores made up by hand."""

from __future__ import annotations

from ssa_me.ablation.report import Row, columns, report
from ssa_me.ablation.variants import VARIANTS

KNOWN = {variant.name: variant for variant in VARIANTS}


def scores() -> dict:
    def model(hit: float) -> dict:
        return {"overall": hit, "subsets": {"binding_colour": {"hit@1": hit}}}

    def found(attention: float, salience: float | None) -> dict:
        pointing = None if salience is None else {"pointing_game": salience}
        return {"localisation": {"attention": {"pointing_game": attention}, "salience": pointing}}

    binding = {
        "models": {"baseline": model(0.25), "ssa-me": model(0.5)},
        "difference": {"ssa-me - baseline": {"overall": {"value": 0.25, "interval": [0.125, 0.375]}}},
    }
    gap = {"localisation.attention.pointing_game": {"value": 0.5, "interval": [0.25, 0.75]}}
    scenes = {
        "models": {"baseline": found(0.25, None), "ssa-me": found(0.75, 0.875)},
        "difference": {"ssa-me - baseline": gap},
    }
    neglect = {
        "models": {
            "baseline": {"hit@1": {"value": 0.5}, "imbalance": {"value": 0.4}},
            "ssa-me": {"hit@1": {"value": 0.75}, "imbalance": {"value": 0.1}},
        },
        "difference": {"ssa-me - baseline": {"imbalance": {"value": -0.3, "interval": [-0.5, -0.1]}}},
    }
    return {"binding": binding, "scenes": scenes, "neglect": neglect}


COSTS = {
    "rankings": {
        "baseline": {"milliseconds": 4.0, "bytes": 768.0},
        "ssa-me": {"milliseconds": 5.04, "bytes": 768.0},
    },
    "salience": {
        "phrases": 8,
        "head": {"pointing_game": 0.875, "milliseconds": 0.5},
        "full": {"pointing_game": 0.5, "milliseconds": 40.0},
        "listing": 120.0,
        "difference": {"value": 0.375, "interval": [0.125, 0.625]},
    },
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_holds_every_measure_and_its_difference_from_the_baseline():
    rows = [Row(KNOWN["baseline"], scores(), (), 0.5), Row(KNOWN["training-free"], scores(), (), None)]
    lines = report(rows, 20).splitlines()
    assert "20 steps" in lines[0]
    header, plain, free = cells(lines[2]), cells(lines[4]), cells(lines[5])
    assert header == [
        "variant", "binding hit@1", "attention on the subject, scenes", "salience on the subject, scenes",
        "joint queries hit@1", "imbalance", "s a step",
    ]  # fmt: skip
    assert plain == ["**baseline**: L_nce alone", "25.0", "25.0", "–", "50.0", "0.40", "0.50"]
    assert free[1:] == [
        "50.0 (+25.0 [+12.5, +37.5])", "75.0 (+50.0 [+25.0, +75.0])", "87.5", "75.0", "0.10 (-0.30 [-0.50, -0.10])", "–",
    ]  # fmt: skip
    assert len(lines) == 6  # no costs were measured


def test_the_whole_method_brings_its_rankings_and_ways_to_salience():
    lines = report([Row(KNOWN["ssa-me"], scores(), (), 0.7, COSTS)], 20).splitlines()
    assert cells(lines[6]) == ["ranking", "binding_colour", "all", "ms a query", "bytes an image"]
    assert cells(lines[8]) == ["baseline", "25.0", "25.0", "4.0", "768"]
    assert cells(lines[9]) == ["ssa-me", "50.0", "50.0", "5.0", "768"]
    assert [cells(line) for line in lines[13:]] == [
        ["head", "87.5 (+37.5 [+12.5, +62.5])", "0.5"],
        ["full: expert × relevance", "50.0", "40.0"],
        ["listing a query's subjects, once", "–", "120.0"],
    ]


def test_photographs_have_columns_of_their_own():
    titles = [column.title for column in columns(("coco",))]
    assert {"coco recall@10", "attention, coco", "salience, coco"} <= set(titles)
    named = scores() | {"coco": scores()["scenes"]}
    row = Row(KNOWN["ssa-me"], named, ("coco",), 0.7).to_json()
    assert row["measures"]["attention, coco"] == {
        "value": 0.75,
        "difference": {"value": 0.5, "interval": [0.25, 0.75]},
    }
    assert row["measures"]["salience, coco"] == {"value": 0.875, "difference": None}
