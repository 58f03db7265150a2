"""Evaluates models on any ImageFolder set: retrieval where it has captions, localisation where it has regions.

It orchestrates; the measures are in `retrieval.py` and `localisation.py`, the intervals in `bootstrap.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.evaluation.bootstrap import estimate
from ssa_me.evaluation.encode import Encoded, Progress, batches, encode, silent
from ssa_me.evaluation.localisation import RegionScore, score_region, summarise
from ssa_me.evaluation.models import Model, compared, versions_of
from ssa_me.evaluation.rerank import rerank
from ssa_me.evaluation.retrieval import Retrieval, retrieve, score_rows
from ssa_me.images import load_image
from ssa_me.samples import Record, Sample, read_image_folder

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

ALL = "all"
_PREFERRED_SPLITS = ("test", "val")
_NOT_TRUTH = ("proposed", "rejected")
_MAP_BATCH = 16


@dataclass(frozen=True)
class RegionTask:
    """A phrase of an image (None: any annotated subject) and the region `(H, W)` that it names."""

    phrase: str | None
    region: np.ndarray


@dataclass
class MapScores:
    """Scores of one version's maps, in the order of the regions: same positions, same regions for every version."""

    attention: list[RegionScore] = field(default_factory=list)
    salience: list[RegionScore] = field(default_factory=list)
    query_free: list[RegionScore] = field(default_factory=list)


