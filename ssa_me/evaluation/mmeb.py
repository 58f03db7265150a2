"""MMEB's protocol on local data: hit@1 a subset, means over meta-tasks and distributions. It downloads nothing.

The candidates of a query are ranked for that query alone. A positive that only ties with the best wrong candidate is a
miss, so a model that maps everything to one vector scores 0, not 100 %. Each distinct pair of text and image of a subset
is embedded once. A query that needs an image that is missing or damaged counts as missed, so a hole in the data can only
lower a score; such images are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssa_me.errors import InputError
from ssa_me.evaluation.bootstrap import Estimate, estimate, interval, mean_draws
from ssa_me.evaluation.cache import ArrayCache
from ssa_me.evaluation.encode import Encoded, Progress, silent
from ssa_me.evaluation.mmeb_data import Entry, MmebQuery, Subset, read_subsets
from ssa_me.evaluation.mmeb_encode import Encoder, load_sample
from ssa_me.evaluation.models import Model, compared, versions_of
from ssa_me.evaluation.published import published_beside
from ssa_me.evaluation.rerank import RERANKED, rerank
from ssa_me.evaluation.retrieval import TIE, similarity
from ssa_me.mmeb_subsets import SubsetInfo
from ssa_me.rereading import statements
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

CACHE_FILE = "embeddings.sqlite"


@dataclass(frozen=True)
class SubsetResult:
    """One model on one subset: hits `(Q,)` of 0 or 1, ties with the best wrong candidate, and each query's cluster."""

    hits: np.ndarray
    ties: int
    clusters: tuple[str, ...]
    chance: float
    fallback: int
    """Queries that are not text to image, so that `+subjects` and `+rerank` ranked them by one vector."""
    info: SubsetInfo | None = None

    def to_json(self, seed: int) -> dict[str, Any]:
        score = estimate(self.hits, self.clusters, seed=seed)
        assert score is not None
        return {
            "hit@1": score.value,
            "queries": len(self.hits),
            "ties": self.ties,
            "interval": list(score.interval),
            "chance": self.chance,
        }


Results = Mapping[str, Mapping[str, SubsetResult]]
"""Model name -> subset name -> result."""


