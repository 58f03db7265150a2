"""Evaluates models on any ImageFolder set: retrieval where it has captions, localisation where it has regions.

It orchestrates; the measures are in `retrieval.py` and `localisation.py`, the intervals in `bootstrap.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssa_me.errors import InputError
from ssa_me.evaluation.bootstrap import Estimate, estimate
from ssa_me.evaluation.conditioned import summarise_pointings
from ssa_me.evaluation.encode import Encoded, Progress, encode, silent
from ssa_me.evaluation.listing import subject_lists
from ssa_me.evaluation.localisation import RegionScore, summarise
from ssa_me.evaluation.maps import CONTROLS, SALIENCE, ScoredMaps, called_by_less, scene_of, score_maps
from ssa_me.evaluation.models import Model, compared, versions_of
from ssa_me.evaluation.names import names
from ssa_me.evaluation.relations import right, swap_margins, swaps
from ssa_me.evaluation.rerank import rerank
from ssa_me.evaluation.retrieval import (
    Retrieval,
    average_precision,
    pessimistic_ranks,
    retrieve,
    score_rows,
)
from ssa_me.images import load_image
from ssa_me.samples import Record, Sample, read_image_folder

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

ALL = "all"
_PREFERRED_SPLITS = ("test", "val")
_SWAP, _BY_KIND = "relation_swap.accuracy", "by_kind.map"


def evaluate(
    data: Path,
    embedder: SalientEmbedder,
    models: Sequence[Model],
    split: str | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
    controls: bool = False,
    listing: bool = False,
    shorter: bool = False,
) -> dict[str, Any]:
    """The contract's object of `evaluate --json` for ImageFolder `data`; parts that the data cannot give are absent.

    `controls` adds what maps are held against (chance, a centre prior, raw attention, gradients, the OpenCV expert);
    `listing` how well the language model lists the subjects of the images that have some, by generation. With `shorter`
    regions are looked for by less than their phrase, all dogs of an image by `the dog`, and images, too, all that have one.

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
    sought = [called_by_less(record) for record in usable] if shorter else usable
    maps = score_maps(sought, embedder, versions_of(models), progress, controls=controls)
    for model in models:
        if maps.owners and model.ranking == "vector":
            shown[model.name]["localisation"] = _localisation(maps, model.version)
    measured = [_add_swaps(shown, usable, images, embedder, models)]
    if shorter:
        measured.append(_add_names(shown, usable, images, embedder, models))
    if not queries and not maps.owners:
        raise InputError(
            f"{data} has neither captions nor subject regions to evaluate with; describe them in metadata.jsonl."
        )
    differences = {
        f"{ours.name} - {theirs.name}": _difference(ours, theirs, queries, maps, measured, seed)
        for ours, theirs in compared(models)
    }
    answer: dict[str, Any] = {
        "data": str(data),
        "images": len(usable),
        "models": shown,
        "difference": differences,
    }
    if shorter:
        answer["shorter_phrases"] = True
    if controls and maps.owners:
        answer["localisation"] = _controls(maps, seed)
    lists = subject_lists(usable, embedder, progress) if listing else None
    if lists is not None:
        answer["subjects"] = lists.to_json()
    languages = {str(record.extra.get("language", "en")) for record in usable if record.captions}
    if len(languages) == 1 and any("language" in record.extra for record in usable):
        answer["language"] = languages.pop()
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
        subjects=any(model.ranking == "subjects" for model in models),
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
        scores = score_rows(texts, pictures, subjects, captions.subjects[model.version] or None)
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


def _localisation(maps: ScoredMaps, version: str) -> dict[str, Any]:
    """The contract's maps of a version, and how each follows its phrase where images have several."""
    salience = maps.scores.get(SALIENCE) if version == "ssa-me" else None
    own = {"attention": f"{version}.attention"} | ({"salience": SALIENCE} if salience else {})
    conditioned = {name: summarise_pointings(maps.pointings.get(source, [])) for name, source in own.items()}
    found: dict[str, Any] = {
        "attention": summarise(maps.scores[f"{version}.attention"]),
        "salience": summarise(salience) if salience else None,
        "query_free": summarise(maps.query_free[version]),
    }
    return found | ({"conditioned": conditioned} if all(conditioned.values()) else {})


def _controls(maps: ScoredMaps, seed: int) -> dict[str, Any]:
    """Scores of the controls, and how much better salience points, with paired intervals clustered by scene."""
    controls = {name: maps.scores[name] for name in CONTROLS if name in maps.scores}
    differences: dict[str, Any] = {}
    for name, scores in controls.items():
        if SALIENCE in maps.scores:
            gaps = _gaps(maps.scores[SALIENCE], scores, maps.owners, seed)
            differences[f"salience - {name}"] = {measure: gap.to_json() for measure, gap in gaps.items()}
    return {
        "controls": {name: summarise(scores) for name, scores in controls.items()},
        "difference": differences,
    }


