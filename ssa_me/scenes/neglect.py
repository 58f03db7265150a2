"""The neglect task: image and text together, and an answer that changes with either of them alone.

Three scenes show the same three kinds in the same places, each time in other colours: nine pairs of kind and colour. The
nine have a colour each (`own`); or three colours are shared in a Latin square, so that every scene shows every kind and every
colour (`shared`): there an image is told by what belongs together in it alone. A query is one of the scenes with a text that names one kind ("the dog"); its nine candidates are the nine
phrases ("a red dog", ...). The right one is that kind as this scene shows it. Of the wrong ones

- two are `image`: the same kind in a colour that another scene has. Who takes one has ignored the image.
- two are `text`: another kind as this scene shows it. Who takes one has ignored the text.
- four are `neither`: another kind as another scene shows it.

All nine queries of a group share their candidates and each candidate is right once, so a preference for a phrase gains
nothing. Chance is 1/9, and 1/3 among the right one and either pair. Where colours are shared, an `image` one may as well be a
colour that the image has elsewhere.

On disk in MMEB's format, with two further keys a row: `group`, and `tgt_role` (`right` first). Every scene has an
evaluation seed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ssa_me.errors import InputError
from ssa_me.scenes.export import Progress, in_processes, refuse_present
from ssa_me.scenes.vocabulary import (
    COLOUR_NAMES,
    EVALUATION_SEED,
    PERSON,
    PERSONS,
    RELATIONS,
    SETTING_NAMES,
    phrase,
)
from ssa_me.scenes.world import Plan, Scene, draw_subjects, render

Colours = Literal["own", "shared"]
SUBSET = "neglect"
SIDE = 3
"""So many kinds and so many scenes in a group."""
RIGHT, IMAGE, TEXT, NEITHER = "right", "image", "text", "neither"
_QUALITY = 92


@dataclass(frozen=True)
class NeglectGroup:
    """Three scenes of the same kinds. `names[k]` is what kind k is called, `phrases[s][k]` how scene s shows it."""

    scenes: tuple[Scene, ...]
    names: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]

    def query(self, scene: int, kind: int) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """The text of a query, its nine candidates, the right one first, and the role of each."""
        found = [
            (phrase_of, _role(s == scene, k == kind))
            for s, shown in enumerate(self.phrases)
            for k, phrase_of in enumerate(shown)
        ]
        ordered = sorted(found, key=lambda pair: pair[1] != RIGHT)
        texts, roles = zip(*ordered, strict=True)
        return f"the {self.names[kind]}", texts, roles


def _role(same_scene: bool, same_kind: bool) -> str:
    if same_scene:
        return RIGHT if same_kind else TEXT
    return IMAGE if same_kind else NEITHER


def neglect_group(index: int, seed: int, size: int = 256, colours: Colours = "own") -> NeglectGroup:
    """Group number `index` of the task of `seed`, its scenes `size` pixels wide and high. Either way of `colours` draws
    the same kinds in the same settings."""
    rng = np.random.default_rng([EVALUATION_SEED, seed, 5, index])
    setting = SETTING_NAMES[rng.integers(len(SETTING_NAMES))]
    relation = RELATIONS[rng.integers(len(RELATIONS))]
    kinds = [kind for kind, _ in draw_subjects(rng, SIDE, setting, relation)]
    while sum(kind in PERSONS for kind in kinds) > 1:  # `the person` names one of them
        kinds = [kind for kind, _ in draw_subjects(rng, SIDE, setting, relation)]
    names = tuple(PERSON if kind in PERSONS and rng.random() < 0.5 else kind for kind in kinds)
    drawn = [COLOUR_NAMES[i] for i in rng.permutation(len(COLOUR_NAMES))]
    shown = {  # of each scene
        "own": [drawn[SIDE * s : SIDE * (s + 1)] for s in range(SIDE)],
        "shared": [[drawn[(k + s) % SIDE] for k in range(SIDE)] for s in range(SIDE)],
    }[colours]
    own = int(rng.integers(EVALUATION_SEED, 2**31))
    plans = [Plan(own, tuple(zip(kinds, row, strict=True)), setting, relation) for row in shown]
    phrases = tuple(
        tuple(phrase(name, colour) for name, (_, colour) in zip(names, plan.subjects, strict=True))
        for plan in plans
    )
    return NeglectGroup(tuple(render(plan, size) for plan in plans), names, phrases)


def write_neglect(
    out: Path,
    n: int,
    seed: int,
    progress: Progress | None = None,
    *,
    size: int = 256,
    workers: int | None = None,
    colours: Colours = "own",
) -> int:
    """Write the queries of at least `n` scenes, in groups of three, to `out`; returns the number of queries.

    Raises InputError where `n` is not positive, `seed` is negative, or the task is there already.
    """
    if n < 1:
        raise InputError(f"The number of scenes is 1 or more, not {n}.")
    if seed < 0:
        raise InputError(f"A seed is 0 or more, not {seed}.")
    refuse_present(out, [SUBSET])
    (out / "images" / SUBSET).mkdir(parents=True, exist_ok=True)
    groups = -(-n // SIDE)
    lines: list[str] = []
    for done, rows in enumerate(
        in_processes(partial(_write, seed=seed, size=size, colours=colours, out=out), range(groups), workers),
        start=1,
    ):
        lines.extend(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        if progress is not None:
            progress(done, groups)
    (out / f"{SUBSET}.jsonl").write_text("".join(lines), encoding="utf-8")
    return len(lines)


def _write(index: int, seed: int, size: int, colours: Colours, out: Path) -> list[dict[str, Any]]:
    group = neglect_group(index, seed, size, colours)
    rows: list[dict[str, Any]] = []
    for number, scene in enumerate(group.scenes):
        path = f"images/{SUBSET}/{index:05d}-{number}.jpg"
        scene.image.save(out / path, quality=_QUALITY, subsampling=0)
        for kind in range(SIDE):
            text, candidates, roles = group.query(number, kind)
            rows.append(
                {
                    "qry_text": text,
                    "qry_img_path": path,
                    "tgt_text": list(candidates),
                    "tgt_img_path": [""] * len(candidates),
                    "tgt_role": list(roles),
                    "group": index,
                }
            )
    return rows
