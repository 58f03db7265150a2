"""Runs queries on both models: texts in batches, all scores in one matrix product a block, ranks, subject alignment.

A run is kept on disk. Embedded texts go into a file of the run's folder batch by batch, so that a run that was stopped
goes on where it was; a finished run is its table alone. It knows no page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssa_me.checkpoint import VERSIONS
from ssa_me.errors import InputError
from ssa_me.evaluation.cache import ArrayCache, digest
from ssa_me.evaluation.encode import batches
from ssa_me.evaluation.retrieval import ndcg, pessimistic_ranks, similarity
from ssa_me.failures.alignment import Aligner
from ssa_me.failures.queries import FailureQuery, QuerySet
from ssa_me.failures.table import FailureTable, table_from_json, table_to_json
from ssa_me.failures.watching import Progress, never, silent
from ssa_me.failures.words import length_of
from ssa_me.gallery.items import Spaces
from ssa_me.gallery.results import Query
from ssa_me.gallery.search import search
from ssa_me.gallery.store import Gallery
from ssa_me.model_info import TITLES
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedding import Embedder

RANKINGS = ("vector", "subjects")
"""How images are ranked: by one vector, or with their subject vectors as well."""
TEXTS, RUN = "texts.sqlite", "run.json"
FORMAT = 1
BATCH = 64
_BLOCK = 512


@dataclass(frozen=True)
class FailureRun:
    """A finished run: what was asked of which gallery and models, and its table. skipped: (query, reason). titles: version
    → its name for people."""

    name: str
    gallery: str
    ranking: str
    fingerprints: Mapping[str, str]
    images: int
    seconds: float
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    table: FailureTable
    titles: Mapping[str, str] = field(default_factory=lambda: dict(TITLES))


def run_id(queries: QuerySet, gallery: Gallery, spaces: Spaces, ranking: str) -> str:
    """16 hexadecimal digits of the run: the same queries, models and embedded images of a gallery give the same, so that
    it can go on."""
    embedded = len(gallery) - len(gallery.lacking(spaces))
    prints = (f"{version}={fingerprint}" for version, fingerprint in sorted(spaces.fingerprints.items()))
    return digest(queries.digest, str(gallery.folder), str(embedded), ranking, *prints)[:16]


def mine(
    gallery: Gallery,
    embedder: Embedder,
    queries: QuerySet,
    folder: Path,
    *,
    ranking: str = "vector",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> FailureRun | None:
    """Rank every query on both models and keep the run in `folder`; None where it was cancelled.

    The same call on the same `folder` goes on. Images without vectors of the model are left out, which is noted; queries
    that have no right image left are skipped. Raises InputError for an unknown ranking, or where nothing can be ranked.
    """
    if ranking not in RANKINGS:
        raise InputError(f"There is no ranking {ranking!r}. Choose one of {', '.join(RANKINGS)}.")
    started = time.perf_counter()
    report = progress or silent
    images = _Images(gallery, embedder, ranking)
    kept, skipped = _rankable(queries, images)
    aligner = Aligner(gallery, embedder, images.items, images.subjects)
    texts = list(dict.fromkeys([q.text for q in kept] + [p for q in kept for p in aligner.phrases(q.text)]))
    widths = {version: rows.shape[1] for version, rows in images.vectors.items()}
    spoken = _embed(texts, embedder, widths, ranking == "subjects", folder, report, cancelled or never)
    if spoken is None:
        return None
    report("Ranking", 1.0)
    table = _ranked(kept, images, aligner, spoken, {text: at for at, text in enumerate(texts)})
    run = FailureRun(
        queries.name,
        gallery.name,
        ranking,
        dict(embedder.info.fingerprints),
        len(images.ids),
        time.perf_counter() - started,
        (*queries.skipped, *skipped),
        images.notes,
        table,
        dict(embedder.info.titles),
    )
    save_run(run, folder)
    return run


def save_run(run: FailureRun, folder: Path) -> None:
    """Write a run to its folder, whole or not at all, and forget what a partial one had kept."""
    found = {name: value for name, value in run.__dict__.items() if name != "table"}
    found |= {"format": FORMAT, "table": table_to_json(run.table)}
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{RUN}.partial"
    partial.write_text(json.dumps(found, ensure_ascii=True), encoding="utf-8")
    partial.replace(folder / RUN)
    for file in folder.glob(f"{TEXTS}*"):
        file.unlink(missing_ok=True)


def load_run(folder: Path) -> FailureRun:
    """The finished run of a folder. Raises InputError where there is none, or it cannot be read."""
    try:
        found: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise ValueError("another format")
        table = table_from_json(found.pop("table"))
        pairs = tuple((str(query), str(reason)) for query, reason in found.pop("skipped"))
        return FailureRun(**(found | {"skipped": pairs, "notes": tuple(found["notes"]), "table": table}))
    except FileNotFoundError as error:
        raise InputError("There is no finished run here. Run the queries first.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The kept run cannot be read ({error}). Run the queries again.") from error


def first_images(
    gallery: Gallery,
    embedder: Embedder,
    text: str,
    ranking: str,
    candidates: Sequence[int],
    count: int,
) -> dict[str, list[int]]:
    """Version → ids of the first `count` images for a text, among `candidates` where there are any.

    Raises InputError where the gallery has no vectors of the model.
    """
    if not candidates:
        suffix = "" if ranking == "vector" else f"+{ranking}"
        found = search(
            gallery, embedder, Query(text), [version + suffix for version in VERSIONS], count
        ).results
        return {version: [hit.id for hit in found[version + suffix]] for version in VERSIONS}
    query = embedder.embed([Sample(text)], versions=VERSIONS, subjects=ranking == "subjects")
    spaces = Spaces.of(embedder.info)
    best: dict[str, list[int]] = {}
    for version in VERSIONS:
        index, subjects = gallery.index(spaces.images(version)), gallery.index(spaces.subjects(version))
        known = [id for id in candidates if index is not None and id in index]
        if index is None or not known:
            raise InputError(
                f"The gallery {gallery.name} has no vectors of this model. Embed its images again first."
            )
        own = np.concatenate([index.of(id) for id in known])
        parts = [subjects.of(id) if subjects and id in subjects else own[:0] for id in known]
        by_subjects = (parts, query.subject_vectors[version]) if ranking == "subjects" else ()
        scores = similarity(query.vectors[version], own, *by_subjects)[0]
        best[version] = [known[int(at)] for at in np.argsort(-scores, kind="stable")[:count]]
    return best


class _Images:
    """The images that both models have vectors of: ids (C,), version → (C, D), and their subject vectors."""

    def __init__(self, gallery: Gallery, embedder: Embedder, ranking: str) -> None:
        spaces = Spaces.of(embedder.info)
        whole = {version: gallery.index(spaces.images(version)) for version in VERSIONS}
        found = {version: index for version, index in whole.items() if index is not None}
        if len(found) < len(VERSIONS):
            raise InputError(
                f"The gallery {gallery.name} has no vectors of this model. Embed its images again first."
            )
        known = set.intersection(*({image for image, _, _ in index.owners} for index in found.values()))
        self.items = gallery.items_of(sorted(known), spaces.head)
        self.ids = np.array(sorted(known), dtype=np.int64)
        self.place = {int(id): at for at, id in enumerate(self.ids)}
        self.vectors = {
            v: np.concatenate([index.of(int(id)) for id in self.ids]) for v, index in found.items()
        }
        self.subjects = {version: gallery.index(spaces.subjects(version)) for version in VERSIONS}
        self.ranked_subjects = {
            version: [
                index.of(int(id)) if index and int(id) in index else self.vectors[version][:0]
                for id in self.ids
            ]
            for version, index in (self.subjects.items() if ranking == "subjects" else ())
        }
        lost = len(gallery) - len(known)
        left_out = f"{lost:,} of {len(gallery):,} images have no vectors of this model and are left out."
        self.notes = (left_out,) if lost else ()


def _rankable(queries: QuerySet, images: _Images) -> tuple[list[FailureQuery], list[tuple[str, str]]]:
    kept, skipped = [], []
    for query in queries.queries:
        if any(target in images.place for target in query.targets):
            kept.append(query)
        else:
            skipped.append((query.text, "its image has no vectors of this model"))
    if not kept:
        raise InputError(
            "None of the queries has a right image that this model has embedded. Embed the gallery again."
        )
    return kept, skipped


@dataclass(frozen=True)
class _Texts:
    """Embedded texts. vectors: version → (T, D). stated: version → T arrays (S, D) of what each states, where asked for."""

    vectors: Mapping[str, np.ndarray]
    stated: Mapping[str, Sequence[np.ndarray]]

    def of(self, version: str, rows: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray] | None]:
        """Vectors and statements of some of the texts."""
        stated = self.stated.get(version)
        return self.vectors[version][rows], None if stated is None else [stated[row] for row in rows]


def _embed(
    texts: Sequence[str],
    embedder: Embedder,
    widths: Mapping[str, int],
    subjects: bool,
    folder: Path,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> _Texts | None:
    """The texts, with D of `widths` and under `subjects` what they state; None where it was cancelled. What is done is kept
    after every batch."""
    info = embedder.info
    total = len(texts)
    kinds = ("text", "stated") if subjects else ("text",)
    names = {
        (kind, v): [digest(kind, info.fingerprints[v], info.precision, text) for text in texts]
        for kind in kinds
        for v in VERSIONS
    }
    found = {place: [np.zeros((0, widths[place[1]]), np.float32)] * total for place in names}
    with ArrayCache(folder / TEXTS) as cache:
        kept = cache.get([name for of in names.values() for name in of])
        todo = [at for at in range(total) if any(of[at] not in kept for of in names.values())]
        for place, of in names.items():
            for at, name in enumerate(of):
                if name in kept:
                    found[place][at] = kept[name]
        todo.sort(key=lambda at: len(texts[at]))  # a batch of like lengths has little padding
        done = total - len(todo)
        for batch in batches(todo, BATCH):
            if cancelled():
                return None
            progress(f"Embedding {total:,} texts with both models", done / total)
            fresh = embedder.embed(
                [Sample(texts[at]) for at in batch], versions=VERSIONS, subjects=subjects, batch_size=BATCH
            )
            for (kind, v), rows in found.items():
                for row, at in enumerate(batch):
                    rows[at] = (
                        fresh.vectors[v][row][None] if kind == "text" else fresh.subject_vectors[v][row]
                    )
            cache.put({of[at]: found[place][at] for place, of in names.items() for at in batch})
            done += len(batch)
    if cancelled():
        return None
    none = {version: np.zeros((0, width), np.float32) for version, width in widths.items()}
    return _Texts(
        {v: np.concatenate([*found["text", v], none[v]]) for v in VERSIONS},
        {v: found["stated", v] for v in VERSIONS} if subjects else {},
    )


def _ranked(
    queries: Sequence[FailureQuery],
    images: _Images,
    aligner: Aligner,
    spoken: _Texts,
    place: Mapping[str, int],
) -> FailureTable:
    """The table of all queries, whose texts are at `place` among the `spoken` ones."""
    numbers: dict[str, np.ndarray] = {}
    best: list[int] = []
    for version, name in zip(VERSIONS, ("baseline", "ssa_me"), strict=True):
        ranks, gains, tops, best = _rank(queries, images, version, spoken, place)
        numbers |= {f"rank_{name}": ranks, f"ndcg_{name}": gains, f"top_{name}": tops}
    aligned = [
        aligner.align(q.text, target, spoken.vectors, place) for q, target in zip(queries, best, strict=True)
    ]
    numbers |= {
        "gain": numbers["rank_baseline"] - numbers["rank_ssa_me"],
        "target": np.array(best, dtype=np.float64),
        "alignment": np.array([found.score for found in aligned]),
        "misaligned": np.array([found.misaligned for found in aligned]),
        "size": np.array([found.size for found in aligned]),
        "length": np.array([length_of(q.text) for q in queries], dtype=np.float64),
    }
    free = dict.fromkeys(name for q in queries for name in q.extra)
    return FailureTable(
        queries=tuple(q.text for q in queries),
        kinds=tuple(q.kind for q in queries),
        phrases=tuple(found.phrase for found in aligned),
        targets=tuple(q.targets for q in queries),
        clusters=tuple(q.cluster for q in queries),
        candidates=tuple(q.candidates for q in queries),
        chances=tuple(len(q.targets) / (len(q.candidates) or len(images.ids)) for q in queries),
        numbers=numbers,
        extra={name: tuple(q.extra.get(name, "") for q in queries) for name in free},
    )


def _rank(
    queries: Sequence[FailureQuery],
    images: _Images,
    version: str,
    spoken: _Texts,
    place: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Each query's best rank of a right image (Q,), nDCG@10 (Q,), the id in the first place (Q,), and the right id that
    is ranked best."""
    ranks, gains, tops = np.empty(len(queries)), np.empty(len(queries)), np.empty(len(queries))
    best: list[int] = []
    subjects = images.ranked_subjects.get(version)
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        own, stated = spoken.of(version, [place[q.text] for q in block])
        for at, (query, scores) in enumerate(
            zip(block, similarity(own, images.vectors[version], subjects, stated), strict=True), start=start
        ):
            columns = _columns(query, images)
            scores = scores if columns is None else scores[columns]
            ids = images.ids if columns is None else images.ids[columns]
            right = _right(query, images) if columns is None else np.flatnonzero(np.isin(ids, query.targets))
            found = pessimistic_ranks(scores, right.tolist())
            ranks[at], gains[at], tops[at] = found[0], ndcg(found), ids[int(scores.argmax())]
            best.append(int(ids[right[int(scores[right].argmax())]]))
    return ranks, gains, tops, best


def _columns(query: FailureQuery, images: _Images) -> np.ndarray | None:
    """The places of the images that a query is ranked among; None: all."""
    if not query.candidates:
        return None
    return np.array([images.place[id] for id in query.candidates if id in images.place])


def _right(query: FailureQuery, images: _Images) -> np.ndarray:
    return np.array([images.place[id] for id in query.targets if id in images.place])
