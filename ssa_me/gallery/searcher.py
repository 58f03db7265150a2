"""One search: the query's vectors, the indexes of the versions asked for, and how each ranking goes through them.

It knows no page and no file; `search` is its front.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.explanation import SalienceMode
from ssa_me.gallery import query_vectors
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.items import Item, Spaces, annotation
from ssa_me.gallery.refine import Refinement, distinct
from ssa_me.gallery.results import Hit, Query, SubjectHit
from ssa_me.gallery.store import Gallery
from ssa_me.gallery.terms import penalties
from ssa_me.late_interaction import agreement, mix
from ssa_me.rereading import agreement as reading_agreement
from ssa_me.rereading import reread, statements, together
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedding import Embedder

RERANK_DEPTH = 20
MOST_LOOKED_AT = 4096
"""So far down a ranking is looked for hits that pass, and candidates of an approximate index are mixed."""
_READERS = 4


@dataclass(frozen=True)
class Ranking:
    version: str
    method: str

    @property
    def name(self) -> str:
        return f"{self.version}+{self.method}" if self.method else self.version


@dataclass(frozen=True)
class Ranked:
    """An image with its score, and whether its subjects made it, under `+subjects`."""

    id: int
    score: float
    version: str
    by_subjects: bool = False


class Searcher:
    """The query's vectors, the indexes, and what rankings share. See `search` for what is raised."""

    def __init__(
        self,
        gallery: Gallery,
        embedder: Embedder,
        query: Query,
        versions: tuple[str, ...],
        k: int,
        refinement: Refinement,
        remedy: str | None = None,
        salience: SalienceMode = "head",
    ) -> None:
        self.gallery, self.embedder, self.query, self.versions = gallery, embedder, query, versions
        self._salience: SalienceMode = salience
        self._refinement = refinement
        self.notes: list[str] = []
        self._remedy = remedy or self._how_to_embed()
        self._spaces = spaces = Spaces.of(embedder.info)
        size = len(gallery)
        self.images = {version: self._index(spaces.images(version), size) for version in versions}
        self.subjects = {version: self._index(spaces.subjects(version), size) for version in versions}
        covered = min(len(index) for index in (*self.images.values(), *self.subjects.values()))
        if covered < size:
            self.notes.append(f"{size - covered:,} of {size:,} images are left out: {self._remedy}")
        self._allowed = gallery.matching(refinement.where) if refinement.where else None
        self._sizes = {version: self._among(index) for version, index in self.images.items()}
        self._size = min(self._sizes.values())
        self.k = min(k, self._size)
        if self.k < k:
            holds = "The gallery holds" if self._allowed is None else f"Under {refinement.where} there are"
            self.notes.append(f"{holds} {self.k:,} images, fewer than the {k:,} asked for: all are listed.")
        if query.wanted and not embedder.reads_whole(query.wanted):
            self.notes.append("The text is longer than the model reads; its end is left out. Shorten it.")
        self.phrases = query_vectors.phrases_of(query, embedder)
        self.vectors = query_vectors.embed(query, self.phrases, embedder, versions)
        self._said = statements(query.wanted, embedder) if query.wanted else ()
        self._meant: Mapping[str, np.ndarray] = {}
        self._conditioned: dict[tuple[str, int], np.ndarray | None] = {}
        self._items: dict[tuple[str, int], Item] = {}

    def best(self, ranking: Ranking) -> tuple[list[Ranked], int]:
        """The k best that pass the refinement, and how many near-duplicates were hidden among them."""
        depth, most = self.k, min(self._size, max(MOST_LOOKED_AT, self.k))
        if self.k == 0:
            return [], 0
        while True:
            ranked = self.rank(ranking, depth)
            kept, hidden = self._passing(ranked)
            if len(kept) >= self.k or depth >= most:
                break
            depth = min(most, depth * 4)
        if len(kept) < self.k:
            looked = f"of {self._size:,}" if most == self._size else f"among the first {most:,}"
            self.notes.append(
                f"{ranking.name} has {len(kept):,} images {looked} that pass what is asked for."
            )
        return kept, hidden

    def rank(self, ranking: Ranking, count: int) -> list[Ranked]:
        """The `count` best, whatever the refinement hides."""
        method = ranking.method
        if method and self.query.is_image_only and not (method == "subjects" and self.query.region):
            self.notes.append(
                f"{ranking.name} ranks by one vector here: a query without text names no subject."
            )
            method = ""
        if method == "subjects":
            return self._by_subjects(ranking.version, count)
        if method == "rerank":
            ranked = self._by_vector(ranking.version, max(count, RERANK_DEPTH))
            return self._reranked(ranking, ranked)[:count]
        return self._by_vector(ranking.version, count)

    def fetch(self, entries: Sequence[Ranked]) -> None:
        """Read the items of hits, all of one head at once."""
        heads = {self._spaces.head_of(version) for version in self.versions}
        for head in heads:
            ids = [entry.id for entry in entries if self._spaces.head_of(entry.version) == head]
            missing = [id for id in ids if (head, id) not in self._items]
            found = self.gallery.items_of(missing, head=head) if missing else {}
            self._items |= {(head, id): item for id, item in found.items()}

    def hit(self, rank: int, entry: Ranked) -> Hit:
        """The hit of an entry whose item was fetched."""
        item = self._item(entry)
        return Hit(rank, entry.id, str(item.path), entry.score, self._subject(entry, item))

    def _passing(self, ranked: Sequence[Ranked]) -> tuple[list[Ranked], int]:
        """The first k that pass, and how many near-duplicates were left out above the last of them."""
        wanted = self._refinement
        if not wanted.looks_further:
            return [*ranked[: self.k]], 0
        passing = [*ranked]
        if wanted.least_alignment is not None:
            self.fetch(ranked)
            subjects = [self._subject(entry, self._item(entry)) for entry in ranked]
            passing = [
                entry
                for entry, subject in zip(ranked, subjects, strict=True)
                if subject is not None and subject.score >= wanted.least_alignment
            ]
        if wanted.hide_duplicates is None:
            return passing[: self.k], 0
        rows = [self.images[entry.version].of(entry.id)[0] for entry in passing]
        alone = distinct(rows, wanted.hide_duplicates)
        kept = [n for n, is_alone in enumerate(alone) if is_alone][: self.k]
        hidden = kept[-1] + 1 - len(kept) if len(kept) == self.k else len(alone) - len(kept)
        return [passing[n] for n in kept], hidden

    # Rankings

    def _by_vector(self, version: str, count: int) -> list[Ranked]:
        best = self.images[version].best(self.vectors[version].moved, count, self._allowed)
        return [
            Ranked(int(id), float(score), version) for id, score in zip(best.ids, best.scores, strict=True)
        ][:count]

    def _by_subjects(self, version: str, wanted: int) -> list[Ranked]:
        """Candidates from both indexes until no image outside them can reach the k-th score (Fagin's threshold).

        Unwanted things only take away from a score, so the threshold holds with them."""
        vectors, images, subjects = self.vectors[version], self.images[version], self.subjects[version]
        stated, times = np.unique(vectors.stated, axis=0, return_counts=True)  # a relation is stated twice
        approximate = images.approximate is not None or subjects.approximate is not None
        count = max(4 * wanted, 64)
        while True:
            by_image = images.best(vectors.moved, count, self._allowed)
            by_subject = [subjects.best(said, count, self._allowed) for said in stated]
            ids = np.unique(np.concatenate([by_image.ids, *(best.ids for best in by_subject)]))
            ranked = [self._with_subjects(int(id), version) for id in ids if int(id) in images]
            ranked.sort(key=lambda entry: (-entry.score, entry.id))
            # an image in neither list is within both bounds; one without subjects counts by its vector alone
            nearest = float(np.average([best.bound for best in by_subject], weights=times))
            bound = max(by_image.bound, mix(by_image.bound, nearest))
            sure = len(ranked) >= wanted and ranked[wanted - 1].score > bound
            if sure or len(ranked) >= self._sizes[version] or (approximate and count >= MOST_LOOKED_AT):
                return ranked[:wanted]
            count *= 4

    def _with_subjects(self, id: int, version: str) -> Ranked:
        vectors = self.vectors[version]
        whole = float(self.images[version].of(id)[0] @ vectors.moved)
        rows = self.subjects[version].of(id) if id in self.subjects[version] else vectors.aside[:0]
        if len(rows) == 0:
            return Ranked(id, whole, version)
        subject = agreement(rows, vectors.stated) - penalties(rows, vectors.aside)
        return Ranked(id, mix(whole, subject), version, by_subjects=True)

    def _reranked(self, ranking: Ranking, ranked: Sequence[Ranked]) -> list[Ranked]:
        """The first 20 by their readings; the rest, and unreadable ones, keep their score."""
        version, first = ranking.version, ranked[:RERANK_DEPTH]
        self._condition([entry.id for entry in first], version)
        again, unread = [], []
        for entry in first:
            read = self._conditioned[version, entry.id]
            if read is None:
                unread.append(entry)
            else:
                again.append(replace(entry, score=self._conditioned_score(entry, read)))
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

    def _conditioned_score(self, entry: Ranked, read: np.ndarray) -> float:
        """How well readings (S, D) agree with the query, less what unwanted subjects cost: the salience that follows the
        text has suppressed those here."""
        vectors, subjects = self.vectors[entry.version], self.subjects[entry.version]
        rows = subjects.of(entry.id) if entry.id in subjects else vectors.aside[:0]
        meant = np.stack([vectors.moved, *self._meant[entry.version][1:]])
        found = self.embedder.has_codes(entry.version) and len(rows)
        indexed = agreement(rows, vectors.stated) if found else np.nan
        return float(together(reading_agreement(read, meant), indexed)) - penalties(rows, vectors.aside)

    def _condition(self, ids: Sequence[int], version: str) -> None:
        """Read images with the text, and ask for its phrases, for all versions of this search at once."""
        missing = [id for id in ids if (version, id) not in self._conditioned]
        if not missing:
            return
        with ThreadPoolExecutor(_READERS) as readers:
            images = dict(zip(missing, readers.map(self._image, missing), strict=True))
        there = {id: image for id, image in images.items() if image is not None}
        if not self._meant:
            meant = [Sample(statement.meant) for statement in self._said]
            self._meant = self.embedder.embed(meant, versions=self.versions).vectors
        found = reread([*there.values()], self._said, self.embedder, self.versions, self._salience)
        for version in self.versions:
            self._conditioned |= {(version, id): None for id in missing}
            self._conditioned |= {(version, id): read for id, read in zip(there, found[version], strict=True)}

    def _image(self, id: int) -> Image.Image | None:
        try:
            return self.gallery.image(id)
        except InputError:
            return None

    # Parts

    def _item(self, entry: Ranked) -> Item:
        return self._items[self._spaces.head_of(entry.version), entry.id]

    def _subject(self, entry: Ranked, item: Item) -> SubjectHit | None:
        subjects = self.subjects[entry.version]
        rows = subjects.of(entry.id) if entry.id in subjects else ()
        if not self.phrases or len(rows) == 0:
            return None
        regions, vectors = item.regions, self.vectors[entry.version]
        single = [n for n in range(len(rows)) if n >= len(regions) or regions[n].single]
        if not single:
            return None
        scores = vectors.phrases @ np.asarray(rows)[single].T
        best = scores if entry.by_subjects else scores[:1]
        phrase, place = np.unravel_index(int(best.argmax()), best.shape)
        region = single[int(place)]
        bbox = regions[region].bbox if region < len(regions) else None
        return SubjectHit(self.phrases[phrase], float(best[phrase, place]), bbox, annotation(bbox, item))

    def _among(self, index: VectorIndex) -> int:
        return len(index) if self._allowed is None else index.among(self._allowed)

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
        return f"Embed them with: python -m ssa_me index --gallery {gallery} --checkpoint {checkpoint}"
