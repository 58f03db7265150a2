"""The words of the generated world: kinds, colours, settings, relations, and how they make phrases.

Knows nothing of drawing. The order of the tuples is part of the data: changing it changes every scene.
"""

from __future__ import annotations

from typing import Literal

PERSON = "person"
"""Stands for any of `PERSONS` in a phrase or query; never a kind of its own."""
PERSONS = ("man", "woman", "child")
KINDS = (
    *PERSONS,
    *("dog", "cat", "bird", "horse"),
    *("car", "bus", "bicycle", "boat"),
    *("house", "tree", "flower"),
    *("ball", "teddy bear", "kite", "chair"),
)

RGB = tuple[int, int, int]
COLOURS: dict[str, RGB] = {
    "red": (212, 42, 46),
    "orange": (245, 130, 22),
    "yellow": (250, 212, 42),
    "green": (46, 152, 66),
    "blue": (38, 102, 214),
    "purple": (128, 62, 178),
    "pink": (246, 138, 184),
    "brown": (126, 76, 40),
    "black": (44, 44, 52),
    "white": (244, 244, 240),
}
COLOUR_NAMES = tuple(COLOURS)

SETTINGS: dict[str, str] = {
    "beach": "on the beach",
    "park": "in the park",
    "street": "on the street",
    "snow": "in the snow",
    "desert": "in the desert",
    "forest": "in the forest",
    "kitchen": "in the kitchen",
    "night city": "in the city at night",
}
"""Name of each setting and the words that place a subject in it."""
SETTING_NAMES = tuple(SETTINGS)
PLACES = {name: f"a {name}" for name in SETTINGS} | {
    "snow": "a snowy landscape",
    "night city": "a city at night",
}
NOT_IN = {"kitchen": frozenset({"horse", "car", "bus", "boat", "house", "tree", "kite"})}
"""Kinds that a setting never shows."""

RELATIONS = ("left of", "right of", "in front of", "on")
INVERSE = {"left of": "right of", "right of": "left of", "in front of": "behind"}
BEHIND = frozenset(
    {"man", "woman", "child", "horse", "car", "bus", "boat", "house", "tree", "chair", "teddy bear"}
)
"""Kinds that another subject may stand in front of."""
IN_FRONT = frozenset(KINDS) - {"house", "tree", "bus", "kite"}
SUPPORTS = frozenset({"horse", "car", "bus", "boat", "house", "chair"})
"""Kinds that carry another subject."""
ON_TOP = frozenset({"man", "woman", "child", "dog", "cat", "bird", "ball", "teddy bear"})

Pairs = Literal["all", "seen", "held-out"]
PAIRS: tuple[Pairs, ...] = ("all", "seen", "held-out")
HELD_OUT = frozenset((kind, COLOUR_NAMES[(3 * i + 4) % len(COLOUR_NAMES)]) for i, kind in enumerate(KINDS))
"""A fixed tenth of the pairs of kind and colour, one colour a kind, that `pairs="seen"` never shows."""

EVALUATION_SEED = 1_000_000
"""Seeds from here on are for evaluation: code that trains must refuse them."""


def allowed(kind: str, colour: str, pairs: Pairs) -> bool:
    """Whether scenes of `pairs` may show a `kind` in `colour`."""
    return pairs == "all" or ((kind, colour) in HELD_OUT) == (pairs == "held-out")


def possible(relation: str | None, first: str, second: str) -> bool:
    """Whether a scene can show kind `first` in `relation` to kind `second`."""
    if relation == "in front of":
        return first in IN_FRONT and second in BEHIND
    if relation == "on":
        return first in ON_TOP and second in SUPPORTS
    return True


def fits(kind: str, setting: str) -> bool:
    """Whether `setting` may show a `kind`."""
    return kind not in NOT_IN.get(setting, frozenset())


def alike(first: str, second: str) -> bool:
    """Whether two kinds may go by one name: the same kind, or two persons."""
    return first == second or (first in PERSONS and second in PERSONS)


def phrase(kind: str, colour: str) -> str:
    """`a person in red`, `an orange cat`: a subject in words. `kind` may be `PERSON`."""
    if kind in (*PERSONS, PERSON):
        return f"a {kind} in {colour}"
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {kind}"


def is_a(kind: str, name: str) -> bool:
    """Whether a subject of `kind` may be called `name`."""
    return kind == name or (name == PERSON and kind in PERSONS)