def evaluate(
    data: Path,
    embedder: SalientEmbedder,
    models: Sequence[Model],
    split: str | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The contract's object of `evaluate --json` for ImageFolder `data`; parts that the data cannot give are absent.

    `split` names one, or is `all`; by default test, else val, else everything, whichever the data has. Images that
    cannot be read are left out and listed under `skipped`. Raises InputError on data without an image, or an unknown
    split, or where there are neither captions nor regions.
    """
    records, chosen = choose_split(read_image_folder(data), split)
    skipped: list[dict[str, str]] = []
    usable: list[Record] = []
    images = encode(
        embedder,
        _load_images(records, usable, skipped),
        versions_of(models),
        subjects=any(model.ranking == "subjects" for model in models),
        total=len(records),
        what="images",
        progress=progress,
    )
    if not usable:
        raise InputError(f"None of the {len(records)} images can be read. {skipped[0]['reason']}")
    shown: dict[str, dict[str, Any]] = {model.name: {} for model in models}
    queries = _add_retrieval(shown, usable, images, embedder, models, progress)
    maps, owners = score_maps(usable, embedder, versions_of(models), progress)
    for model in models:
        if owners and model.ranking == "vector":
            shown[model.name]["localisation"] = _localisation(maps[model.version])
    if not queries and not owners:
        raise InputError(
            f"{data} has neither captions nor subject regions to evaluate with; describe them in metadata.jsonl."
        )
    differences = {
        f"{ours.name} - {theirs.name}": _difference(ours, theirs, queries, maps, owners, seed)
        for ours, theirs in compared(models)
    }
    answer: dict[str, Any] = {
        "data": str(data),
        "images": len(usable),
        "models": shown,
        "difference": differences,
    }
    return answer | ({"split": chosen} if chosen else {}) | ({"skipped": skipped} if skipped else {})


def choose_split(records: Sequence[Record], split: str | None) -> tuple[list[Record], str | None]:
    """The records of `split` and its name: None takes test, else val, else all. InputError names the splits there are."""
    present = sorted({record.split for record in records if record.split})
    chosen = split or next((name for name in _PREFERRED_SPLITS if name in present), ALL)
    if chosen == ALL:
        return list(records), None
    if chosen not in present:
        has = f"It has {', '.join(present)}" if present else "It has none"
        raise InputError(f"The data has no split {chosen!r}. {has}; 'all' takes every image.")
    return [record for record in records if record.split == chosen], chosen


def _load_images(
    records: Sequence[Record], usable: list[Record], skipped: list[dict[str, str]]
) -> Iterator[Sample]:
    for record in records:
        try:
            image = load_image(record.path, record.file_name)
        except InputError as error:
            skipped.append({"name": record.file_name, "reason": str(error)})
            continue
        usable.append(record)
        yield Sample(image=image)


def scene_of(record: Record) -> str:
    """The cluster of an image: the scene it names under the free key `scene`, else the image itself."""
    return str(record.extra.get("scene", record.file_name))


@dataclass(frozen=True)
class _Ranked:
    """One direction of retrieval under one model, with each query's cluster."""

    scores: Retrieval
    clusters: tuple[str, ...]


def _add_retrieval(
    shown: dict[str, dict[str, Any]],
    records: Sequence[Record],
    images: Encoded,
    embedder: SalientEmbedder,
    models: Sequence[Model],
    progress: Progress,
) -> dict[tuple[str, str], _Ranked]:
    """Fill in both directions; returns them by (model name, direction).

    Equal captions are one caption that all their images own. Only one vector ranks captions for an image.
    """
    owners: dict[str, list[int]] = {}
    for row, record in enumerate(records):
        for caption in dict.fromkeys(record.captions):
            owners.setdefault(caption, []).append(row)
    if not owners or len(records) < 2:
        return {}
    captions = encode(
        embedder,
        (Sample(text) for text in owners),
        versions_of(models),
        total=len(owners),
        what="captions",
        progress=progress,
    )
    of_image: dict[int, list[int]] = {}
    for number, rows in enumerate(owners.values()):
        for row in rows:
            of_image.setdefault(row, []).append(number)
    described = list(of_image)
    ranked: dict[tuple[str, str], _Ranked] = {}
    for model in models:
        texts, pictures = captions.vectors[model.version], images.vectors[model.version]
        subjects = images.subjects[model.version] if model.ranking == "subjects" else None
        scores = score_rows(texts, pictures, subjects)
        if model.ranking == "rerank":
            scores = _rerank_all(scores, owners, records, model, embedder, progress)
        ranked[model.name, "text_to_image"] = _Ranked(
            retrieve(scores, list(owners.values())),
            tuple(scene_of(records[rows[0]]) for rows in owners.values()),
        )
        if model.ranking == "vector":
            ranked[model.name, "image_to_text"] = _Ranked(
                retrieve(score_rows(pictures[described], texts), list(of_image.values())),
                tuple(scene_of(records[row]) for row in described),
            )
    for (name, direction), result in ranked.items():
        shown[name][direction] = result.scores.to_json()
    return ranked


def _rerank_all(
    scores: Iterator[np.ndarray],
    owners: Mapping[str, Sequence[int]],
    records: Sequence[Record],
    model: Model,
    embedder: SalientEmbedder,
    progress: Progress,
) -> Iterator[np.ndarray]:
    def load(row: int) -> Sample:
        return Sample(image=load_image(records[row].path, records[row].file_name))

    for number, (row, (caption, rows)) in enumerate(zip(scores, owners.items(), strict=True), start=1):
        yield rerank(row, caption, load, model.version, embedder, rows)
        if number % 50 == 0:
            progress(f"{model.name}: {number:,} of {len(owners):,} captions re-ranked")


def region_tasks(record: Record, image: Image.Image) -> list[RegionTask]:
    """What to find in an image: every phrase with the union of its regions, then, with phrase None, all of them united.

    A segmentation goes before a box. Subjects whose status is proposed or rejected are no truth and do not count.
    """
    regions: dict[str, np.ndarray] = {}
    for subject in record.subjects:
        if subject.status not in _NOT_TRUTH and (
            subject.segmentation is not None or subject.bbox is not None
        ):
            mask = subject.mask(image.width, image.height)
            regions[subject.phrase] = regions[subject.phrase] | mask if subject.phrase in regions else mask
    if not regions:
        return []
    tasks = [RegionTask(phrase, region) for phrase, region in regions.items()]
    return [*tasks, RegionTask(None, np.logical_or.reduce(list(regions.values())))]


def score_maps(
    records: Sequence[Record], embedder: SalientEmbedder, versions: Sequence[str], progress: Progress = silent
) -> tuple[dict[str, MapScores], list[str]]:
    """Scores of each version's maps on all annotated regions, and the cluster of each phrase's region.

    Attention is the version's own, with the phrase in the input. Salience is the head's map for the phrase: SSA-ME
    only. The query-free map of SSA-ME is the head's without a phrase; the baseline's is its attention on the image alone.
    """
    scores = {version: MapScores() for version in versions}
    owners: list[str] = []
    annotated = [record for record in records if record.subjects]
    pairs = (
        (record, image, task)
        for record in annotated
        for image in [load_image(record.path, record.file_name)]
        for task in region_tasks(record, image)
    )
    for number, batch in enumerate(batches(pairs, _MAP_BATCH), start=1):
        maps = embedder.maps([image for _, image, _ in batch], [task.phrase for _, _, task in batch])
        for (record, _, task), found in zip(batch, maps, strict=True):
            salience = score_region(found.salience, found.boxes, task.region)
            for version in versions:
                attention = score_region(found.attention[version], found.boxes, task.region)
                if task.phrase is None:
                    scores[version].query_free.append(salience if version == "ssa-me" else attention)
                else:
                    scores[version].attention.append(attention)
                    if version == "ssa-me":
                        scores[version].salience.append(salience)
            if task.phrase is not None:
                owners.append(scene_of(record))
        if number % 10 == 0:
            progress(f"localisation: {len(owners):,} regions scored")
    return scores, owners


def _localisation(scores: MapScores) -> dict[str, Any]:
    return {
        "attention": summarise(scores.attention),
        "salience": summarise(scores.salience) if scores.salience else None,
        "query_free": summarise(scores.query_free),
    }


def _difference(
    ours: Model,
    theirs: Model,
    queries: Mapping[tuple[str, str], _Ranked],
    maps: Mapping[str, MapScores],
    owners: Sequence[str],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """`ours` minus `theirs`, by the path in a model's object, with paired intervals clustered by scene.

    Localisation compares attention only: the other maps are not like for like between versions.
    """
    found = {}
    for direction in ("text_to_image", "image_to_text"):
        if (ours.name, direction) in queries and (theirs.name, direction) in queries:
            mine, other = queries[ours.name, direction], queries[theirs.name, direction]
            for measure, values in mine.scores.measures().items():
                gap = values - other.scores.measures()[measure]
                found[f"{direction}.{measure}"] = estimate(gap, mine.clusters, seed=seed)
    if owners and ours.ranking == theirs.ranking == "vector":
        pairs = list(zip(maps[ours.version].attention, maps[theirs.version].attention, strict=True))
        for measure in pairs[0][0].measures():
            gap = np.array([a.measures()[measure] - b.measures()[measure] for a, b in pairs])
            found[f"localisation.attention.{measure}"] = estimate(gap, owners, seed=seed)
    return {name: result.to_json() for name, result in found.items() if result is not None}
