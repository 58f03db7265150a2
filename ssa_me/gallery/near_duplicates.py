"""Near-duplicates of a whole gallery: which of its images are nearly the same, in groups. Knows no model and no page.

Two images are alike where the cosine of their vectors reaches a threshold; a group is what likeness links, directly or by
way of others. Vectors are compared block by block, and only who belongs together is kept of it: a pair is forgotten as soon
as it has joined two groups, so that memory does not grow with the number of pairs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ssa_me.errors import InputError
from ssa_me.gallery.approximate import Approximate
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.store import Gallery
from ssa_me.nearness import NEAR_DUPLICATE

BLOCK = 2048
"""So many vectors are compared with so many others at once."""
ROUNDING = 1e-6  # two equal vectors of unit length may have a cosine just below 1
_NUMBERS = 2**23  # so many numbers are gathered at once
_NEARER = (
    4  # near-duplicates lie closer than what a search's probes are tuned to find: a quarter of them is enough
)
_LEAST_PROBES = 8

Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Group:
    """Images that belong together: `ids` rising, the `representative` among them, and the cosine of each with it.

    A cosine below the threshold is of an image that is linked by way of others alone.
    """

    ids: tuple[int, ...]
    representative: int
    cosines: tuple[float, ...]

    @property
    def others(self) -> tuple[tuple[int, float], ...]:
        """(id, cosine) of all but the representative, the most alike first."""
        pairs = [pair for pair in zip(self.ids, self.cosines, strict=True) if pair[0] != self.representative]
        return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


@dataclass(frozen=True)
class NearDuplicates:
    """What a search for near-duplicates found: groups of two and more, the largest first, then in the order in which images
    came. searched: ids `(n,)` of the images that were compared, rising. kind: exact, or approximate where some pairs may
    have been missed. cancelled: nothing is said then.
    """

    groups: tuple[Group, ...]
    threshold: float
    searched: np.ndarray
    kind: str = "exact"
    seconds: float = 0.0
    cancelled: bool = False

    @property
    def copies(self) -> list[int]:
        """Ids of the images that are as alike to the representative of their group as the threshold says. Those that others
        link to it are left out: they may have little in common with it."""
        least = self.threshold - ROUNDING
        return [id for group in self.groups for id, cosine in group.others if cosine >= least]


def near_duplicates(
    gallery: Gallery,
    space: str,
    threshold: float = NEAR_DUPLICATE,
    *,
    among: np.ndarray | None = None,
    block: int = BLOCK,
    progress: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> NearDuplicates:
    """Groups of images whose vectors in `space` (one an image: `Spaces.images`) have a cosine of `threshold` or more.

    Grouping is transitive: if a is like b and b like c, all three are one group, even where a and c are less alike than the
    threshold. A long chain may so hold images that have little in common; the cosine of each with the representative tells.
    The representative is the largest image by its pixels, of equal ones that which came first.

    N images of D numbers take N² · D / 2 multiplications, and memory for N numbers and `block`² pairs. Where the space has an
    approximate index (a gallery of tens of thousands has), its lists leave most of that out: the images of one are compared
    with those alone that lie near to it. Cosines are exact then too, but a pair may be missed, and
    `kind` says so. among: ids of the only images that count, always compared exactly.

    `progress` gets the fraction done, in this thread; `cancelled` is asked as often. Raises InputError where the threshold is
    no cosine, or no image has a vector in this space.
    """
    begun = time.perf_counter()
    if not -1 <= threshold <= 1:
        raise InputError(f"The threshold of near-duplicates is a cosine between -1 and 1, not {threshold}.")
    index = gallery.index(space)
    if index is None and len(gallery):
        raise InputError(
            f"No image of {gallery.name} has a vector of this model version. Embed the gallery again first."
        )
    ids, rows = _images(index, among)
    if index is None or len(ids) < 2:
        return NearDuplicates((), threshold, ids)
    lists = index.approximate if among is None else None
    kind = "exact" if lists is None else "approximate"
    steps = (
        _exactly(index.vectors, rows, threshold, block)
        if lists is None
        else _by_lists(lists, index.vectors, rows, threshold, block)
    )
    roots = np.arange(len(rows))
    for fraction, pairs in steps:
        join(roots, *pairs)
        progress(fraction)
        if cancelled():
            return NearDuplicates((), threshold, ids, kind, time.perf_counter() - begun, cancelled=True)
    groups = _groups(gallery, index.vectors, ids, rows, roots)
    return NearDuplicates(groups, threshold, ids, kind, time.perf_counter() - begun)


def join(roots: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Unite the sets of `first[n]` and `second[n]` for each n. roots: the least member of each one's set, kept so."""
    while True:
        one, other = roots[first], roots[second]
        apart = one != other
        if not apart.any():
            return
        first, second, one, other = first[apart], second[apart], one[apart], other[apart]
        roots[np.maximum(one, other)] = np.minimum(one, other)
        while not np.array_equal(deeper := roots[roots], roots):
            roots[:] = deeper


def _images(index: VectorIndex | None, among: np.ndarray | None) -> Pairs:
    """Ids of the images that count, rising, and the row of each."""
    if index is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    owners = np.asarray(index.owners)
    owners = owners if among is None else owners[np.isin(owners[:, 0], among)]
    return owners[:, 0], owners[:, 1]


