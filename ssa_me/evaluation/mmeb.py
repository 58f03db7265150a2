"""MMEB's protocol on local data: hit@1 a subset, means over meta-tasks and distributions. It downloads nothing.

The candidates of a query are ranked for that query alone. A positive that only ties with the best wrong candidate is a
miss, so a model that maps everything to one vector scores 0, not 100 %. Each distinct pair of text and image of a subset
is embedded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssa_me.errors import InputError
from ssa_me.evaluation.bootstrap import Estimate, estimate, interval, mean_draws
from ssa_me.evaluation.encode import Encoded, Progress, encode, silent
from ssa_me.evaluation.mmeb_data import SUBSETS, Entry, MmebQuery, Subset, read_subsets
from ssa_me.evaluation.models import Model, compared, versions_of
from ssa_me.evaluation.rerank import rerank
from ssa_me.evaluation.retrieval import TIE, similarity
from ssa_me.images import load_image
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder


@dataclass(frozen=True)
class SubsetResult:
    """One model on one subset: hits `(Q,)` of 0 or 1, ties with the best wrong candidate, and each query's cluster."""

    hits: np.ndarray
    ties: int
    clusters: tuple[str, ...]
    chance: float
    fallback: int
    """Queries that are not text to image, so that `+subjects` and `+rerank` ranked them by one vector."""

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
    data: Path | str,
    embedder: SalientEmbedder,
    models: Sequence[Model],
    subsets: Sequence[str] | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The contract's object of `mmeb --json` for the `subsets` (None: all) of folder `data`.

    Raises InputError on data that is not there or not valid; everything is read and checked before anything is embedded.
    """
    results: dict[str, dict[str, SubsetResult]] = {model.name: {} for model in models}
    for subset in read_subsets(check_local(data), subsets):
        scored = score_subset(subset, Path(data), embedder, models, progress=progress)
        for name, result in scored.items():
            results[name][subset.name] = result
    return report(results, models, seed=seed)


def check_local(data: Path | str) -> Path:
    """`data` as a path. Raises InputError for `hub`, which this version does not download."""
    if str(data) == "hub":
        raise InputError(
            "--data hub is not available yet: it needs the network and MMEB's download (TIGER-Lab/MMEB-eval)."
            " Give a local folder with SUBSET.jsonl files and their images."
        )
    return Path(data)


def score_subset(
    subset: Subset,
    root: Path,
    embedder: SalientEmbedder,
    models: Sequence[Model],
    *,
    progress: Progress = silent,
) -> dict[str, SubsetResult]:
    """Rank every query of `subset` under every model; image paths are below `root`. Returns results by model name."""
    entries = subset.entries()
    index = {entry: number for number, entry in enumerate(entries)}
    encoded = encode(
        embedder,
        (_load(entry, root) for entry in entries),
        versions_of(models),
        subjects=any(model.ranking == "subjects" for model in models),
        total=len(entries),
        what=subset.name,
        progress=progress,
    )
    fallback = sum(not query.is_text_to_image for query in subset.queries)
    results = {}
    for model in models:
        scores = _score_queries(subset, index, encoded, model, embedder, root, progress)
        margins = np.array([row[0] - np.max(row[1:]) for row in scores])
        results[model.name] = SubsetResult(
            hits=(margins > TIE).astype(np.float64),
            ties=int((np.abs(margins) <= TIE).sum()),
            clusters=tuple(query.cluster for query in subset.queries),
            chance=float(np.mean([1 / len(query.candidates) for query in subset.queries])),
            fallback=0 if model.ranking == "vector" else fallback,
        )
    return results


def _score_queries(
    subset: Subset,
    index: Mapping[Entry, int],
    encoded: Encoded,
    model: Model,
    embedder: SalientEmbedder,
    root: Path,
    progress: Progress,
) -> Iterator[np.ndarray]:
    """Scores `(C,)` of each query's candidates, in their order."""
    vectors = encoded.vectors[model.version]
    for number, query in enumerate(subset.queries, start=1):
        rows = [index[candidate] for candidate in query.candidates]
        own = vectors[index[query.entry]][None]
        by_subjects = model.ranking == "subjects" and query.is_text_to_image
        subjects = [encoded.subjects[model.version][row] for row in rows] if by_subjects else None
        scores = similarity(own, vectors[rows], subjects)[0]
        if model.ranking == "rerank" and query.is_text_to_image:
            load = partial(_load_candidate, query, root)
            scores = rerank(scores, query.entry.text, load, model.version, embedder, relevant=[0])
            if number % 50 == 0:
                progress(
                    f"{subset.name}: {number:,} of {len(subset.queries):,} queries re-ranked by {model.name}"
                )
        yield scores


def _load_candidate(query: MmebQuery, root: Path, row: int) -> Sample:
    return _load(query.candidates[row], root)


def _load(entry: Entry, root: Path) -> Sample:
    image = load_image(root / entry.image, entry.image) if entry.image else None
    return Sample(entry.text or None, image)


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


def _groups(subsets: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is averaged: label -> subsets, for meta_tasks.X, ind, ood and overall. Unknown subsets are in overall only."""
    groups: dict[str, list[str]] = {}
    for name in subsets:
        if name in SUBSETS:
            groups.setdefault(f"meta_tasks.{SUBSETS[name].meta_task}", []).append(name)
    for label, inside in (("ind", True), ("ood", False)):
        members = [name for name in subsets if name in SUBSETS and SUBSETS[name].in_distribution is inside]
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
    groups = {f"subsets.{name}.hit@1": [name] for name in values} | _groups(values)
    return {
        label: Estimate(
            float(np.mean([values[name].mean() for name in members])),
            interval(np.mean([draws[name] for name in members], axis=0)),
        ).to_json()
        for label, members in groups.items()
    }