def run_mmeb(
    data: Path,
    embedder: SalientEmbedder,
    models: Sequence[Model],
    subsets: Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
    cache: Path | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """The contract's object of `mmeb --json` for the `subsets` (None: all) of folder `data`.

    `cache` is a folder that keeps embeddings, so that a run that was stopped goes on where it was. Data is read and
    checked before anything is embedded; raises InputError where it is not there or not valid, and with `strict` where an
    image is missing or damaged.
    """
    results: dict[str, dict[str, SubsetResult]] = {model.name: {} for model in models}
    lost: dict[str, dict[str, Any]] = {}
    found = read_subsets(data, subsets, strict=strict)
    with ExitStack() as stack:
        kept = stack.enter_context(ArrayCache(cache / CACHE_FILE)) if cache is not None else None
        encoder = Encoder(embedder, kept, progress)
        for number, subset in enumerate(found, start=1):
            scored, missing = score_subset(subset, encoder, models, strict=strict)
            for name, result in scored.items():
                results[name][subset.name] = result
            if missing:
                needing = sum(
                    any(e.image in missing for e in (q.entry, *q.candidates)) for q in subset.queries
                )
                lost[subset.name] = {"images": sorted(missing), "queries": needing}
            if len(found) > 1:
                progress(f"{number} of {len(found)} subsets done: {subset.name}")
    beside = published_beside(subset.name for subset in found)
    return (
        report(results, models, seed=seed)
        | ({"missing_images": lost} if lost else {})
        | ({"published": beside} if beside else {})
    )


def score_subset(
    subset: Subset, encoder: Encoder, models: Sequence[Model], *, strict: bool = False
) -> tuple[dict[str, SubsetResult], dict[str, str]]:
    """Rank every query of `subset` under every model: results by model name, and why images could not be read."""
    entries = subset.entries()
    index = {entry: number for number, entry in enumerate(entries)}
    subjects = any(model.ranking == "subjects" for model in models)
    encoded, unreadable = encoder.encode(
        entries, subset.root, versions_of(models), subjects=subjects, what=subset.name
    )
    if unreadable and strict:
        raise InputError(f"{subset.name}: {next(iter(unreadable.values()))} --strict stops here.")
    fallback = sum(not query.is_text_to_image for query in subset.queries)
    results = {}
    for model in models:
        scores = _score_queries(subset, index, encoded, model, encoder)
        margins = np.array(
            [row[0] - np.max(row[1:]) for row in scores]
        )  # NaN where an image is missing: a miss
        results[model.name] = SubsetResult(
            hits=(margins > TIE).astype(np.float64),
            ties=int((np.abs(margins) <= TIE).sum()),
            clusters=tuple(query.cluster for query in subset.queries),
            chance=float(np.mean([1 / len(query.candidates) for query in subset.queries])),
            fallback=0 if model.ranking == "vector" else fallback,
            info=subset.info,
        )
    return results, unreadable


def _score_queries(
    subset: Subset, index: Mapping[Entry, int], encoded: Encoded, model: Model, encoder: Encoder
) -> Iterator[np.ndarray]:
    """Scores `(C,)` of each query's candidates, in their order."""
    vectors = encoded.vectors[model.version]
    for number, query in enumerate(subset.queries, start=1):
        rows = [index[candidate] for candidate in query.candidates]
        own = vectors[index[query.entry]][None]
        by_subjects = model.ranking == "subjects" and query.is_text_to_image
        subjects = [encoded.subjects[model.version][row] for row in rows] if by_subjects else None
        said = [encoded.subjects[model.version][index[query.entry]]] if by_subjects else None
        scores = similarity(own, vectors[rows], subjects, said)[0]
        if model.ranking == "rerank" and query.is_text_to_image and not np.isnan(scores).any():
            scores = _reranked(scores, query, subset.root, model, encoder)
            if number % 50 == 0:
                encoder.progress(
                    f"{subset.name}: {number:,} of {len(subset.queries):,} queries re-ranked by {model.name}"
                )
        yield scores


def _reranked(scores: np.ndarray, query: MmebQuery, root: Path, model: Model, encoder: Encoder) -> np.ndarray:
    def load(row: int) -> Sample:
        return load_sample(query.candidates[row], root)

    def key() -> str:
        read = statements(query.entry.text, encoder.embedder)
        parts = [encoder.content(entry, root) for entry in (query.entry, *query.candidates)]
        return encoder.key("reread", model.version, str(RERANKED), str(read), *parts)

    def compute() -> np.ndarray:
        return rerank(scores, query.entry.text, load, model.version, encoder.embedder, relevant=[0])

    return encoder.remembered(key, compute)


def report(results: Results, models: Sequence[Model], *, seed: int = 0) -> dict[str, Any]:
    """The contract's JSON object of `results`; means that no subset belongs to are absent, and so are empty notes."""
    shown: dict[str, Any] = {}
    for name, by_subset in results.items():
        means = {
            label: float(np.mean([by_subset[s].hits.mean() for s in members]))
            for label, members in _groups(by_subset).items()
        }
        shown[name] = {
            "subsets": {subset: result.to_json(seed) for subset, result in by_subset.items()},
            "meta_tasks": {k.partition(".")[2]: v for k, v in means.items() if k.startswith("meta_tasks.")},
            **{label: mean for label, mean in means.items() if not label.startswith("meta_tasks.")},
        }
    differences = {
        f"{a.name} - {b.name}": difference(results[a.name], results[b.name], seed)
        for a, b in compared(models)
    }
    answer: dict[str, Any] = {"models": shown, "difference": differences}
    notes = [
        f"{name}, {subset}: {result.fallback} of {len(result.hits)} queries are not text to image; one vector ranked them."
        for name, by_subset in results.items()
        for subset, result in by_subset.items()
        if result.fallback
    ]
    return answer | ({"notes": notes} if notes else {})


def _groups(subsets: Mapping[str, SubsetResult]) -> dict[str, list[str]]:
    """What is averaged: label -> subsets, for meta_tasks.X, ind, ood and overall. What is known of none of them is in
    overall only."""
    groups: dict[str, list[str]] = {}
    for name, result in subsets.items():
        if result.info is not None and result.info.meta_task is not None:
            groups.setdefault(f"meta_tasks.{result.info.meta_task}", []).append(name)
    for label, inside in (("ind", True), ("ood", False)):
        members = [n for n, r in subsets.items() if r.info is not None and r.info.in_distribution is inside]
        if members:
            groups[label] = members
    return groups | {"overall": list(subsets)}


def difference(
    ours: Mapping[str, SubsetResult], theirs: Mapping[str, SubsetResult], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """`ours` minus `theirs` with paired intervals, keyed by the path in a model's object (`overall`, `subsets.X.hit@1`).

    Clusters are drawn within each subset; the draws of a mean over subsets are the mean of the subsets' draws.
    """
    values = {name: ours[name].hits - theirs[name].hits for name in ours}
    draws = {
        name: mean_draws(values[name], ours[name].clusters, seed=[seed, number])
        for number, name in enumerate(values)
    }
    groups = {f"subsets.{name}.hit@1": [name] for name in values} | _groups(ours)
    return {
        label: Estimate(
            float(np.mean([values[name].mean() for name in members])),
            interval(np.mean([draws[name] for name in members], axis=0)),
        ).to_json()
        for label, members in groups.items()
    }
