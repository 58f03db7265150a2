"""Snaps a region to the edges of what it shows: GrabCut from a box or from strokes. Knows no annotations.

Coordinates are pixels of the upright image. It works on a small copy of the surroundings, so it takes well under a second
for an image of any size, and always gives the same for the same input.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.samples import BBox, mask_bbox

LONGEST = 224
"""The longer side, in pixels, of the copy that is cut."""
_AROUND = 0.3  # of the box's sides, on each side of it: what the background is learnt from
_LEAST = 0.1  # of the largest piece: smaller ones are crumbs
_ROUNDS = 4


def snap(
    image: Image.Image,
    bbox: BBox | None = None,
    inside: np.ndarray | None = None,
    outside: np.ndarray | None = None,
) -> np.ndarray:
    """The mask `(H, W)` bool of what `bbox` (x, y, width, height) holds, or of what the strokes `inside` mark.

    image: upright RGB. inside, outside: bool `(H, W)`, pixels that surely belong to it and surely do not; without a box
    the region may grow from the strokes, by their length and a half, into what has their colour. Raises InputError where
    there is neither box nor stroke, or no edge can be found.
    """
    strokes = inside is not None and bool(inside.any())
    if bbox is None and not strokes:
        raise InputError("There is nothing to snap from. Draw a box or a stroke on the subject first.")
    core = bbox if bbox is not None else mask_bbox(inside)  # type: ignore[arg-type]
    assert core is not None
    across, down = (_AROUND * core[2], _AROUND * core[3]) if bbox else (1.5 * max(core[2:]),) * 2
    window = _window(core, across, down, image.size)
    x0, y0, x1, y1 = window
    small = _size(x1 - x0, y1 - y0)
    crop = np.asarray(image.crop(window).resize(small, Image.Resampling.BOX).convert("RGB"))
    marked = [_shrunk(part[y0:y1, x0:x1], small) for part in (inside, outside) if part is not None]
    labels = _within(core, window, small) if bbox else _like_stroke(crop, marked[0])
    labels[[0, -1]] = cv2.GC_BGD
    labels[:, [0, -1]] = cv2.GC_BGD
    if inside is not None:
        labels[marked[0]] = cv2.GC_FGD
    if outside is not None:
        labels[marked[-1]] = cv2.GC_BGD
    found = _largest(_cut(crop, labels))
    mask = np.zeros((image.height, image.width), bool)
    grown = cv2.resize(found.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    mask[y0:y1, x0:x1] = grown >= 0.5
    if not mask.any():
        raise InputError("No edge was found there. Paint the region, or draw the box closer around it.")
    return mask


def _window(core: BBox, across: float, down: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The surroundings of `core` within the image, as whole x0, y0, x1, y1, at least two pixels on a side."""
    x, y, w, h = core
    across, down = max(4.0, across), max(4.0, down)
    x0, y0 = max(0, int(x - across)), max(0, int(y - down))
    x1, y1 = min(size[0], int(np.ceil(x + w + across))), min(size[1], int(np.ceil(y + h + down)))
    if x1 - x0 < 2 or y1 - y0 < 2:
        raise InputError("The box lies outside of the image. Draw it again.")
    return x0, y0, x1, y1


def _within(core: BBox, window: tuple[int, int, int, int], small: tuple[int, int]) -> np.ndarray:
    """GrabCut's labels of the copy: probably it inside of the box, surely not outside."""
    x0, y0, x1, y1 = window
    across, down = small[0] / (x1 - x0), small[1] / (y1 - y0)
    labels = np.full(small[::-1], cv2.GC_BGD, np.uint8)
    top, bottom = max(0, round((core[1] - y0) * down)), round((core[1] + core[3] - y0) * down)
    left, right = max(0, round((core[0] - x0) * across)), round((core[0] + core[2] - x0) * across)
    labels[top:bottom, left:right] = cv2.GC_PR_FGD
    return labels


def _like_stroke(crop: np.ndarray, stroke: np.ndarray) -> np.ndarray:
    """GrabCut's labels of the copy: probably it where the colour is nearer to the stroke's than to the border's."""
    lab = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    edge = np.ones(stroke.shape, bool)
    edge[1:-1, 1:-1] = False
    near, far = (np.linalg.norm(lab - lab[part].mean(0), axis=-1) for part in (stroke, edge & ~stroke))
    return np.where(near < far, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)


def _shrunk(mask: np.ndarray, small: tuple[int, int]) -> np.ndarray:
    """The cells of the copy that a mask touches."""
    return np.asarray(cv2.resize(mask.astype(np.float32), small, interpolation=cv2.INTER_AREA) > 0)


def _size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, LONGEST / max(width, height))
    return max(4, round(width * scale)), max(4, round(height * scale))


def _cut(crop: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """GrabCut's foreground `(h, w)` bool; of an empty side of the labels nothing can be learnt."""
    front = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if front.sum() < 5 or (~front).sum() < 5:
        raise InputError("The region is too small to snap. Draw it larger, or paint it.")
    cv2.setRNGSeed(0)  # of this thread: GrabCut draws the seeds of its colour models
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(crop), labels, (0, 0, 0, 0), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _largest(mask: np.ndarray) -> np.ndarray:
    """`mask` without crumbs."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = [part for part in range(1, count) if areas[part] >= _LEAST * areas[1:].max()]
    return np.isin(parts, kept)
