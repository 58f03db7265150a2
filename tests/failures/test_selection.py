"""Filtering, sorting and histograms, and that a page of 50,000 rows is right."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.failures.selection import Selection, chosen, histogram, select
from ssa_me.failures.slices import tags_of


@pytest.fixture
def five(table):
    return table(
        ["Red car", "blue dog", "red dog", "a cat", "a red cat"],
        [20, 1, 30, 2, 3],
        [1, 20, 40, 1, 3],
        alignment=[0.5, np.nan, 0.1, 0.9, 0.3],
    )


def _rows(table, **options):
    return select(table, Selection(**options), tags_of(table)).tolist()


def test_sorted_by_any_column_and_the_unknown_last(five):
    assert _rows(five) == [0, 3, 4, 2, 1]  # gains 19, 1, 0, -10, -19
    assert _rows(five, descending=False) == [1, 2, 4, 3, 0]
    assert _rows(five, sort="alignment") == [3, 0, 4, 2, 1]
    assert _rows(five, sort="alignment", descending=False) == [2, 4, 0, 3, 1]
    assert _rows(five, sort="query", descending=False) == [3, 4, 1, 0, 2]
    with pytest.raises(InputError, match="no column 'nothing'"):
        _rows(five, sort="nothing")


def test_each_filter_and_all_together(five):
    assert _rows(five, outcome="fixed", k=10) == [0]
    assert _rows(five, text="RED ") == [0, 4, 2]
    assert _rows(five, ranges={"gain": (0, 1)}) == [3, 4]
    assert _rows(five, ranges={"alignment": (0.1, 0.5)}) == [0, 4, 2]
    assert _rows(five, tags=(("colour", "red"), ("word", "cat"))) == [4]
    assert _rows(five, images=frozenset({1, 2})) == [0, 1]
    assert _rows(five, tags=(("colour", "red"),), ranges={"gain": (-50, 5)}, images=frozenset({3, 5})) == [
        4,
        2,
    ]
    assert _rows(five, images=frozenset()) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"outcome": "lost"}, "no outcome"),
        ({"k": 3}, "cut-off is 3"),
        ({"ranges": {"query": (0, 1)}}, "no column 'query' of numbers"),
    ],
)
def test_what_is_refused(options, reason):
    with pytest.raises(InputError, match=reason):
        Selection(**options)


def test_histograms_count_all_rows_and_the_selected(five):
    found = histogram(five, "gain", np.array([True, False, False, True, True]))
    assert sum(found.total) == 5 and sum(found.selected) == 3
    spread = dict(zip(zip(found.edges, found.edges[1:], strict=False), found.total, strict=True))
    assert spread[(-0.5, 0.5)] == 1 and spread[(0.5, 1.5)] == 1 and spread[(9.5, 19.5)] == 1
    alignment = histogram(five, "alignment", np.ones(5, bool))
    assert alignment.unknown == 1 and (alignment.edges[0], alignment.edges[-1]) == (0.1, 0.9)
    words = histogram(five, "length", np.ones(5, bool))
    assert words.edges == (1.5, 2.5, 3.5) and words.total == (4, 1)


def test_the_range_of_a_column_does_not_narrow_its_own_histogram(five):
    selection = Selection(ranges={"gain": (19, 19), "length": (1, 2)})
    assert chosen(five, selection, tags_of(five)).tolist() == [True, False, False, False, False]
    assert chosen(five, selection, tags_of(five), without="gain").tolist() == [True, True, True, True, False]


def test_nothing_known_has_an_empty_histogram(table):
    found = histogram(table(["a"], [1], [1]), "size", np.ones(1, bool))
    assert (found.total, found.unknown) == ((0,), 1)


def test_a_page_of_fifty_thousand_rows_is_right(table):
    count = 50_000
    random = np.random.default_rng(0)
    ranks = random.integers(1, 1000, (2, count))
    words = np.array(["red", "blue", "dog", "cat", "house"])[random.integers(0, 5, (count, 3))]
    many = table([" ".join(row) for row in words], ranks[0].tolist(), ranks[1].tolist())
    selection = Selection(
        outcome="fixed", k=10, text="dog", tags=(("colour", "red"),), ranges={"gain": (100, 800)}
    )
    page = select(many, selection, tags_of(many))[40:60]
    slow = sorted(
        (
            at
            for at in range(count)
            if ranks[0][at] > 10 >= ranks[1][at] and {"dog", "red"} <= set(words[at])
            and 100 <= ranks[0][at] - ranks[1][at] <= 800
        ),
        key=lambda at: (-(ranks[0][at] - ranks[1][at]), at),
    )  # fmt: skip
    assert page.tolist() == slow[40:60] and len(slow) > 60