def _exactly(
    vectors: np.ndarray, rows: np.ndarray, threshold: float, block: int
) -> Iterator[tuple[float, Pairs]]:
    """Pairs of places in `rows` that are alike, a block against a block at a time, and the fraction of the work done then."""
    starts = range(0, len(rows), block)
    total, done = sum(-(-min(start + block, len(rows)) // block) for start in starts), 0
    for start in starts:
        later = np.asarray(vectors[rows[start : start + block]])
        for other in range(0, start + len(later), block):
            earlier = np.asarray(vectors[rows[other : min(other + block, start + len(later))]])
            one, two = _alike(later, earlier, threshold)
            one, two = one + start, two + other
            done += 1
            yield done / total, (one[two < one], two[two < one])


def _by_lists(
    lists: Approximate, vectors: np.ndarray, rows: np.ndarray, threshold: float, block: int
) -> Iterator[tuple[float, Pairs]]:
    """The same of inverted lists: the rows that belong to one are compared with all that have it among their nearest."""
    centroids = lists.lists.quantizer.reconstruct_n(0, lists.lists.nlist)
    members = _by_value(_nearest(vectors, rows, centroids, 1, block), len(centroids))
    probes = min(len(centroids), max(_LEAST_PROBES, lists.probes // _NEARER))
    step = max(block, _NUMBERS // probes)
    for first in range(0, len(rows), step):
        near = _nearest(vectors, rows[first : first + step], centroids, probes, block)
        for at, (one, two) in enumerate(zip(members, _by_value(near, len(centroids)), strict=True)):
            asked = np.asarray(vectors[rows[one]])
            for start in range(0, len(two) if len(one) else 0, block):
                others = two[start : start + block] + first
                place, other = _alike(asked, np.asarray(vectors[rows[others]]), threshold)
                yield (first + at / len(centroids) * len(near)) / len(rows), (one[place], others[other])


def _nearest(
    vectors: np.ndarray, rows: np.ndarray, centroids: np.ndarray, count: int, block: int
) -> np.ndarray:
    """(n, count): the numbers of the centroids with the highest scores of each row, in no order."""
    parts = []
    for start in range(0, len(rows), block):
        scores = vectors[rows[start : start + block]] @ centroids.T
        parts.append(np.argpartition(scores, -count)[:, -count:].astype(np.int32))
    return np.concatenate(parts)


def _by_value(numbers: np.ndarray, most: int) -> list[np.ndarray]:
    """For each value below `most` the lines of `numbers` `(n, k)` that hold it."""
    flat = numbers.ravel()
    ends = np.cumsum(np.bincount(flat, minlength=most))
    return np.split(np.argsort(flat, kind="stable") // numbers.shape[1], ends[:-1])


def _alike(some: np.ndarray, others: np.ndarray, threshold: float) -> Pairs:
    """Places in `some` `(n, D)` and in `others` `(m, D)` of those that are alike."""
    found = np.flatnonzero(some @ others.T >= threshold - ROUNDING)
    return np.divmod(found, len(others))


def _cosines(vectors: np.ndarray, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(n,): the cosine of each row with its other."""
    step = max(1, _NUMBERS // vectors.shape[1])
    found = [
        np.einsum("nd,nd->n", vectors[one[start : start + step]], vectors[two[start : start + step]])
        for start in range(0, len(one), step)
    ]
    return np.concatenate(found) if found else np.empty(0, np.float32)


def _groups(
    gallery: Gallery, vectors: np.ndarray, ids: np.ndarray, rows: np.ndarray, roots: np.ndarray
) -> tuple[Group, ...]:
    """The sets of two and more, each with its representative."""
    _, which, counts = np.unique(roots, return_inverse=True, return_counts=True)
    members = np.flatnonzero(counts[which] > 1)
    members = members[np.argsort(roots[members], kind="stable")]  # a group after the other, ids rising within
    if not len(members):
        return ()
    sizes = _pixels(gallery, ids[members])
    parts = np.split(np.arange(len(members)), np.flatnonzero(np.diff(roots[members])) + 1)
    largest = [part[int(np.argmax(sizes[part]))] for part in parts]
    kept = members[np.repeat(largest, [len(part) for part in parts])]
    cosines = np.clip(_cosines(vectors, rows[members], rows[kept]), -1, 1)
    groups = [
        Group(tuple(ids[members[part]].tolist()), int(ids[members[first]]), tuple(cosines[part].tolist()))
        for part, first in zip(parts, largest, strict=True)
    ]
    return tuple(sorted(groups, key=lambda group: (-len(group.ids), group.ids[0])))


def _pixels(gallery: Gallery, ids: np.ndarray) -> np.ndarray:
    """(n,): how many pixels each image has; 0 where it was removed meanwhile."""
    query = "SELECT id, width * height FROM images WHERE id IN (SELECT value FROM json_each(?))"
    with gallery.database.reading() as db:
        sizes = dict(tuple(row) for row in db.execute(query, (json.dumps(ids.tolist()),)))
    return np.array([sizes.get(id, 0) for id in ids.tolist()], np.int64)
