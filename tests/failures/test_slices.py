"""Slices on tables whose counts are plain to see."""

import pytest

from ssa_me.failures.slices import over_represented, tags_of


@pytest.fixture
def forty(table):
    """40 queries of which 10 fail: 8 of 10 that say red, 2 of 30 others. Half are of each camera, failures too."""
    queries = [f"a red thing {n}" for n in range(10)] + [f"a blue thing {n}" for n in range(30)]
    failed = [n < 8 or n in (10, 11) for n in range(40)]
    ranks = [50 if bad else 1 for bad in failed]
    cameras = [("left", "right")[n % 2] for n in range(40)]
    return table(
        queries, [1] * 40, ranks, extra={"camera": cameras, "name": [f"image {n}" for n in range(40)] * 1}
    )


def test_the_colour_that_fails_is_found(forty):
    failed = forty.numbers["rank_ssa_me"] > 10
    (found,) = over_represented(tags_of(forty), failed)
    assert (found.column, found.value, found.count, found.failures) == ("colour", "red", 10, 8)
    assert found.expected == pytest.approx(2.5) and found.lift == pytest.approx(3.2)
    # P(X ≥ 8): C(10,8)·C(30,2) + C(10,9)·C(30,1) + 1 of C(40,10)
    assert found.p == pytest.approx((45 * 435 + 10 * 30 + 1) / 847_660_528)
    assert found.q < 1e-3


def test_nothing_fails_or_everything_does(forty):
    tags = tags_of(forty)
    everything = forty.numbers["rank_ssa_me"] > 0
    assert over_represented(tags, everything) == [] == over_represented(tags, ~everything)


def test_the_rest_may_be_left_out(forty):
    red = tags_of(forty).holding(("colour", "red"))
    assert over_represented(tags_of(forty), forty.numbers["rank_ssa_me"] > 10, among=red) == []


def test_tags_of_a_query(table):
    one = table(
        ["a person in red"] * 2, [1, 1], [1, 1], kinds=["subject"] * 2, extra={"city": ["Oslo", "Rome"]},
        size=[0.1, float("nan")], misaligned=[1.0, 0.0],
    )  # fmt: skip
    tags = tags_of(one)
    first = {tags.names[number] for number, row in zip(tags.numbers, tags.rows, strict=True) if row == 0}
    assert first == {
        ("kind", "subject"), ("colour", "red"), ("word", "person"), ("size", "5 to 15 %"), ("length", "4 to 6"),
        ("aligned", "misaligned"), ("city", "Oslo"),
    }  # fmt: skip
    assert tags.holding(("city", "Rome")).tolist() == [False, True]
    assert not tags.holding(("city", "Paris")).any()
