"""Nearest vectors of one space by inner product: FAISS over the rows of a vector file. Knows no gallery.

A space holds one vector an image (image vectors) or up to nine (those of subjects and pairs of them); `owners` says
whose row each is. An index never changes once made, so that any number of threads may search it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import faiss
import numpy as np


@dataclass(frozen=True)
class Candidates:
    """The best images of one search: ids `(n,)` and scores `(n,)` from high to low, equal scores by id.

    `bound`: no image that is not among them scores higher; minus infinity where all images are.
    """

    ids: np.ndarray
    scores: np.ndarray
    bound: float


@dataclass(frozen=True)
class VectorIndex:
    """Unit `vectors` `(N, D)` of images, and `owners`: (image id, first row, rows) of each image in the space."""

    vectors: np.ndarray
    owners: Sequence[tuple[int, int, int]]
    _slices: dict[int, slice] = field(init=False, repr=False)
    _row_owner: np.ndarray = field(init=False, repr=False)
    _flat: faiss.IndexFlatIP = field(init=False, repr=False)

    def __post_init__(self) -> None:
        row_owner = np.full(len(self.vectors), -1, dtype=np.int64)
        for image, start, count in self.owners:
            row_owner[start : start + count] = image
        flat = faiss.IndexFlatIP(self.vectors.shape[1])
        flat.add(np.ascontiguousarray(self.vectors))
        slices = {image: slice(start, start + count) for image, start, count in self.owners}
        object.__setattr__(self, "_slices", slices)
        object.__setattr__(self, "_row_owner", row_owner)
        object.__setattr__(self, "_flat", flat)

    def __len__(self) -> int:
        """How many images have an entry (subject vectors: even where it holds no row)."""
        return len(self.owners)

    def __contains__(self, image: int) -> bool:
        return image in self._slices

    def of(self, image: int) -> np.ndarray:
        """The rows `(K, D)` of one image. Raises KeyError where it has no entry."""
        return np.asarray(self.vectors[self._slices[image]])

    def best(self, query: np.ndarray, count: int) -> Candidates:
        """At least `count` images (fewer where there are not so many), each by its best row, to the query
        `(D,)`.

        Ties are never cut: of images with equal scores all are in or none.
        """
        rows = self._flat.ntotal
        fetch = min(rows, count + 1)
        while fetch:
            scores, found = self._flat.search(np.ascontiguousarray(query[None], dtype=np.float32), fetch)
            whole = fetch == rows
            keep = slice(None) if whole else scores[0] > scores[0][-1]
            ids, values = self._owners_of(found[0][keep], scores[0][keep])
            if whole or len(ids) >= count:
                return Candidates(ids, values, -np.inf if whole else float(scores[0][-1]))
            fetch = min(rows, fetch * 2)
        return Candidates(np.empty(0, np.int64), np.empty(0, np.float32), -np.inf)

    def _owners_of(self, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each owner once, with its highest score, by descending score and then id."""
        owners = self._row_owner[rows]
        order = np.lexsort((owners, -scores))
        owners, scores = owners[order], scores[order]
        known = owners >= 0
        owners, scores = owners[known], scores[known]
        _, first = np.unique(owners, return_index=True)
        first.sort()
        return owners[first], scores[first]
