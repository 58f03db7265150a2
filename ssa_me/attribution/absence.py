"""What stands for an absent part of an image, and the regions that are taken away. Pure functions of arrays.

Images are (h, w, 3) uint8 RGB; labels (h, w) int say which feature each pixel belongs to, from 0 without a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from ssa_me.samples import BBox

_WORK = 96  # longer side, in pixels, at which superpixels are sought
_COMPACT = 20.0  # how many units of CIE Lab the distance between two seeds is worth


def absent(image: np.ndarray, baseline: str, seed: int) -> np.ndarray:
    """The image (h, w, 3) with nothing on it, by one of BASELINES; `seed` draws the noise."""
    return _ABSENT[baseline](image, seed)


def _blurred(image: np.ndarray, seed: int) -> np.ndarray:
    sigma = max(1.0, max(image.shape[:2]) / 10)
    blurred: np.ndarray = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred


def _mean(image: np.ndarray, seed: int) -> np.ndarray:
    return np.broadcast_to(image.mean((0, 1)).round().astype(np.uint8), image.shape).copy()


def _noise(image: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, image.shape).astype(np.uint8)


_ABSENT: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "blur": _blurred,
    "mean": _mean,
    "black": lambda image, seed: np.zeros_like(image),
    "white": lambda image, seed: np.full_like(image, 255),
    "noise": _noise,
}


def mixed(keep: np.ndarray, labels: np.ndarray, image: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """(B, h, w, 3): `image` where a pixel's feature is kept, else `fill`. keep (B, M) bool, labels (h, w)."""
    result: np.ndarray = np.where(keep[:, labels][..., None], image[None], fill[None])
    return result


def cell_labels(rows: int, columns: int, shape: tuple[int, int]) -> np.ndarray:
    """Labels of a grid of `rows` × `columns` even cells over (h, w), in raster order."""
    y = np.arange(shape[0]) * rows // shape[0]
    x = np.arange(shape[1]) * columns // shape[1]
    return y[:, None] * columns + x[None]


def region_labels(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Labels (h, w) of K masks (h, w), the first one winning where they overlap, and K for the rest. Features without
    a pixel stay without one: see `counted`."""
    labels = np.full(masks[0].shape, len(masks))
    for k in reversed(range(len(masks))):
        labels[masks[k]] = k
    return labels


def superpixels(image: np.ndarray, count: int) -> np.ndarray:
    """Labels (h, w) of about `count` patches of like colour: k-means on colour (CIE Lab) and place from an even grid of
    seeds, as in SLIC (Achanta et al., 2012) but without its search window and without joining splinters. Deterministic."""
    height, width = image.shape[:2]
    scale = min(1.0, _WORK / max(height, width))
    small = cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    h, w = small.shape[:2]
    rows = max(1, min(h, round((count * h / w) ** 0.5)))
    columns = max(1, min(w, round(count / rows)))
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab).reshape(-1, 3)
    y, x = np.divmod(np.arange(h * w), w)
    spacing = (h * w / (rows * columns)) ** 0.5
    place = np.stack([x, y], axis=1) * (_COMPACT / spacing)
    points = np.concatenate([lab, place], axis=1).astype(np.float32)
    seeds = cell_labels(rows, columns, (h, w)).reshape(-1, 1).astype(np.int32)
    labels: np.ndarray = seeds
    if len(points) > rows * columns > 1:
        stop = (cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0)
        labels = np.asarray(
            cv2.kmeans(points, rows * columns, seeds, stop, 1, cv2.KMEANS_USE_INITIAL_LABELS)[1]
        )
    _, dense = np.unique(labels, return_inverse=True)
    full = cv2.resize(
        dense.reshape(h, w).astype(np.int32).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_NEAREST,
    )
    return np.asarray(full).astype(int)


def spread(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The contribution of each feature (M,) spread evenly over its pixels: (h, w) float32 with the same sum."""
    count = np.bincount(labels.ravel(), minlength=len(values))
    each = np.divide(values, count, out=np.zeros(len(values)), where=count > 0)
    return each[labels].astype(np.float32)


def box_mask(bbox: BBox, image_size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Which pixels of (h, w) lie in a box (x, y, width, height) of an image of `image_size` (width, height)."""
    x, y, w, h = bbox
    across, down = shape[1] / image_size[0], shape[0] / image_size[1]
    mask = np.zeros(shape, dtype=bool)
    top, left = max(0, round(y * down)), max(0, round(x * across))
    mask[top : max(top, round((y + h) * down)), left : max(left, round((x + w) * across))] = True
    return mask


def bbox_of(mask: np.ndarray, image_size: tuple[int, int]) -> BBox:
    """The box (x, y, width, height) in pixels of the image around the true pixels of `mask` (h, w)."""
    ys, xs = np.nonzero(mask)
    across, down = image_size[0] / mask.shape[1], image_size[1] / mask.shape[0]
    x0, y0 = float(xs.min() * across), float(ys.min() * down)
    return x0, y0, float((xs.max() + 1) * across) - x0, float((ys.max() + 1) * down) - y0
