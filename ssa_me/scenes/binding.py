"""Binding tasks: find the scene where the query's words belong together, among scenes that show the same
words otherwise.

Written in MMEB's evaluation format: `SUBSET.jsonl` with `qry_text`, `qry_img_path`, `tgt_text`,
`tgt_img_path`; the positive is candidate 0, paths are relative to the folder. Twelve candidates a query, so
chance is 1/12. Every scene has an evaluation seed, whatever the seed of the task.

- `binding_colour`: "a red car and a blue dog", against a blue car and a red dog.
- `binding_subject`: "a person in red", against a red house and a person in blue.
- `binding_background`: "a red car on the beach", against a blue car on the beach with a red house behind or
  beside it, and against red cars elsewhere.
- `binding_relation`: "a red car left of a blue dog", against the dog left of the car, a blue car left of a
  red dog, and the same two in another relation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ssa_me.errors import InputError
from ssa_me.scenes.export import Progress, in_processes, refuse_present
from ssa_me.scenes.queries import Facts, Mention, Query, describe, holds
from ssa_me.scenes.vocabulary import (
    COLOUR_NAMES,
    EVALUATION_SEED,
    KINDS,
    PERSON,
    PERSONS,
    RELATIONS,
    SETTING_NAMES,
    Pairs,
    alike,
    allowed,
    fits,
    possible,
)
from ssa_me.scenes.world import Plan, Scene, draw_subjects, render

TASKS = ("binding_colour", "binding_subject", "binding_background", "binding_relation")
CANDIDATES = 12
REBOUND = 6
"""At least so many candidates show every word of the query, bound otherwise."""

_LARGE = ("house", "tree", "bus", "boat", "car", "horse")
_QUALITY = 92
_TRIES = 400
_COMPANY = 0.25
"""Share of scenes with a bystander."""
Pair = tuple[str, str]
Source = Iterator[Plan]


@dataclass(frozen=True)
class BindingTask:
    """One query and its twelve scenes, the positive first."""

    query: Query
    text: str
    scenes: tuple[Scene, ...]

    @property
    def rebound(self) -> int:
        """How many wrong candidates show every word of the query."""
        return sum(has_words(self.query, scene.facts) for scene in self.scenes[1:])


@dataclass(frozen=True)
class BindingReport:
    """What was written: queries of each subset, candidates a query, and the hit rate of a guess."""

    queries: dict[str, int]
    candidates: int
    chance: float
    least_rebound: int


@dataclass(frozen=True)
class _Draft:
    query: Query
    positive: Source
    rebound: Source
    near: Source


def has_words(query: Query, facts: Facts) -> bool:
    """Whether a scene shows every kind, colour, relation and setting that `query` names, bound in whatever
    way."""
    kinds = [kind for kind, _ in facts.subjects]
    colours = {colour for _, colour in facts.subjects}
    relations = {relation for _, relation, _ in facts.relations}
    return (
        all(any(mention.fits(kind, mention.colour) for kind in kinds) for mention in query.subjects)
        and {mention.colour for mention in query.subjects} <= colours
        and (query.relation is None or query.relation in relations)
        and query.setting in (None, facts.setting)
    )


def binding_task(task: str, index: int, seed: int, pairs: Pairs = "all", size: int = 256) -> BindingTask:
    """Query number `index` of `task`, one of `TASKS`. The subjects that it names are of `pairs`."""
    rng = np.random.default_rng([EVALUATION_SEED, seed, TASKS.index(task), index])
    draft = _DRAFTS[task](rng, pairs)
    used: set[object] = set()
    collect = partial(_collect, rng, draft.query, size, used)
    positive = collect(draft.positive, 1, lambda facts: holds(draft.query, facts))
    rebound = collect(
        draft.rebound,
        REBOUND + int(rng.integers(0, 3)),
        lambda facts: has_words(draft.query, facts) and not holds(draft.query, facts),
    )
    near = collect(draft.near, CANDIDATES - 1 - len(rebound), lambda facts: not holds(draft.query, facts))
    wrong = [*rebound, *near]
    scenes = (*positive, *(wrong[i] for i in rng.permutation(len(wrong))))
    return BindingTask(draft.query, describe(draft.query, rng), scenes)


def write_binding(
    out: Path,
    n: int,
    seed: int,
    pairs: Pairs = "all",
    progress: Progress | None = None,
    *,
    size: int = 256,
    workers: int | None = None,
) -> BindingReport:
    """Write `n` queries of each of `TASKS` to `out`.

    Raises InputError where `n` is not positive or a subset is there already.
    """
    if n < 1:
        raise InputError(f"The number of queries is 1 or more, not {n}.")
    if seed < 0:
        raise InputError(f"A seed is 0 or more, not {seed}.")
    refuse_present(out, TASKS)
    least, done = CANDIDATES, 0
    for task in TASKS:
        (out / "images" / task).mkdir(parents=True, exist_ok=True)
        rows = []
        for row, rebound in in_processes(
            partial(_write, task=task, seed=seed, pairs=pairs, size=size, out=out), range(n), workers
        ):
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
            least, done = min(least, rebound), done + 1
            if progress is not None:
                progress(done, n * len(TASKS))
        (out / f"{task}.jsonl").write_text("".join(rows), encoding="utf-8")
    return BindingReport(dict.fromkeys(TASKS, n), CANDIDATES, 1 / CANDIDATES, least)


def _write(
    index: int, task: str, seed: int, pairs: Pairs, size: int, out: Path
) -> tuple[dict[str, Any], int]:
    made = binding_task(task, index, seed, pairs, size)
    paths = [f"images/{task}/{index:05d}-{number:02d}.jpg" for number in range(len(made.scenes))]
    for path, scene in zip(paths, made.scenes, strict=True):
        scene.image.save(out / path, quality=_QUALITY, subsampling=0)
    row: dict[str, Any] = {
        "qry_text": made.text,
        "qry_img_path": "",
        "tgt_text": [""] * len(paths),
        "tgt_img_path": paths,
    }
    return row, made.rebound


def _collect(
    rng: np.random.Generator,
    query: Query,
    size: int,
    used: set[object],
    source: Source,
    wanted: int,
    accept: Callable[[Facts], bool],
) -> list[Scene]:
    """The first `wanted` scenes of `source` that `accept` takes, each showing something that `used` does
    not hold."""
    found: list[Scene] = []
    for _ in range(_TRIES):
        if len(found) == wanted:
            break
        plan = next(source)
        scene = render(_joined_by(rng, plan, query) if rng.random() < _COMPANY else plan, size)
        facts = scene.facts
        shown = frozenset(
            (facts.subjects[i], relation, facts.subjects[j]) for i, relation, j in facts.relations
        )
        content = (frozenset(facts.subjects), shown, facts.setting)
        if content not in used and accept(facts):
            used.add(content)
            found.append(scene)
    assert len(found) == wanted, "a draft yields enough different scenes"
    return found


def _joined_by(rng: np.random.Generator, plan: Plan, query: Query) -> Plan:
    """The plan with a bystander whom neither it nor the query names."""
    pairs = [*plan.subjects, *((mention.kind, mention.colour) for mention in query.subjects)]
    kind = _kind(rng, [kind if kind != PERSON else PERSONS[0] for kind, _ in pairs], setting=plan.setting)
    return replace(plan, subjects=(*plan.subjects, (kind, _colour(rng, [colour for _, colour in pairs]))))


def _colour_draft(rng: np.random.Generator, pairs: Pairs) -> _Draft:
    a, b = _two(rng, None, pairs)
    (first, red), (second, blue) = a, b
    query = Query((_named(rng, a), _named(rng, b)))

    def near() -> Source:
        while True:
            other = _colour(rng, (red, blue))
            yield _stage(rng, [a, (second, other)] if rng.random() < 0.5 else [(first, other), b])

    return _Draft(query, _forever(rng, [a, b]), _forever(rng, [(first, blue), (second, red)]), near())


def _subject_draft(rng: np.random.Generator, pairs: Pairs) -> _Draft:
    subject = _one(rng, pairs)
    kind, red = subject
    query = Query((_named(rng, subject),))

    def positive() -> Source:
        while True:
            yield _stage(rng, [subject, (_kind(rng, [kind]), _colour(rng, [red]))])

    def rebound() -> Source:
        while True:
            yield _stage(rng, [(_kind(rng, [kind], large=True), red), (kind, _colour(rng, [red]))])

    def near() -> Source:
        while True:
            other, third = _colour(rng, [red]), _kind(rng, [kind])
            blue = _colour(rng, [red, other])
            yield _stage(
                rng,
                [(third, red), (_kind(rng, [kind, third]), blue)]
                if rng.random() < 0.5
                else [(kind, other), (third, blue)],
            )

    return _Draft(query, positive(), rebound(), near())


def _background_draft(rng: np.random.Generator, pairs: Pairs) -> _Draft:
    subject = _one(rng, pairs)
    kind, red = subject
    homes = [setting for setting in SETTING_NAMES if fits(kind, setting)]
    setting = homes[rng.integers(len(homes))]
    query = Query((_named(rng, subject),), None, setting)
    company = (
        _kind(rng, [kind], setting="kitchen" if fits(kind, "kitchen") else setting),
        _colour(rng, [red]),
    )

    def rebound() -> Source:
        while True:
            yield _stage(
                rng,
                [(kind, _colour(rng, [red])), (_kind(rng, [kind], large=True, setting=setting), red)],
                setting,
            )

    def near() -> Source:
        while True:
            places = [
                name
                for name in SETTING_NAMES
                if name != setting and all(fits(k, name) for k in (kind, company[0]))
            ]
            yield _stage(rng, [subject, company], places[rng.integers(len(places))])

    return _Draft(query, _forever(rng, [subject, company], setting), rebound(), near())


def _relation_draft(rng: np.random.Generator, pairs: Pairs) -> _Draft:
    relation = RELATIONS[rng.integers(len(RELATIONS))]
    a, b = _two(rng, relation, pairs)
    (first, red), (second, blue) = a, b
    query = Query((_named(rng, a), _named(rng, b)), relation)

    def rebound() -> Source:
        while True:
            if rng.random() < 0.6 and possible(relation, second, first):
                yield _stage(rng, [b, a], relation=relation)
            else:
                yield _stage(rng, [(first, blue), (second, red)], relation=relation)

    def near() -> Source:
        while True:
            yield _stage(rng, [a, b] if rng.random() < 0.5 else [b, a])

    return _Draft(query, _forever(rng, [a, b], relation=relation), rebound(), near())


_DRAFTS: dict[str, Callable[[np.random.Generator, Pairs], _Draft]] = {
    "binding_colour": _colour_draft,
    "binding_subject": _subject_draft,
    "binding_background": _background_draft,
    "binding_relation": _relation_draft,
}


def _forever(
    rng: np.random.Generator,
    subjects: Sequence[Pair],
    setting: str | None = None,
    relation: str | None = None,
) -> Source:
    while True:
        yield _stage(rng, subjects, setting, relation)


def _stage(
    rng: np.random.Generator,
    subjects: Sequence[Pair],
    setting: str | None = None,
    relation: str | None = None,
) -> Plan:
    """A plan that shows `subjects` in a fitting setting and relation, with an evaluation seed."""
    settings = [name for name in SETTING_NAMES if all(fits(kind, name) for kind, _ in subjects)]
    ways = [way for way in RELATIONS if possible(way, subjects[0][0], subjects[1][0])]
    return Plan(
        seed=int(rng.integers(EVALUATION_SEED, 2**31)),
        subjects=tuple(subjects),
        setting=setting or settings[rng.integers(len(settings))],
        relation=relation or ways[rng.integers(len(ways))],
    )


def _one(rng: np.random.Generator, pairs: Pairs) -> Pair:
    choices = [(kind, colour) for kind in KINDS for colour in COLOUR_NAMES if allowed(kind, colour, pairs)]
    return choices[rng.integers(len(choices))]


def _two(rng: np.random.Generator, relation: str | None, pairs: Pairs) -> tuple[Pair, Pair]:
    """Two subjects that may stand in `relation` and do not go by one name."""
    while True:
        a, b = draw_subjects(rng, 2, "beach", relation, pairs)
        if not alike(a[0], b[0]):
            return a, b


def _named(rng: np.random.Generator, pair: Pair) -> Mention:
    kind, colour = pair
    return Mention(PERSON if kind in PERSONS and rng.random() < 0.7 else kind, colour)


def _colour(rng: np.random.Generator, without: Sequence[str]) -> str:
    left = [colour for colour in COLOUR_NAMES if colour not in without]
    return left[rng.integers(len(left))]


def _kind(
    rng: np.random.Generator, without: Sequence[str], *, large: bool = False, setting: str = "beach"
) -> str:
    """A kind that goes by no name of `without`; half of the time a large one where `large`."""
    left = [
        kind for kind in KINDS if fits(kind, setting) and not any(alike(kind, other) for other in without)
    ]
    big = [kind for kind in left if kind in _LARGE]
    pool = big if big and large and rng.random() < 0.5 else left
    return pool[rng.integers(len(pool))]
