"""Subject regions out of a salience map over tokens. Knows nothing of models, phrases or pixels.

Boxes are `(N, 4)` as `x0, y0, x1, y1` in pixels of the upright image, one a token, in any layout: a grid, crops, tiles.
Tokens are neighbours where their boxes touch. A `BBox` is `(x, y, width, height)` in the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ssa_me.samples import BBox

_DARK = 0.1


@dataclass(frozen=True, eq=False)
class TokenRegion:
    """A subject's region M_k: `weights` `(N,)` float32 in [0, 1], the salience inside it and 0 elsewhere."""

    weights: np.ndarray
    bbox: BBox
    salience: float  # mean over its tokens, in [0, 1]


def peaks(
    salience: np.ndarray,
    boxes: np.ndarray,
    most: int = 6,
    floor: float = 0.1,
    prominence: float = 0.15,
    cut: float = 0.5,
) -> tuple[TokenRegion, ...]:
    """The subjects that stand out in `salience` `(N,)`: at most `most` regions, the largest sum of salience first.

    Tokens above `floor` belong to the peak they climb to, so two subjects that touch are told apart. A peak counts where
    it rises by `prominence` (absolute) above the saddle to a higher one, and its region ends at `cut` times its height.
    A dark map has no region, a bright and constant one has a single region. Regions never share a token.
    """
    neighbours = _neighbours(boxes.astype(np.float32).tobytes())
    basins = _climb(salience, neighbours, floor, prominence)
    regions = []
    for peak in np.unique(basins[basins >= 0]):
        inside = (basins == peak) & (salience >= cut * salience[peak])
        regions.append(_region(np.where(inside, salience, 0), boxes))
    return _largest(regions, most)


def grow(
    salience: np.ndarray,
    boxes: np.ndarray,
    features: np.ndarray,
    likeness: float,
    most: int = 6,
    floor: float = 0.25,
    least: float = 1.0,
) -> tuple[TokenRegion, ...]:
    """The subjects in `salience` `(N,)`, told apart by what tokens show, `features` `(N, D)`: at most `most` regions, the
    largest sum of salience first. Two subjects on one plateau of salience are two regions.

    Seeded region growing (Adams and Bischof 1994): the seed is the salient token that is most like the salient tokens around
    it; its region is what is connected to it and at least `likeness` like it, as cosines of features less the image's
    mean; then the next seed among what is left. At last each token goes to the region that it touches and is most like.
    Tokens count above `floor`, in a dim map above half of its maximum; a dark map, below 0.1, has no region. Splinters, of
    less than `least` tokens' salience in all, join what they touch as long as a region remains. Regions never share a token.
    """
    highest = float(salience.max(initial=0.0))
    if highest <= _DARK:
        return ()
    neighbours = _neighbours(boxes.astype(np.float32).tobytes())
    placed = np.array([bool(near) for near in neighbours])
    bright = placed & (salience > min(floor, highest / 2))
    centred = features - features.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    cosine = unit @ unit.T
    found = [
        np.where(inside, salience, 0.0) for inside in _grown(salience, neighbours, bright, cosine, likeness)
    ]
    found.sort(key=lambda weights: -float(weights.sum()))
    kept = [weights for n, weights in enumerate(found[:most]) if n == 0 or weights.sum() >= least]
    if not kept:
        return ()
    means = np.stack([weights @ unit for weights in kept])
    nearest = (unit @ (means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)).T).argmax(1)
    regions = []
    for n, weights in enumerate(kept):
        near = np.zeros(len(salience), bool)
        near[[other for token in np.flatnonzero(weights) for other in neighbours[token]]] = True
        own = np.where(near & bright & (nearest == n), salience, 0.0)
        if own.any():
            regions.append(_region(own, boxes))
    return _largest(regions, most)


def _grown(
    salience: np.ndarray,
    neighbours: Sequence[list[int]],
    bright: np.ndarray,
    cosine: np.ndarray,
    likeness: float,
) -> Iterator[np.ndarray]:
    """Masks (N,) of regions, seed by seed, until every bright token is in one."""
    central = np.array(
        [
            salience[token] * np.mean(np.maximum(cosine[token, near], 0) * salience[near])
            if bright[token]
            else 0.0
            for token, near in enumerate(neighbours)
        ]
    )
    free = bright.copy()
    while free.any():
        seed = int(np.where(free, central, -1.0).argmax())
        inside, reached = np.zeros(len(salience), bool), [seed]
        inside[seed] = True
        while reached:
            for other in neighbours[reached.pop()]:
                if free[other] and not inside[other] and cosine[seed, other] >= likeness:
                    inside[other] = True
                    reached.append(other)
        free &= ~inside
        yield inside


