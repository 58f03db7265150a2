"""What a query wants and what it does not: "red bird -flower", and how unwanted things move the query's vector.

A term behind a minus (`-`, `−` or `–`, at the start of a word) is unwanted; quotation marks hold several words together:
`street -"parked car"`. A hyphen inside a word or a dash between spaces is none. It knows no model and no gallery.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

MOVED = 0.25
PENALTY = 0.75
"""How much of an unwanted thing is taken off a query's vector, and off the score of an image's subjects. Chosen with the
embedded model on 22 pairs of things in 160 generated scenes ("a tree -cat"; the first 5): a vector that moves further
loses what is wanted, while subjects gain up to 0.75 (the thing and not the other in .23 of the answers without, .30 with)."""
MOST_UNWANTED = 6
_UNWANTED = re.compile(r"(?:^|(?<=\s))[-−–](?:\"([^\"]+)\"|“([^”]+)”|([^\W\d_]\S*))")


@dataclass(frozen=True)
class Terms:
    """wanted: the text without its unwanted terms, None where nothing is left. unwanted: those terms in order."""

    wanted: str | None
    unwanted: tuple[str, ...] = ()


def parse_terms(text: str) -> Terms:
    found = [next(part for part in match.groups() if part) for match in _UNWANTED.finditer(text)]
    unwanted = tuple(dict.fromkeys(term.strip(" ,.;") for term in found))
    if not unwanted:
        return Terms(text.strip() or None)
    return Terms(" ".join(_UNWANTED.sub(" ", text).split()) or None, tuple(term for term in unwanted if term))


def beside(query: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    """What is in each unwanted vector `(U, D)` and not in the query `(D,)`, all of unit length: u − (u·q) q.

    Texts lie in one corner of the space, so most of what two vectors have in common says nothing about either; to take
    that away too would turn the query round.
    """
    return np.asarray(unwanted - np.outer(unwanted @ query, query), np.float32)


def without(query: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """The query `(D,)` less `MOVED` times the rows of `aside` `(U, D)`, of unit length."""
    moved = query - MOVED * aside.sum(0)
    return np.asarray(moved / np.linalg.norm(moved), np.float32)


def penalties(rows: np.ndarray, aside: np.ndarray) -> float:
    """`PENALTY` times how much the row `(R, D)` that is most like an unwanted thing is like it, at least 0."""
    if len(rows) == 0 or len(aside) == 0:
        return 0.0
    return PENALTY * max(0.0, float((rows @ aside.T).max()))
