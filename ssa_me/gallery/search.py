"""Searches a gallery by a text, an image or both, under one ranking or several side by side. Knows no page.

With q the query's vector, e an image's and a_k those of its subjects and of pairs of them:

    VERSION            cos(q, e), one vector an image
    VERSION+subjects   (1 - b) cos(q, e) + b max_k cos(q, a_k), b = `SUBJECT_WEIGHT`, over the whole gallery
    VERSION+rerank     the first 20 read again together with the text, under the salience that it conditions, then
                       cos(q, e(image, text)); the image alone where the model never learned to read both so

All cosines are exact (flat index). Equal scores are ordered by id.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.explanation import SalienceMode
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.items import Item, Spaces, annotation
from ssa_me.gallery.results import Hit, Query, SearchResult, SubjectHit, overlap
from ssa_me.gallery.store import Gallery
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

RANKINGS = ("baseline", "ssa-me", "ssa-me+subjects", "ssa-me+rerank", "baseline+subjects", "baseline+rerank")
SUBJECT_WEIGHT = 0.8
RERANK_DEPTH = 20
MAX_PHRASES = 6
_READERS = 4


def search(
    gallery: Gallery,
    embedder: SalientEmbedder,
    query: Query,
    rankings: Sequence[str] = ("baseline", "ssa-me"),
    k: int = 10,
    *,
    remedy: str | None = None,
    salience: SalienceMode = "head",
) -> SearchResult:
    """The `k` best images under each of `rankings`. The query is embedded once for all of them.

    Every hit of a query with text also says which of its subjects answers to the query's first phrase best
    (under `+subjects`: the region that won, with the phrase that fits it best; a pair answers to the whole text). Raises InputError for an
    unknown ranking, k below 1, an empty gallery, or one without vectors of this checkpoint. k above the
    gallery's size gives all images, and a note. `remedy` is the sentence that says how images without such vectors
    get them; by default it gives the command. `salience`: what `+rerank` conditions images by.
    """
    started = time.perf_counter()
    chosen = _parse_rankings(rankings)
    if k < 1:
        raise InputError(f"k is {k}; ask for at least 1 image.")
    versions = tuple(dict.fromkeys(ranking.version for ranking in chosen))
    searcher = _Searcher(gallery, embedder, query, versions, k, remedy, salience)
    seconds = {"query": time.perf_counter() - started}
    ranked: dict[str, list[_Ranked]] = {}
    for ranking in chosen:
        begun = time.perf_counter()
        ranked[ranking.name] = searcher.rank(ranking)
        seconds[ranking.name] = time.perf_counter() - begun
    ids = [entry.id for entries in ranked.values() for entry in entries]
    items = gallery.items_of(ids, head=Spaces(embedder.info.fingerprints).head)
    results = {
        name: tuple(searcher.hit(rank, entry, items[entry.id]) for rank, entry in enumerate(entries, start=1))
        for name, entries in ranked.items()
    }
    notes = tuple(dict.fromkeys(searcher.notes))
    return SearchResult(query, searcher.k, results, overlap(list(results.values())), seconds, notes)


@dataclass(frozen=True)
class _Ranking:
    version: str
    method: str

    @property
    def name(self) -> str:
        return f"{self.version}+{self.method}" if self.method else self.version


@dataclass(frozen=True)
class _Ranked:
    """An image with its score; `winner`: the row of the subject that won, under `+subjects`."""

    id: int
    score: float
    version: str
    winner: int | None = None


def _parse_rankings(names: Sequence[str]) -> list[_Ranking]:
    if not names:
        raise InputError(f"No ranking is given. Choose from {', '.join(RANKINGS)}.")
    for name in names:
        if name not in RANKINGS:
            raise InputError(f"There is no ranking {name!r}. Choose from {', '.join(RANKINGS)}.")
    parts = [name.partition("+") for name in dict.fromkeys(names)]
    return [_Ranking(version, method) for version, _, method in parts]


class _Searcher:
    """One search: the query's vectors, the indexes, and what rankings share."""

    def __init__(
        self,
        gallery: Gallery,
        embedder: SalientEmbedder,
        query: Query,
        versions: tuple[str, ...],
        k: int,
        remedy: str | None = None,
        salience: SalienceMode = "head",
    ) -> None:
        self.gallery, self.embedder, self.query, self.versions = gallery, embedder, query, versions
        self._salience: SalienceMode = salience
        self.notes: list[str] = []
        self._remedy = remedy or self._how_to_embed()
        spaces = Spaces(embedder.info.fingerprints)
        size = len(gallery)
        self.images = {version: self._index(spaces.images(version), size) for version in versions}
        self.subjects = {version: self._index(spaces.subjects(version), size) for version in versions}
        covered = min(len(index) for index in (*self.images.values(), *self.subjects.values()))
        if covered < size:
            self.notes.append(f"{size - covered:,} of {size:,} images are left out: {self._remedy}")
        self.k = min(k, min(len(index) for index in self.images.values()))
        if self.k < k:
            self.notes.append(
                f"The gallery holds {self.k:,} images, fewer than the {k:,} asked for: all are listed."
            )
        if query.text and not embedder.reads_whole(query.text):
            self.notes.append("The text is longer than the model reads; its end is left out. Shorten it.")
        self.phrases = embedder.phrases(query.text)[:MAX_PHRASES] if query.text else ()
        self.vectors, self.phrase_vectors = self._embed()
        self._conditioned: dict[tuple[str, int], np.ndarray | None] = {}

    def rank(self, ranking: _Ranking) -> list[_Ranked]:
        method = ranking.method
        if method and self.query.is_image_only:
            self.notes.append(
                f"{ranking.name} ranks by one vector here: a query without text names no subject."
            )
            method = ""
        if method == "subjects":
            return self._by_subjects(ranking.version)
        ranked = self._by_vector(ranking.version, max(self.k, RERANK_DEPTH) if method == "rerank" else self.k)
        return self._reranked(ranking, ranked)[: self.k] if method == "rerank" else ranked

    def hit(self, rank: int, entry: _Ranked, item: Item) -> Hit:
        return Hit(rank, entry.id, str(item.path), entry.score, self._subject(entry, item))

    # Rankings

    def _by_vector(self, version: str, count: int) -> list[_Ranked]:
        best = self.images[version].best(self.vectors[version], count)
        return [
            _Ranked(int(id), float(score), version) for id, score in zip(best.ids, best.scores, strict=True)
        ][:count]

    def _by_subjects(self, version: str) -> list[_Ranked]:
        """Candidates from both indexes until no image outside them can reach the k-th score (Fagin's
        threshold)."""
        query, images, subjects = self.vectors[version], self.images[version], self.subjects[version]
        count = max(4 * self.k, 64)
        while True:
            by_image, by_subject = images.best(query, count), subjects.best(query, count)
            ids = np.union1d(by_image.ids, by_subject.ids)
            ranked = [self._with_subjects(int(id), version) for id in ids if int(id) in images]
            ranked.sort(key=lambda entry: (-entry.score, entry.id))
            # an image in neither list is within both bounds; one without subjects counts by its vector alone
            bound = max(by_image.bound, _mix(by_image.bound, by_subject.bound))
            if len(ids) >= len(images) or (len(ranked) >= self.k and ranked[self.k - 1].score > bound):
                return ranked[: self.k]
            count *= 4

    def _with_subjects(self, id: int, version: str) -> _Ranked:
        query = self.vectors[version]
        whole = float(self.images[version].of(id)[0] @ query)
        rows = self.subjects[version].of(id) if id in self.subjects[version] else query[:0, None]
        if len(rows) == 0:
            return _Ranked(id, whole, version)
        scores = rows @ query
        winner = int(scores.argmax())
        return _Ranked(id, _mix(whole, float(scores[winner])), version, winner)

    def _reranked(self, ranking: _Ranking, ranked: Sequence[_Ranked]) -> list[_Ranked]:
        """The first 20 by their conditioned embedding; the rest, and unreadable ones, keep their score."""
        version, first = ranking.version, ranked[:RERANK_DEPTH]
        self._condition([entry.id for entry in first], version)
        again, unread = [], []
        for entry in first:
            vector = self._conditioned[version, entry.id]
            if vector is None:
                unread.append(entry)
            else:
                again.append(replace(entry, score=float(vector @ self.vectors[version])))
        if unread:
            self.notes.append(
                f"{ranking.name} could not open {len(unread)} of its images; they keep their score."
            )
        if self.k > RERANK_DEPTH:
            self.notes.append(
                f"{ranking.name} reads the first {RERANK_DEPTH} again; the rest follows as it was."
            )
        again.sort(key=lambda entry: (-entry.score, entry.id))
        return [*again, *unread, *ranked[RERANK_DEPTH:]]

    def _condition(self, ids: Sequence[int], version: str) -> None:
        """Embed images with the text, under its salience, for all versions of this search at once."""
        missing = [id for id in ids if (version, id) not in self._conditioned]
        if not missing:
            return
        with ThreadPoolExecutor(_READERS) as readers:
            images = dict(zip(missing, readers.map(self._image, missing), strict=True))
        text = self.query.text
        told = text if self.embedder.reads_claims else None
        samples = {id: Sample(told, image) for id, image in images.items() if image is not None}
        found = self.embedder.embed(
            list(samples.values()),
            versions=self.versions,
            conditioned_on=text,
            salience=self._salience,
        )
        for version in self.versions:
            self._conditioned |= {(version, id): None for id in missing}
            rows = found.vectors[version]
            self._conditioned |= {(version, id): row for id, row in zip(samples, rows, strict=True)}

    def _image(self, id: int) -> Image.Image | None:
        try:
            return self.gallery.image(id)
        except InputError:
            return None

    # Parts

    def _embed(self) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
        """Version → vector of the query `(D,)`, and of its P phrases `(P, D)`."""
        spoken = [Sample(text=phrase) for phrase in self.phrases]
        if self.query.image is None:
            rows = self.embedder.embed(
                [Sample(text=self.query.text), *spoken], versions=self.versions
            ).vectors
            return {v: rows[v][0] for v in self.versions}, {v: rows[v][1:] for v in self.versions}
        query = self.query
        vectors = self.embedder.embed_query(
            query.text, query.image, query.image_weight, versions=self.versions
        )
        return vectors, self.embedder.embed(spoken, versions=self.versions).vectors

    def _subject(self, entry: _Ranked, item: Item) -> SubjectHit | None:
        subjects = self.subjects[entry.version]
        rows = subjects.of(entry.id) if entry.id in subjects else ()
        if not self.phrases or len(rows) == 0:
            return None
        regions = item.regions
        pairs = np.array([n < len(regions) and regions[n].pair for n in range(len(rows))])
        if entry.winner is not None and pairs[entry.winner]:
            score = float(rows[entry.winner] @ self.vectors[entry.version])
            return SubjectHit(self.query.text or "", score, regions[entry.winner].bbox, None, pair=True)
        scores = self.phrase_vectors[entry.version] @ np.asarray(rows).T
        if entry.winner is None:
            phrase, region = 0, int(np.where(pairs, -np.inf, scores[0]).argmax())
        else:
            phrase, region = int(scores[:, entry.winner].argmax()), entry.winner
        bbox = regions[region].bbox if region < len(regions) else None
        return SubjectHit(self.phrases[phrase], float(scores[phrase, region]), bbox, annotation(bbox, item))

    def _index(self, space: str, size: int) -> VectorIndex:
        if size == 0:
            raise InputError("The gallery is empty. Add images to it first.")
        index = self.gallery.index(space)
        if index is None:
            raise InputError(f"The gallery {self.gallery.name} has no vectors of this model. {self._remedy}")
        return index

    def _how_to_embed(self) -> str:
        gallery, checkpoint = (
            shlex.quote(str(self.gallery.folder)),
            shlex.quote(self.embedder.info.checkpoint),
        )
        return f"Embed them with: python -m ssa_me index SOURCE --gallery {gallery} --checkpoint {checkpoint}"


def _mix(whole: float, subject: float) -> float:
    return (1 - SUBJECT_WEIGHT) * whole + SUBJECT_WEIGHT * subject
