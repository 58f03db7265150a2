"""The committed weights give the results that are told of them: a small part, measured again."""

from __future__ import annotations

import json

import pytest

from benchmarks.check_weights import CHECK, apart, measure
from ssa_me.checkpoint import MINI, fingerprints

ANEW = "python -m benchmarks.check_weights --write"


@pytest.fixture(scope="module")
def kept() -> dict:
    return json.loads(CHECK.read_text(encoding="utf-8"))


def test_the_check_is_of_the_committed_weights(kept):
    assert kept["fingerprints"] == fingerprints(MINI), f"new weights: measure them with `{ANEW}`"


def test_the_weights_score_what_is_told_of_them(kept):
    found = measure()
    assert found["of"] == kept["of"]
    assert list(apart(found["hits"], kept["hits"])) == []


def test_one_hit_may_differ_and_no_more():
    assert list(apart({"a": 3, "b": 0.5}, {"a": 4, "b": 1.5})) == []
    assert list(apart({"a": 3}, {"a": 5})) == ["a: 3 instead of 5"]
    assert list(apart({"a": 3}, {})) == ["a is only in one of the two"]
