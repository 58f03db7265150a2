"""Maps moved from one model's image tokens onto another's, by the area that their boxes share. Pure functions on arrays.

Boxes are (N, 4) as x0, y0, x1, y1 in pixels of the same upright image. A token without an area has no place: it neither
gives nor takes. Between equal boxes every map stays as it is, to the bit.
"""

from __future__ import annotations

import numpy as np


def moved_mass(values: np.ndarray, boxes: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Shares (…, N) of a whole, such as attention, on the tokens `onto` (M, 4): (…, M). A token's share is spread evenly
    over its area; what lies outside of all of `onto` is lost, so that sums stay equal or fall."""
    if _equal(boxes, onto):
        return values
    return np.asarray(values @ _divided(_shared(boxes, onto), _areas(boxes)[:, None]), values.dtype)


def moved_level(values: np.ndarray, boxes: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Levels (…, N) such as salience or a region's weights on the tokens `onto` (M, 4): (…, M), each the mean over its
    area, 0 where nothing lies under it."""
    if _equal(boxes, onto):
        return values
    return np.asarray(values @ _divided(_shared(boxes, onto), _areas(onto)[None]), values.dtype)


def _equal(boxes: np.ndarray, onto: np.ndarray) -> bool:
    return boxes.shape == onto.shape and bool(np.array_equal(boxes, onto))


def _areas(boxes: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = boxes.astype(np.float64).T
    return np.clip(x1 - x0, 0, None) * np.clip(y1 - y0, 0, None)


def _shared(boxes: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(N, M): the area of each pair's intersection."""
    first, second = boxes.astype(np.float64)[:, None], onto.astype(np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    return np.asarray(np.clip(sides, 0, None).prod(-1))


def _divided(shared: np.ndarray, areas: np.ndarray) -> np.ndarray:
    return np.divide(shared, areas, out=np.zeros_like(shared), where=np.broadcast_to(areas > 0, shared.shape))