def _largest(regions: list[TokenRegion], most: int) -> tuple[TokenRegion, ...]:
    return tuple(sorted(regions, key=lambda region: -float(region.weights.sum()))[:most])


def coverage(boxes: np.ndarray, bbox: BBox) -> np.ndarray:
    """The share of each token's box `(N, 4)` that lies in `bbox`, `(N,)` float32 in [0, 1]; 0 for one without an area."""
    x0, y0, x1, y1 = boxes.astype(np.float64).T
    across = np.minimum(x1, bbox[0] + bbox[2]) - np.maximum(x0, bbox[0])
    down = np.minimum(y1, bbox[1] + bbox[3]) - np.maximum(y0, bbox[1])
    area = (x1 - x0) * (y1 - y0)
    shared = np.clip(across, 0, None) * np.clip(down, 0, None)
    return np.asarray(np.where(area > 0, shared / np.where(area > 0, area, 1), 0), np.float32)


def iou(a: BBox, b: BBox) -> float:
    """Intersection over union of two boxes, in [0, 1]; 0 where both are empty."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else 0.0


@lru_cache(maxsize=16)
def _neighbours(packed: bytes) -> tuple[list[int], ...]:
    """The tokens whose boxes share an edge, a corner or an area with each one's, itself among them; none without an area.

    `packed` are the bytes of float32 boxes `(N, 4)`: images of one size have the same, so they are kept.
    """
    boxes = np.frombuffer(packed, np.float32).reshape(-1, 4).astype(np.float64)
    x0, y0, x1, y1 = boxes.T
    placed = (x1 > x0) & (y1 > y0)
    slack = 0.01 * float(np.median((x1 - x0)[placed])) if placed.any() else 0.0
    found: list[list[int]] = []
    for rows in np.array_split(
        np.arange(len(boxes)), len(boxes) // 512 + 1
    ):  # N×N at once would not fit for large N
        across = (x0[rows, None] <= x1 + slack) & (x0 <= x1[rows, None] + slack)
        down = (y0[rows, None] <= y1 + slack) & (y0 <= y1[rows, None] + slack)
        found += [np.flatnonzero(row).tolist() for row in across & down & placed[rows, None] & placed]
    return tuple(found)


def _climb(
    salience: np.ndarray, neighbours: Sequence[list[int]], floor: float, prominence: float
) -> np.ndarray:
    """The peak (a token's index) that each token belongs to, `(N,)`; -1 at or below the floor and without a place.

    A watershed from the top down: each token, in falling order, joins the highest peak that it touches; where it is
    the saddle to a lower peak of too little prominence, that peak dissolves into the higher one.
    """
    values: list[float] = salience.tolist()
    joined = [-1] * len(values)  # the peak that a token joined
    dissolved: dict[int, int] = {}  # peak → the higher peak that it became part of, or itself

    def now(peak: int) -> int:
        while dissolved[peak] != peak:
            peak = dissolved[peak]
        return peak

    for token in np.argsort(-salience, kind="stable").tolist():
        if values[token] <= floor:
            break
        if not neighbours[token]:
            continue
        met = {now(joined[other]) for other in neighbours[token] if joined[other] >= 0}
        if not met:
            dissolved[token] = joined[token] = token
            continue
        highest = min(met, key=lambda peak: (-values[peak], peak))
        joined[token] = highest
        for peak in met:
            if values[peak] - values[token] < prominence:
                dissolved[peak] = highest
    return np.array([now(peak) if peak >= 0 else -1 for peak in joined])


def _region(weights: np.ndarray, boxes: np.ndarray) -> TokenRegion:
    inside = boxes[weights > 0]
    x0, y0 = (float(v) for v in inside[:, :2].min(axis=0))
    x1, y1 = (float(v) for v in inside[:, 2:].max(axis=0))
    mean = float(weights[weights > 0].mean())
    return TokenRegion(np.clip(weights, 0, 1).astype(np.float32), (x0, y0, x1 - x0, y1 - y0), mean)
