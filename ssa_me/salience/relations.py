"""Which two subjects of a text stand in which relation, by English words. It knows no model and no image.

Every relation is told one way round: "B right of A" is A left of B, "B behind A" is A in front of B, "B with A on it" is A
on B. "On the beach" is a setting and no relation. A text in any other language has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ssa_me.salience.subjects import setting_of, split_phrases

WAYS = ("left of", "in front of", "on")
_LEFT, _FRONT, _ON = range(len(WAYS))
_TOLD: tuple[tuple[str, int, bool], ...] = (
    (r"(?:to the |on the )?left(?: side)? of", _LEFT, False),
    (r"(?:to the |on the )?right(?: side)? of", _LEFT, True),
    (r"in front of", _FRONT, False),
    (r"behind", _FRONT, True),
    (r"on top of|above|on", _ON, False),
    (r"under|underneath|below|beneath", _ON, True),
)
"""The words, the relation, and whether what they lead to comes first in it."""
_WORDS = re.compile("|".join(rf"(\b(?:{words})\b)" for words, _, _ in _TOLD), re.IGNORECASE)
_CARRIED = re.compile(r"(?P<below>.+?) with (?P<above>.+?) on (?:it|top)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Relation:
    """`first` stands in `way`, a number among `WAYS`, to `second`; both are subject phrases of the text."""

    first: str
    way: int
    second: str


def relation_of(text: str) -> Relation | None:
    """The first relation that a text tells; None where it tells none."""
    whole = " ".join(text.split()).rstrip(" .!?")
    whole = whole.removesuffix(setting_of(whole) or "").rstrip()
    carried = _CARRIED.match(whole)
    if carried:
        return _between(carried["above"], _ON, carried["below"])
    found = _WORDS.search(whole)
    if found is None or found.lastindex is None:
        return None
    _, way, turned = _TOLD[found.lastindex - 1]
    before, after = whole[: found.start()], whole[found.end() :]
    return _between(after, way, before, turned) if turned else _between(before, way, after)


def _between(first: str, way: int, second: str, turned: bool = False) -> Relation | None:
    """Of the subjects on both sides those that stand next to the words of the relation."""
    ones, others = split_phrases(first), split_phrases(second)
    if not ones or not others:
        return None
    return Relation(ones[0], way, others[-1]) if turned else Relation(ones[-1], way, others[0])
