"""Votes are blind, kept once a voter, row and phase, and counted for the version that won."""

from __future__ import annotations

import pytest

from ssa_me.errors import InputError
from ssa_me.failures.votes import Vote, VoteStore, first_side, tally

RUN, ADA = "a" * 16, "ada0"


@pytest.fixture
def store(tmp_path):
    return VoteStore(tmp_path / "votes" / "votes.sqlite")


def test_sides_are_even_and_stay_as_they_are():
    sides = [first_side(RUN, row, ADA) for row in range(400)]
    assert sides == [first_side(RUN, row, ADA) for row in range(400)]
    assert 160 < sides.count("baseline") < 240
    assert sides != [first_side(RUN, row, "bob0") for row in range(400)]


def test_a_choice_is_won_by_the_version_behind_it():
    row = next(row for row in range(99) if first_side(RUN, row, ADA) == "ssa-me")
    won = {
        choice: Vote(RUN, row, "red", ADA, "before", choice).winner
        for choice in ("a", "b", "tie", "both bad")
    }
    assert won == {"a": "ssa-me", "b": "baseline", "tie": "tie", "both bad": "both bad"}


def test_one_vote_a_phase_and_the_maps_come_after(store):
    with pytest.raises(InputError, match="before you look at the maps"):
        store.add(Vote(RUN, 3, "red", ADA, "after", "a"))
    store.add(Vote(RUN, 3, "red", ADA, "before", "a"))
    store.add(Vote(RUN, 3, "red", ADA, "before", "tie"))
    store.add(Vote(RUN, 3, "red", ADA, "after", "b"))
    assert store.phases(RUN, 3, ADA) == {"before": "tie", "after": "b"}
    assert [(v["phase"], v["choice"]) for v in store.votes(RUN)] == [("after", "b"), ("before", "tie")]
    assert store.rows_of(RUN, ADA) == {3} and store.rows_of(RUN, "bob0") == set() == store.rows_of(
        "b" * 16, ADA
    )


def test_what_is_no_vote_is_refused():
    with pytest.raises(InputError, match="no vote 'c'"):
        Vote(RUN, 3, "red", ADA, "before", "c")
    with pytest.raises(InputError, match="no vote 'later'"):
        Vote(RUN, 3, "red", ADA, "later", "a")


def test_the_tally(store):
    for row, winner in enumerate(["ssa-me", "ssa-me", "baseline", "tie"]):
        choice = "tie" if winner == "tie" else "a" if first_side(RUN, row, ADA) == winner else "b"
        store.add(Vote(RUN, row, "red", ADA, "before", choice))
    found = tally(store.votes(RUN))
    counts = {name: found["before"][name] for name in ("votes", "baseline", "ssa-me", "tie", "both bad")}
    assert counts == {"votes": 4, "baseline": 1, "ssa-me": 2, "tie": 1, "both bad": 0}
    assert found["before"]["margin"]["value"] == 0.25
    assert found["after"] == {}
