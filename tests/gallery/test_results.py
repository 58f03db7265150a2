"""Queries and hits as data: what queries are refused, overlap by hand."""

from __future__ import annotations

import pytest

from ssa_me.errors import InputError
from ssa_me.gallery import Hit, Query
from ssa_me.gallery.results import overlap


@pytest.mark.parametrize("text", [None, "", "  \n\t "])
def test_a_query_without_text_and_image_is_refused(text):
    with pytest.raises(InputError, match="nothing to search for"):
        Query(text)


def test_a_long_text_is_refused_with_its_length(draw):
    assert Query("x" * 10_000).text == "x" * 10_000
    with pytest.raises(InputError, match="10,001 characters"):
        Query("x" * 10_001, draw("red"))


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(InputError, match="between 0 and 1"):
        Query("red", None, weight)


def test_overlap_by_hand():
    def hits(*ids: int) -> tuple[Hit, ...]:
        return tuple(Hit(rank, id, "", 0.0, None) for rank, id in enumerate(ids, start=1))

    assert overlap([hits(1, 2, 3, 4), hits(3, 9, 4, 8), hits(7, 7, 7, 7)]) == 0.5
    assert overlap([hits(1, 2)]) == 1.0
