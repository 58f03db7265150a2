"""A small set in MMEB's evaluation format with all four meta-tasks, made of generated scenes.

- `scenes_classification`: the setting of an image, among all settings.
- `scenes_vqa`: the colour of a subject, among all colours.
- `scenes_retrieval`: the image of a caption, among its twin (the same words bound otherwise) and other scenes that it is
  not true of.
- `scenes_grounding`: the part of an image that shows a subject, among its other subjects, parts without one, and parts
  of other scenes.

`subsets.json` beside them says which meta-task each is, so that means over meta-tasks can be taken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssa_me.scenes.export import Progress, check_seeds, in_processes, refuse_present
from ssa_me.scenes.queries import Facts, Query, holds
from ssa_me.scenes.vocabulary import COLOUR_NAMES, PLACES, Pairs
from ssa_me.scenes.world import SceneSubject, make_scene, twin

META_TASKS = {
    "scenes_classification": "Classification",
    "scenes_vqa": "VQA",
    "scenes_retrieval": "Retrieval",
    "scenes_grounding": "Grounding",
}
CANDIDATES = 12
"""At most so many candidates of a retrieval; a grounding has half as many."""
_PARTS = CANDIDATES // 2
_SCENE = "Identify the scene shown in the image."
_QUESTION = "Represent the given image with the following question: What colour is"
_CAPTION = "Find me an everyday image that matches the given caption: "
_SELECT = "Select the portion of the image that isolates the object labeled as "
_IMAGE = "Represent the given image."
_CROP = "Represent the given cropped image of the object."
_LEAST_SIDE = 24
_QUALITY = 92
_TRIES = 60
Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels."""


@dataclass(frozen=True)
class _Written:
    """What one scene gives: its paths, rows that need no other scene, and what the rows that do are made of."""

    image: str
    twin: str
    rows: dict[str, dict[str, Any]]
    query: Query
    caption: str
    facts: Facts
    phrase: str
    parts: tuple[str, ...]


def write_tasks(
    out: Path,
    n: int,
    seed: int,
    pairs: Pairs = "all",
    progress: Progress | None = None,
    *,
    size: int = 256,
    workers: int | None = None,
) -> dict[str, int]:
    """Write `n` queries of each task, of the scenes of seeds `seed` … `seed + n - 1`, to `out`; returns queries by task.

    Raises InputError where `n` is not positive, the seeds cross into those of evaluation, or a task is there already.
    """
    check_seeds(seed, n)
    refuse_present(out, list(META_TASKS))
    for folder in ("scenes", "twins", "parts"):
        (out / "images" / folder).mkdir(parents=True, exist_ok=True)
    written: list[_Written] = []
    for item in in_processes(
        partial(_write, pairs=pairs, size=size, out=out), range(seed, seed + n), workers
    ):
        written.append(item)
        if progress is not None:
            progress(len(written), n)
    rng = np.random.default_rng([seed, n, 12])
    rows: dict[str, list[dict[str, Any]]] = {task: [] for task in META_TASKS}
    for index, item in enumerate(written):
        for task, row in item.rows.items():
            rows[task].append(row)
        rows["scenes_retrieval"].append(_retrieval(item, written, rng))
        rows["scenes_grounding"].append(_grounding(index, written, rng))
    for task, lines in rows.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (out / f"{task}.jsonl").write_text(text, encoding="utf-8")
    infos = {task: {"meta_task": meta, "in_distribution": None} for task, meta in META_TASKS.items()}
    (out / "subsets.json").write_text(json.dumps(infos, indent=2) + "\n", encoding="utf-8")
    return {task: len(lines) for task, lines in rows.items()}


