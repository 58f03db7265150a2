"""Approximate nearest rows of a large space, and the recall that they reach. Knows no gallery, image or file format.

FAISS's inverted lists of 8-bit codes narrow the rows down, four times as many as asked for; these are scored again from
the vectors themselves, so scores are exact and only a row may be missed. How many lists are probed is chosen by
measuring: the fewest whose recall@10, against an exact search of the same vectors, is at least `TARGET`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from ssa_me.errors import InputError

TARGET = 0.985
"""Aimed at on the sample, so that 0.98 is kept on other queries."""
RECALL_AT = 10
QUERIES = 200
SEED = 7
_REFINED = 4
_LEAST_REFINED = 64
_A_LIST = 24  # rows that a list is made of
_WIDER = 1.4
_CHUNK = 65_536


@dataclass(frozen=True)
class Approximate:
    """Inverted lists over the first `len(lists)` rows of a space. probes: lists that are looked into. recall:
    recall@10 that was measured so. trained: rows that the lists were made for."""

    lists: faiss.IndexIVFScalarQuantizer
    probes: int
    recall: float
    trained: int

    def __len__(self) -> int:
        return int(self.lists.ntotal)

    def search(
        self, query: np.ndarray, vectors: np.ndarray, count: int, mask: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of (about) the `count` best rows of `vectors` `(N, D)` to the query `(1, D)`, best first.

        Rows that came after the lists are searched exactly. mask `(N,)`: the rows that count. There are as many as
        asked for where the mask has them: more lists are probed until they are found.
        """
        there = len(self) if mask is None else int(mask[: len(self)].sum())
        found = self._rows(query, min(max(_REFINED * count, _LEAST_REFINED), there), min(count, there), mask)
        scores, places = nearest(query, np.ascontiguousarray(vectors[found]), min(count, len(found)))
        rows = found[places]
        if len(vectors) > len(self):
            rest = None if mask is None else mask[len(self) :]
            left = len(vectors) - len(self) if rest is None else int(rest.sum())
            later, late = nearest(query, vectors[len(self) :], min(count, left), rest)
            scores, rows = np.concatenate([scores, later]), np.concatenate([rows, late + len(self)])
            order = np.argsort(-scores, kind="stable")[:count]
            scores, rows = scores[order], rows[order]
        return scores, rows

    def _rows(self, query: np.ndarray, fetch: int, least: int, mask: np.ndarray | None) -> np.ndarray:
        """Up to `fetch` rows, at least `least` of them."""
        probes = self.probes
        bits, selector = _selector(None if mask is None else mask[: len(self)])
        chosen = faiss.SearchParametersIVF()
        if bits is not None:
            chosen.sel = selector
        while fetch:
            chosen.nprobe = probes
            found = self.lists.search(query, fetch, params=chosen)[1][0]
            found = np.sort(found[found >= 0])
            if len(found) >= least or probes >= self.lists.nlist:
                return np.asarray(found)
            probes = min(self.lists.nlist, probes * 4)
        return np.empty(0, dtype=np.int64)


def nearest(
    query: np.ndarray, vectors: np.ndarray, count: int, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Exact scores and numbers of the `count` best rows of `vectors` `(N, D)` float32 to the query `(1, D)`, best first.

    Memory-mapped rows are read where they lie. mask `(N,)`: the rows that count, of which there are at least `count`.
    """
    scores = np.empty((1, count), dtype=np.float32)
    rows = np.empty((1, count), dtype=np.int64)
    if count == 0:
        return scores[0], rows[0]
    asked, all_rows, best, numbers = (faiss.swig_ptr(array) for array in (query, vectors, scores, rows))
    bits, selector = _selector(mask)
    faiss.knn_inner_product(
        asked, all_rows, vectors.shape[1], 1, len(vectors), count, best, numbers, selector
    )
    del bits  # the selector reads them until here
    return scores[0], rows[0]


def _selector(mask: np.ndarray | None) -> tuple[np.ndarray | None, faiss.IDSelectorBitmap | None]:
    """FAISS's selector of the rows in `mask`, and the bits that it reads, to be kept as long as it is used."""
    if mask is None:
        return None, None
    bits = np.packbits(mask, bitorder="little")
    return bits, faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))


