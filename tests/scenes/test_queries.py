"""Queries: when they are true, and how they read."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.scenes import Facts, Mention, Query, has_words
from ssa_me.scenes.queries import describe, holds

FACTS = Facts(
    (("man", "red"), ("dog", "blue"), ("car", "green")),
    frozenset({(0, "left of", 1), (1, "right of", 0), (2, "left of", 0)}),
    "beach",
)
PERSON, MAN, WOMAN = Mention("person", "red"), Mention("man", "red"), Mention("woman", "red")
DOG, CAR = Mention("dog", "blue"), Mention("car", "green")


@pytest.mark.parametrize(
    ("query", "true"),
    [
        (Query((PERSON,)), True),
        (Query((MAN,), None, "beach"), True),
        (Query((MAN,), None, "park"), False),
        (Query((WOMAN,)), False),
        (Query((Mention("person", "blue"),)), False),
        (Query((PERSON, DOG), "left of"), True),
        (Query((DOG, PERSON), "left of"), False),
        (Query((DOG, PERSON), "right of"), True),
        (Query((DOG, PERSON), "on"), False),
        (Query((CAR, DOG), "left of"), False),
        (Query((DOG, CAR, PERSON), None, "beach"), True),
        (Query((PERSON, MAN)), False),
    ],
)
def test_holds(query: Query, true: bool) -> None:
    assert holds(query, FACTS) is true


@pytest.mark.parametrize(
    ("query", "present"),
    [
        (Query((Mention("person", "blue"),)), True),
        (Query((Mention("dog", "red"), Mention("man", "blue")), "right of", "beach"), True),
        (Query((Mention("dog", "pink"),)), False),
        (Query((Mention("cat", "red"),)), False),
        (Query((DOG, MAN), "on"), False),
        (Query((DOG,), None, "snow"), False),
    ],
)
def test_words_may_be_present_and_bound_otherwise(query: Query, present: bool) -> None:
    assert has_words(query, FACTS) is present


def test_wordings_vary_and_keep_the_direction() -> None:
    rng = np.random.default_rng(0)
    texts = {describe(Query((PERSON, DOG), "left of", "beach"), rng) for _ in range(60)}
    assert texts == {
        "a person in red left of a blue dog on the beach",
        "a person in red to the left of a blue dog on the beach",
        "a blue dog right of a person in red on the beach",
        "a blue dog to the right of a person in red on the beach",
    }
    texts = {describe(Query((DOG, CAR), "on"), rng) for _ in range(60)}
    assert texts == {
        "a blue dog on a green car",
        "a blue dog on top of a green car",
        "a green car with a blue dog on it",
    }
    assert describe(Query((PERSON,)), rng) == "a person in red"
    assert describe(Query((PERSON, DOG, CAR)), rng) == "a person in red, a blue dog and a green car"
