"""Nearest vectors of one space by inner product: FAISS over the rows of a vector file. Knows no gallery.

A space holds one vector an image (image vectors) or up to thirteen (those of subjects, of the relations between them, and of the ground); `owners` says
whose row each is, and a row without an owner, of an image that was removed, is never found. Rows are read where they
lie, mapped from the disk, and never copied. An index never changes once made, so that any number of threads may search
it.

Exact by default. With an `Approximate` over its first rows, those are searched by it and the rows behind them exactly;
scores are exact in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ssa_me.gallery.approximate import Approximate, nearest

MOST_TIES = 8192
"""An approximate search does not look for more rows than this to keep equal scores together."""
SPARSE = 8
"""Where less than one row in so many is allowed, those are gathered rather than all rows passed over."""


@dataclass(frozen=True)
class Candidates:
    """The best images of one search: ids `(n,)` and scores `(n,)` from high to low, equal scores by id.

    `bound`: no image that is not among them scores higher (approximately, where the index is); minus infinity where all
    images are.
    """

    ids: np.ndarray
    scores: np.ndarray
    bound: float


@dataclass(frozen=True)
class VectorIndex:
    """Unit `vectors` `(N, D)` of images, and `owners`: (image id, first row, rows) of each image in the space."""

    vectors: np.ndarray
    owners: Sequence[tuple[int, int, int]] | np.ndarray
    approximate: Approximate | None = None
    _images: np.ndarray = field(init=False, repr=False)
    _starts: np.ndarray = field(init=False, repr=False)
    _counts: np.ndarray = field(init=False, repr=False)
    _row_owner: np.ndarray = field(init=False, repr=False)
    _alive: np.ndarray | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        owners = np.asarray(self.owners, dtype=np.int64).reshape(-1, 3)
        owners = owners[np.argsort(owners[:, 0], kind="stable")]
        images, starts, counts = (np.ascontiguousarray(column) for column in owners.T)
        row_owner = np.full(len(self.vectors), -1, dtype=np.int64)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        row_owner[np.repeat(starts, counts) + within] = np.repeat(images, counts)
        alive = row_owner >= 0
        for name, value in (
            ("owners", owners),
            ("_images", images),
            ("_starts", starts),
            ("_counts", counts),
            ("_row_owner", row_owner),
            ("_alive", None if alive.all() else alive),
        ):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """How many images have an entry (subject vectors: even where it holds no row)."""
        return len(self._images)

    def __contains__(self, image: int) -> bool:
        place = int(np.searchsorted(self._images, image))
        return place < len(self._images) and int(self._images[place]) == image

    def of(self, image: int) -> np.ndarray:
        """The rows `(K, D)` of one image. Raises KeyError where it has no entry."""
        if image not in self:
            raise KeyError(image)
        place = int(np.searchsorted(self._images, image))
        start = int(self._starts[place])
        return np.asarray(self.vectors[start : start + int(self._counts[place])])

    @property
    def alive(self) -> np.ndarray | None:
        """Which rows have an owner, `(N,)`; None where all have."""
        return self._alive

    def among(self, ids: np.ndarray) -> int:
        """How many of these images have an entry."""
        return int(np.isin(self._images, ids).sum())

    def best(self, query: np.ndarray, count: int, allowed: np.ndarray | None = None) -> Candidates:
        """At least `count` images (fewer where there are not so many), each by its best row, to the query `(D,)`.

        allowed: ids of the only images that count; None for all. Ties are not cut: of images with equal scores all are
        in or none (up to `MOST_TIES` rows of an approximate index).
        """
        mask = self._mask(allowed)
        rows = len(self.vectors) if mask is None else int(mask.sum())
        asked = np.ascontiguousarray(query[None], dtype=np.float32)
        fetch = min(rows, count + 1)
        while fetch:
            scores, found = self._nearest(asked, fetch, mask, rows)
            whole = fetch == rows
            cut = self.approximate is not None and fetch >= MOST_TIES
            keep = slice(None) if whole or cut else scores > scores[-1]
            ids, values = self._owners_of(found[keep], scores[keep])
            if whole or len(ids) >= count:
                return Candidates(ids, values, -np.inf if whole else float(scores[-1]))
            fetch = min(rows, fetch * 2)
        return Candidates(np.empty(0, np.int64), np.empty(0, np.float32), -np.inf)

    def _mask(self, allowed: np.ndarray | None) -> np.ndarray | None:
        """Which rows count, `(N,)`; None for all."""
        if allowed is None:
            return self._alive
        listed = np.zeros(int(self._images[-1]) + 2 if len(self._images) else 1, dtype=bool)
        listed[allowed[allowed < len(listed) - 1]] = True
        return listed[self._row_owner]  # the owner -1 reads the last entry, which is never set

    def _nearest(
        self, query: np.ndarray, fetch: int, mask: np.ndarray | None, rows: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and row numbers of the `fetch` best of the `rows` rows in `mask`, best first."""
        if mask is not None and rows * SPARSE < len(self.vectors):
            places = np.flatnonzero(mask)
            scores, found = nearest(query, np.ascontiguousarray(self.vectors[places]), fetch)
            return scores, places[found]
        if self.approximate is None:
            return nearest(query, self.vectors, fetch, mask)
        return self.approximate.search(query, self.vectors, fetch, mask)

    def _owners_of(self, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each owner once, with its highest score, by descending score and then id."""
        owners = self._row_owner[rows]
        order = np.lexsort((owners, -scores))
        owners, scores = owners[order], scores[order]
        _, first = np.unique(owners, return_index=True)
        first.sort()
        return owners[first], scores[first]
