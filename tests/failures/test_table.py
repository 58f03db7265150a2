"""Outcomes and measures by hand, and a table that is read as it was written."""

import json

import numpy as np
import pytest

from ssa_me.failures.table import counted, measure, table_from_json, table_to_json


@pytest.fixture
def four(table):
    return table(["a", "b", "c", "d"], [1, 2, 12, 20], [1, 11, 3, 15])


def test_outcomes_at_a_cut_off(four):
    assert counted(four, 10) == {"all": 4, "fixed": 1, "broken": 1, "both-wrong": 1, "both-right": 1}
    assert four.outcome("fixed", 10).tolist() == [False, False, True, False]
    assert four.outcome("broken", 10).tolist() == [False, True, False, False]
    assert counted(four, 1) == {"all": 4, "fixed": 0, "broken": 0, "both-wrong": 3, "both-right": 1}


def test_measures_by_hand(four):
    found = measure(four)
    assert found["models"]["baseline"] == {
        "recall@1": 0.25,
        "recall@5": 0.5,
        "recall@10": 0.5,
        "ndcg@10": pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(13) + 1 / np.log2(21)) / 4),
        "mean_rank": 35 / 4,
    }
    assert found["models"]["ssa-me"]["mean_rank"] == 30 / 4
    gap = found["difference"]["mean_rank"]
    assert gap["value"] == -5 / 4 and gap["interval"][0] <= -5 / 4 <= gap["interval"][1]
    assert found["difference"]["recall@10"]["value"] == 0.0
    assert (found["queries"], found["chance"]) == (4, pytest.approx(0.01))
    assert measure(four, np.array([2]))["difference"]["mean_rank"] == {
        "value": -9.0,
        "interval": [-9.0, -9.0],
    }


def test_equal_models_differ_by_nothing(table):
    found = measure(table(["a", "b"], [3, 4], [3, 4]))
    assert all(gap == {"value": 0.0, "interval": [0.0, 0.0]} for gap in found["difference"].values())


def test_a_table_is_read_as_it_was_written(table):
    one = table(["a b"], [3], [1], extra={"who": ["Ada"]}, alignment=[0.5], size=[0.25])
    again = table_from_json(json.loads(json.dumps(table_to_json(one))))
    assert again.row(0) == one.row(0)
    row = again.row(0)
    assert (row.gain, row.alignment, row.misaligned, row.extra) == (2, 0.5, None, {"who": "Ada"})
    assert row.to_json()["targets"] == [1]
    with pytest.raises(IndexError):
        again.row(1)
