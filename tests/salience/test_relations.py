"""Relations that a text tells, one way round, and texts that tell none."""

from __future__ import annotations

import pytest

from ssa_me.salience.relations import WAYS, Relation, relation_of

LEFT, FRONT, ON = range(len(WAYS))


@pytest.mark.parametrize(
    ("text", "first", "way", "second"),
    [
        ("a red dog left of a blue car", "a red dog", LEFT, "a blue car"),
        ("a red dog to the right of a blue car on the beach", "a blue car", LEFT, "a red dog"),
        ("a black cat on the left side of a man in red", "a black cat", LEFT, "a man in red"),
        ("a child in front of a white house.", "a child", FRONT, "a white house"),
        ("a person in red behind a green tree", "a green tree", FRONT, "a person in red"),
        ("a man on a brown horse in the park", "a man", ON, "a brown horse"),
        ("a cat on top of a blue car", "a cat", ON, "a blue car"),
        ("a blue car with a red dog on it", "a red dog", ON, "a blue car"),
        ("a ball under a chair", "a chair", ON, "a ball"),
        ("a dog left of a cat, with a bird beside them, in the snow", "a dog", LEFT, "a cat"),
        ("a dog and a cat left of a bird", "a cat", LEFT, "a bird"),
    ],
)
def test_a_relation_is_told_one_way_round(text, first, way, second):
    assert relation_of(text) == Relation(first, way, second)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red dog",
        "a dog on the beach",
        "a dog and a cat",
        "a man with a hat on",
        "left of",
        "un perro rojo",
        "一只狗",
    ],
)
def test_no_relation(text):
    assert relation_of(text) is None