def _write(seed: int, pairs: Pairs, size: int, out: Path) -> _Written:
    scene = make_scene(seed, size, pairs)
    rng = np.random.default_rng([seed, 13])
    name = f"{seed:07d}"
    image, other = f"images/scenes/{name}.jpg", f"images/twins/{name}.jpg"
    _save(scene.image, out / image)
    _save(twin(scene).image, out / other)
    asked = int(rng.integers(len(scene.subjects)))
    subject = scene.subjects[asked]
    first = [subject, *(s for i, s in enumerate(scene.subjects) if i != asked)]
    parts = []
    for number, box in enumerate(_boxes(first, size, rng)):
        parts.append(f"images/parts/{name}-{number}.jpg")
        _save(scene.image.crop(box), out / parts[-1])
    number = int(rng.integers(len(scene.captions)))
    return _Written(
        image,
        other,
        {
            "scenes_classification": _texts(_SCENE, image, PLACES[scene.setting], list(PLACES.values())),
            "scenes_vqa": _texts(
                f"{_QUESTION} the {named(subject)}?", image, subject.colour, list(COLOUR_NAMES)
            ),
        },
        scene.queries[number],
        scene.captions[number],
        scene.facts,
        subject.phrase,
        tuple(parts),
    )


def named(subject: SceneSubject) -> str:
    """What a subject is called without its colour: `dog`, or `person` where its phrase says so."""
    if subject.phrase.endswith(f" in {subject.colour}"):
        return subject.phrase.split()[1]
    return subject.kind


def _texts(text: str, image: str, right: str, choices: Sequence[str]) -> dict[str, Any]:
    targets = [right, *(choice for choice in choices if choice != right)]
    return _row(text, image, targets, [""] * len(targets))


def _row(text: str, image: str, texts: list[str], images: list[str]) -> dict[str, Any]:
    return {"qry_text": text, "qry_img_path": image, "tgt_text": texts, "tgt_img_path": images}


def _retrieval(item: _Written, written: Sequence[_Written], rng: np.random.Generator) -> dict[str, Any]:
    wrong = [item.twin]
    for index in rng.permutation(len(written)):
        if len(wrong) == CANDIDATES - 1:
            break
        if not holds(item.query, written[index].facts):
            wrong.append(written[index].image)
    images = [item.image, *wrong]
    return _row(_CAPTION + item.caption, "", [_IMAGE] * len(images), images)


def _grounding(index: int, written: Sequence[_Written], rng: np.random.Generator) -> dict[str, Any]:
    item = written[index]
    images = list(item.parts)
    for other in rng.permutation(len(written)):
        if len(images) >= _PARTS:
            break
        if other != index and written[other].phrase != item.phrase:
            images.append(written[other].parts[0])
    return _row(_SELECT + item.phrase, item.image, [_CROP] * len(images), images)


def _boxes(subjects: Sequence[SceneSubject], size: int, rng: np.random.Generator) -> list[Box]:
    """The boxes of `subjects` in their order, then one or two of about their sizes that hold little of any."""
    boxes = [_enlarged(subject.bbox, size) for subject in subjects]
    taken = np.logical_or.reduce([subject.mask for subject in subjects])
    empty: list[Box] = []
    for _ in range(_TRIES):
        if len(empty) == 2:
            break
        x0, y0, x1, y1 = boxes[int(rng.integers(len(boxes)))]
        width, height = min(x1 - x0, size // 2), min(y1 - y0, size // 2)
        x, y = int(rng.integers(size - width + 1)), int(rng.integers(size - height + 1))
        if taken[y : y + height, x : x + width].mean() < 0.05:
            empty.append((x, y, x + width, y + height))
    return boxes + (empty or [(0, 0, size // 4, size // 4)])


def _enlarged(bbox: tuple[float, float, float, float], size: int) -> Box:
    """The box in whole pixels, at least `_LEAST_SIDE` wide and high, inside the image."""
    x, y, w, h = bbox
    width, height = max(_LEAST_SIDE, round(w)), max(_LEAST_SIDE, round(h))
    left = min(max(0, round(x + w / 2 - width / 2)), size - width)
    top = min(max(0, round(y + h / 2 - height / 2)), size - height)
    return left, top, left + width, top + height


def _save(image: Image.Image, path: Path) -> None:
    image.save(path, quality=_QUALITY, subsampling=0)
