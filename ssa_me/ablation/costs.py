"""What the dearer ways of the whole method give and cost: rankings by time and storage, the head against full salience.

It measures an embedder on one ImageFolder set; it trains nothing. Times are medians on the machine at hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssa_me.embedder import SalientEmbedder
from ssa_me.evaluation.bootstrap import estimate
from ssa_me.evaluation.encode import encode
from ssa_me.evaluation.localisation import pointing_game
from ssa_me.evaluation.maps import region_tasks, scene_of
from ssa_me.evaluation.models import Model, versions_of
from ssa_me.evaluation.rerank import rerank
from ssa_me.evaluation.retrieval import similarity
from ssa_me.images import load_image
from ssa_me.samples import Sample, read_image_folder

Progress = Callable[[str], None]
_TIMED = 20
"""Queries that are timed."""
_FULL = ("expert", "relevance", "fusion")
"""The parts of an explanation that make up full salience, once its subjects are named."""


def costs(
    folder: Path, embedder: SalientEmbedder, models: Sequence[Model], progress: Progress
) -> dict[str, Any]:
    """`{"rankings": …, "salience": …}` of `ranking_costs` and `salience_routes` on the set in `folder`."""
    progress("timing rankings")
    rankings = ranking_costs(folder, embedder, models)
    progress("holding the head against full salience")
    return {"rankings": rankings, "salience": salience_routes(folder, embedder)}


def ranking_costs(
    folder: Path, embedder: SalientEmbedder, models: Sequence[Model]
) -> dict[str, dict[str, float]]:
    """By model: `milliseconds` of a text query against all images of the set, embedding the text included, and `bytes` of
    vectors that an image keeps."""
    records = read_image_folder(folder)
    samples = [Sample(image=load_image(record.path, record.file_name)) for record in records]
    images = encode(embedder, samples, versions_of(models), subjects=True)
    queries = list(dict.fromkeys(caption for record in records for caption in record.captions))[:_TIMED]
    found = {}
    for model in models:
        vectors = images.vectors[model.version]
        subjects = images.subjects[model.version] if model.ranking == "subjects" else None
        seconds = []
        for text in queries:
            began = time.perf_counter()
            by_subjects = subjects is not None
            query = embedder.embed([Sample(text)], versions=(model.version,), subjects=by_subjects)
            said = query.subject_vectors[model.version] if by_subjects else None
            scores = similarity(query.vectors[model.version], vectors, subjects, said)[0]
            if model.ranking == "rerank":
                rerank(scores, text, samples.__getitem__, model.version, embedder, relevant=())
            seconds.append(time.perf_counter() - began)
        kept = vectors.nbytes + sum(rows.nbytes for rows in subjects or ())
        found[model.name] = {"milliseconds": _milliseconds(seconds), "bytes": kept / len(samples)}
    return found


def salience_routes(folder: Path, embedder: SalientEmbedder) -> dict[str, Any]:
    """The salience head against the full route of expert and relevance, on every annotated phrase of the set.

    `head`, `full`: `pointing_game` over the phrases and `milliseconds` a phrase and image, beside the vision pass that
    both need; `listing`: the milliseconds in which the language model lists the subjects of a query, which the full
    route takes once a query; `difference`: of the pointing game, head minus full, with its interval over scenes.
    """
    hits: dict[str, list[float]] = {"head": [], "full": []}
    seconds: dict[str, list[float]] = {"head": [], "full": []}
    owners: list[str] = []
    phrases: dict[str, None] = {}
    for record in read_image_folder(folder):
        image = load_image(record.path, record.file_name)
        for task in region_tasks(record, image):
            if task.phrase is None:
                continue
            found = embedder.explain(image, None, [task.phrase], "full")
            for route, stage in (("head", "head"), ("full", "fused")):
                hit = pointing_game(found.stages[stage], found.boxes, task.region)
                hits[route].append(0.0 if np.isnan(hit) else hit)  # a constant map points nowhere
            seconds["head"].append(found.seconds["head"])
            seconds["full"].append(sum(found.seconds[part] for part in _FULL))
            owners.append(scene_of(record))
            phrases[task.phrase] = None
    gap = estimate(np.array(hits["head"]) - np.array(hits["full"]), owners)
    assert gap is not None  # generated scenes name subjects
    routes = {
        route: {"pointing_game": float(np.mean(hits[route])), "milliseconds": _milliseconds(seconds[route])}
        for route in hits
    }
    listing = [_listing(embedder, phrase) for phrase in list(phrases)[:_TIMED]]
    return {"phrases": len(owners), **routes, "listing": _milliseconds(listing), "difference": gap.to_json()}


def _listing(embedder: SalientEmbedder, text: str) -> float:
    """The seconds in which the language model lists the subjects of a text."""
    began = time.perf_counter()
    embedder.subjects([Sample(text)])
    return time.perf_counter() - began


def _milliseconds(seconds: Sequence[float]) -> float:
    return float(np.median(seconds)) * 1000