def build(
    vectors: np.ndarray,
    alive: np.ndarray | None = None,
    queries: np.ndarray | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Approximate:
    """Inverted lists over `vectors` `(N, D)`, tuned on `queries` `(Q, D)` (default: `sample_queries`).

    alive `(N,)`: rows that count when recall is measured. progress: gets the fraction done, and may raise to stop.
    """
    rows, dimension = vectors.shape
    lists = max(1, min(round(4 * rows**0.5), rows // (2 * _A_LIST)))
    sample = np.sort(np.random.default_rng(SEED).permutation(rows)[: _A_LIST * lists])
    progress(0.0)
    quantizer = faiss.IndexFlatIP(dimension)
    made = faiss.IndexIVFScalarQuantizer(
        quantizer, dimension, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    made.cp.niter, made.cp.seed, made.cp.min_points_per_centroid = 5, SEED, 1
    made.train(np.ascontiguousarray(vectors[sample]))
    return extend(Approximate(made, 1, 0.0, rows), vectors, alive, queries, progress)


def extend(
    old: Approximate,
    vectors: np.ndarray,
    alive: np.ndarray | None = None,
    queries: np.ndarray | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Approximate:
    """The same lists with the rows behind those they hold, tuned again. `old` is changed, and of no use afterwards."""
    first = len(old)
    for start in range(first, len(vectors), _CHUNK):
        progress(0.2 + 0.6 * (start - first) / (len(vectors) - first))
        old.lists.add(np.ascontiguousarray(vectors[start : start + _CHUNK]))
    progress(0.8)
    asked = sample_queries(vectors, alive) if queries is None else queries
    return _tuned(old, vectors, alive, np.ascontiguousarray(asked, dtype=np.float32))


def sample_queries(vectors: np.ndarray, alive: np.ndarray | None = None, count: int = QUERIES) -> np.ndarray:
    """`count` queries `(Q, D)` of unit length that lie as queries do: half of them rows, half between two rows."""
    places = np.arange(len(vectors)) if alive is None else np.flatnonzero(alive)
    rows = vectors[np.random.default_rng(SEED).choice(places, (2, count))]
    rows[1, ::2] = 0
    mixed = rows.sum(0)
    return np.asarray(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12), np.float32)


def measure(index: Approximate, vectors: np.ndarray, alive: np.ndarray | None, queries: np.ndarray) -> float:
    """recall@10 of `queries` `(Q, D)` against an exact search; a row that scores as high as the tenth counts."""
    return _recall(index, vectors, alive, queries, _tenth(vectors, alive, queries))


def save(index: Approximate, path: Path) -> None:
    """Write the lists to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
    os.close(handle)
    try:
        faiss.write_index(index.lists, unfinished)
        os.replace(unfinished, path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def load(path: Path, dimension: int, rows: int, probes: int, recall: float, trained: int) -> Approximate:
    """Lists that `save` wrote. Raises InputError where they are not there, damaged, or of another space."""
    try:
        lists = faiss.read_index(str(path))
    except RuntimeError as error:
        raise InputError(f"The index {path.name} cannot be read. Index again to make it anew.") from error
    if lists.d != dimension or lists.ntotal != rows or not isinstance(lists, faiss.IndexIVFScalarQuantizer):
        raise InputError(f"The index {path.name} does not fit its vectors. Index again to make it anew.")
    return Approximate(lists, probes, recall, trained)


def _tuned(
    index: Approximate, vectors: np.ndarray, alive: np.ndarray | None, queries: np.ndarray
) -> Approximate:
    """With about the fewest probes that reach `TARGET`, or all lists."""
    tenth = _tenth(vectors, alive, queries)
    probes, most = 4, int(index.lists.nlist)
    while True:
        probes = min(probes, most)
        tried = Approximate(index.lists, probes, 0.0, index.trained)
        recall = _recall(tried, vectors, alive, queries, tenth)
        if recall >= TARGET or probes == most:
            return Approximate(index.lists, probes, recall, index.trained)
        probes = int(np.ceil(probes * _WIDER))


def _tenth(vectors: np.ndarray, alive: np.ndarray | None, queries: np.ndarray) -> np.ndarray:
    """The exact score of the tenth row of each query."""
    count = min(RECALL_AT, len(vectors) if alive is None else int(alive.sum()))
    return np.array([nearest(query[None], vectors, count, alive)[0][-1] for query in queries])


def _recall(
    index: Approximate,
    vectors: np.ndarray,
    alive: np.ndarray | None,
    queries: np.ndarray,
    tenth: np.ndarray,
) -> float:
    count = min(RECALL_AT, len(vectors) if alive is None else int(alive.sum()))
    found = [index.search(query[None], vectors, count, alive)[0] for query in queries]
    hits = [(scores >= least - 1e-6).sum() for scores, least in zip(found, tenth, strict=True)]
    return float(np.sum(hits)) / (count * len(queries))
