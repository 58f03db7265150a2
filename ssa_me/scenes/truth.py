"""Which of many queries are true of which of many scenes, all at once: `holds` as a table.

Knows nothing of pixels or wording. Q queries, F scenes' facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from ssa_me.scenes.queries import Facts, Query
from ssa_me.scenes.vocabulary import COLOUR_NAMES, INVERSE, KINDS, PERSON, RELATIONS, SETTING_NAMES, is_a

_MOST = 3
_NAMES = (*KINDS, PERSON)
_WAYS = tuple(dict.fromkeys((*RELATIONS, *INVERSE.values())))
_IS_A = np.array([[is_a(kind, name) for kind in KINDS] for name in _NAMES])
_NONE = -1


def parts_of(facts: Facts, subjects: Sequence[int]) -> Facts:
    """What is true of some `subjects` of a scene alone, in its setting; they are numbered anew in the given order."""
    place = {old: new for new, old in enumerate(subjects)}
    return Facts(
        tuple(facts.subjects[i] for i in subjects),
        frozenset((place[i], r, place[j]) for i, r, j in facts.relations if i in place and j in place),
        facts.setting,
    )


def truth(queries: Sequence[Query], facts: Sequence[Facts]) -> np.ndarray:
    """(Q, F) bool: `holds(query, fact)` of every pair. At most three subjects on either side."""
    kinds = np.full((len(facts), _MOST), _NONE)
    colours = np.full((len(facts), _MOST), _NONE)
    relations = np.zeros((len(facts), _MOST, _MOST, len(_WAYS) + 1), bool)
    relations[..., _NONE] = True  # no relation is asked for
    for f, fact in enumerate(facts):
        for i, (kind, colour) in enumerate(fact.subjects):
            kinds[f, i], colours[f, i] = KINDS.index(kind), COLOUR_NAMES.index(colour)
        for i, relation, j in fact.relations:
            relations[f, i, j, _WAYS.index(relation)] = True
    settings = np.array([SETTING_NAMES.index(fact.setting) for fact in facts])
    table = np.zeros((len(queries), len(facts)), bool)
    for q, query in enumerate(queries):
        way = _WAYS.index(query.relation) if query.relation else _NONE
        fits = [
            _IS_A[_NAMES.index(m.kind)][kinds] & (colours == COLOUR_NAMES.index(m.colour)) & (kinds != _NONE)
            for m in query.subjects
        ]
        for cast in permutations(range(_MOST), len(query.subjects)):
            named = np.logical_and.reduce([fit[:, i] for fit, i in zip(fits, cast, strict=True)])
            if len(cast) > 1:
                named &= relations[:, cast[0], cast[1], way]
            table[q] |= named
        if query.setting is not None:
            table[q] &= settings == SETTING_NAMES.index(query.setting)
    return table