def _gaps(
    ours: Sequence[RegionScore], theirs: Sequence[RegionScore], owners: Sequence[str], seed: int
) -> dict[str, Estimate]:
    """By measure: the mean of ours less theirs over the regions where both are defined."""
    found = {}
    for measure in ours[0].measures() if ours else ():
        gap = np.array(
            [a.measures()[measure] - b.measures()[measure] for a, b in zip(ours, theirs, strict=True)]
        )
        estimated = estimate(gap, owners, seed=seed)
        if estimated is not None:
            found[measure] = estimated
    return found


@dataclass(frozen=True)
class _Measured:
    """One measure, by its path in a model's object: values `(S,)` by the names of those models that have it, and the cluster
    of each."""

    path: str
    values: Mapping[str, np.ndarray]
    clusters: tuple[str, ...]


def _add_swaps(
    shown: dict[str, dict[str, Any]],
    records: Sequence[Record],
    images: Encoded,
    embedder: SalientEmbedder,
    models: Sequence[Model],
) -> _Measured:
    """Fill in how often the true relation beats the swapped one; a re-ranking has nothing to add to a single image."""
    found = list(swaps(records))
    asked = [model for model in models if model.ranking != "rerank"]
    if not found or not asked:
        return _Measured(_SWAP, {}, ())
    words = list(dict.fromkeys(text for swap in found for text in (swap.true, swap.swapped)))
    by_subjects = any(model.ranking == "subjects" for model in asked)
    spoken = encode(embedder, (Sample(text) for text in words), versions_of(asked), subjects=by_subjects)
    won: dict[str, np.ndarray] = {}
    for model in asked:
        texts = dict(zip(words, spoken.vectors[model.version], strict=True))
        subjects = images.subjects[model.version] if model.ranking == "subjects" else None
        stated = dict(zip(words, spoken.subjects[model.version], strict=True)) if subjects else None
        won[model.name] = right(swap_margins(found, texts, images.vectors[model.version], subjects, stated))
        shown[model.name]["relation_swap"] = {"pairs": len(found), "accuracy": float(won[model.name].mean())}
    return _Measured(_SWAP, won, tuple(scene_of(records[swap.image]) for swap in found))


def _add_names(
    shown: dict[str, dict[str, Any]],
    records: Sequence[Record],
    images: Encoded,
    embedder: SalientEmbedder,
    models: Sequence[Model],
) -> _Measured:
    """Fill in how well images are found by the kind alone of what they show; by one vector and by subjects."""
    found = names(records)
    asked = [model for model in models if model.ranking != "rerank"]
    precisions: dict[str, np.ndarray] = {}
    if found and asked:
        by_subjects = any(model.ranking == "subjects" for model in asked)
        samples = [Sample(name.text) for name in found]
        spoken = encode(embedder, samples, versions_of(asked), subjects=by_subjects)
        for model in asked:
            subjects = images.subjects[model.version] if model.ranking == "subjects" else None
            stated = spoken.subjects[model.version] if subjects else None
            rows = score_rows(spoken.vectors[model.version], images.vectors[model.version], subjects, stated)
            ranks = [pessimistic_ranks(row, name.images) for row, name in zip(rows, found, strict=True)]
            precisions[model.name] = np.array([average_precision(own) for own in ranks])
            mean = float(precisions[model.name].mean())
            shown[model.name]["by_kind"] = {"queries": len(found), "map": mean}
    return _Measured(_BY_KIND, precisions, tuple(name.kind for name in found))


def _difference(
    ours: Model,
    theirs: Model,
    queries: Mapping[tuple[str, str], _Ranked],
    maps: ScoredMaps,
    measured: Sequence[_Measured],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """`ours` minus `theirs`, by the path in a model's object, with paired intervals clustered by scene.

    Localisation compares attention only: the other maps are not like for like between versions.
    """
    found: dict[str, Estimate | None] = {}
    for direction in ("text_to_image", "image_to_text"):
        if (ours.name, direction) in queries and (theirs.name, direction) in queries:
            mine, other = queries[ours.name, direction], queries[theirs.name, direction]
            for measure, values in mine.scores.measures().items():
                gap = values - other.scores.measures()[measure]
                found[f"{direction}.{measure}"] = estimate(gap, mine.clusters, seed=seed)
    for one in measured:
        if ours.name in one.values and theirs.name in one.values:
            gap = one.values[ours.name] - one.values[theirs.name]
            found[one.path] = estimate(gap, one.clusters, seed=seed)
    if maps.owners and ours.ranking == theirs.ranking == "vector":
        attention = [maps.scores[f"{model.version}.attention"] for model in (ours, theirs)]
        for measure, result in _gaps(attention[0], attention[1], maps.owners, seed).items():
            found[f"localisation.attention.{measure}"] = result
    return {name: result.to_json() for name, result in found.items() if result is not None}
