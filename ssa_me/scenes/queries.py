"""What can be said of a scene: queries with a meaning, their wording, and whether a scene satisfies them.

Knows nothing of pixels. A `Query` is true of a scene where distinct subjects can play its mentions, stand in
its relation, and the setting is its setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ssa_me.scenes.vocabulary import INVERSE, PERSON, PERSONS, PLACES, SETTINGS, is_a, phrase


@dataclass(frozen=True)
class Mention:
    """A subject as a query names it: `kind` may be `person`."""

    kind: str
    colour: str

    @property
    def phrase(self) -> str:
        return phrase(self.kind, self.colour)

    def fits(self, kind: str, colour: str) -> bool:
        """Whether a subject of `kind` in `colour` may be called so."""
        return colour == self.colour and is_a(kind, self.kind)


@dataclass(frozen=True)
class Query:
    """What a text says: subjects, the relation of the first to the second, the setting; None where it says
    nothing."""

    subjects: tuple[Mention, ...]
    relation: str | None = None
    setting: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is true of a scene: `(kind, colour)` of each subject, every `(first, relation, second)`, and
    the setting."""

    subjects: tuple[tuple[str, str], ...]
    relations: frozenset[tuple[int, str, int]]
    setting: str


def holds(query: Query, facts: Facts) -> bool:
    """Whether `query` is true of a scene with these `facts`."""
    if query.setting not in (None, facts.setting):
        return False
    for cast in permutations(range(len(facts.subjects)), len(query.subjects)):
        named = all(m.fits(*facts.subjects[i]) for m, i in zip(query.subjects, cast, strict=True))
        if named and (query.relation is None or (cast[0], query.relation, cast[1]) in facts.relations):
            return True
    return False


def describe(query: Query, rng: np.random.Generator) -> str:
    """`query` in short natural English, one of several wordings."""
    names = [mention.phrase for mention in query.subjects]
    place = SETTINGS[query.setting] if query.setting else ""
    if query.relation:
        core = _relation(names[0], query.relation, names[1], rng)
        return _joined(core + "".join(f", with {name} beside them," for name in names[2:]), place)
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    if query.setting:
        form = int(rng.integers(4))
        if form == 0:
            return f"{PLACES[query.setting]} with {listed}"
        if form == 1:
            return f"there is {listed} {place}"
    return _joined(listed, place)


def describe_all(
    queries: tuple[Query, ...],
    rng: np.random.Generator,
    say: Callable[[Query, np.random.Generator], str] = describe,
) -> tuple[str, ...]:
    """Each of `queries` as `say` words it, no two alike. A query may come twice where it has several
    wordings."""
    texts: list[str] = []
    for query in queries:
        text = say(query, rng)
        while text in texts:
            text = say(query, rng)
        texts.append(text)
    return tuple(texts)


def caption_queries(facts: Facts, relation: str | None, rng: np.random.Generator) -> tuple[Query, ...]:
    """Three to five different queries that a scene satisfies; the fullest first. `relation` holds between
    subjects 0 and 1."""
    named = mentions(facts, rng)
    everything = Query(named, relation, facts.setting)
    one = named[int(rng.integers(len(named)))]
    found = [everything, Query((one,))]
    if len(named) == 1:
        kind, colour = facts.subjects[0]
        general = Mention(PERSON if kind in PERSONS and one.kind != PERSON else kind, colour)
        return (everything, Query((general,)), Query((general,), None, facts.setting))
    pair = named[:2]
    choices = [Query(named, None, facts.setting), Query((one,), None, facts.setting), Query(pair)]
    if relation:
        choices += [Query(pair, relation), Query(pair, relation, facts.setting)]
    for index in rng.permutation(len(choices)):
        if choices[index] not in found and len(found) < 5:
            found.append(choices[index])
    return tuple(found[: int(rng.integers(4, 6))])


def mentions(facts: Facts, rng: np.random.Generator) -> tuple[Mention, ...]:
    """What to call each subject: a man may be a person, unless the scene shows two persons to tell apart."""
    persons = sum(kind in PERSONS for kind, _ in facts.subjects)
    general = persons == 1 and rng.random() < 0.5
    return tuple(
        Mention(PERSON if general and kind in PERSONS else kind, colour) for kind, colour in facts.subjects
    )


def _relation(first: str, relation: str, second: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        if relation in INVERSE:
            return f"{second} {_wordy(INVERSE[relation], rng)} {first}"
        return f"{second} with {first} on it"
    return f"{first} {_wordy(relation, rng)} {second}"


def _wordy(relation: str, rng: np.random.Generator) -> str:
    if relation in ("left of", "right of"):
        return (relation, f"to the {relation}")[int(rng.random() < 0.35)]
    if relation == "on":
        return ("on", "on top of")[int(rng.random() < 0.3)]
    return relation


def _joined(core: str, place: str) -> str:
    return f"{core} {place}" if place else core
