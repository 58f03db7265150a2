"""How well a map over image tokens lies on a region. It knows nothing of models; no threshold is applied to a map.

A map is one value a token, `values` `(N,)`, with the tokens' boxes `(N, 4)` as x0, y0, x1, y1 in pixels of the upright
image, origin top left; a region is a mask `(H, W)` of booleans in the same pixels (from a segmentation where there is
one, else from the box). A map that is empty or constant and a region without a pixel have no score: NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIZES = {"small": (0.0, 0.05), "medium": (0.05, 0.20), "large": (0.20, 1.0)}
"""Size of a region by its share of the image's area: from the first number, below the second (large: up to all)."""


@dataclass(frozen=True)
class RegionScore:
    """The measures of one map on one region, each in [0, 1] or NaN, and the region's share of the image's area."""

    pointing_game: float
    energy_pointing_game: float
    average_precision: float
    area: float

    @property
    def defined(self) -> bool:
        return not np.isnan(self.pointing_game)

    def measures(self) -> dict[str, float]:
        return {
            "pointing_game": self.pointing_game,
            "energy_pointing_game": self.energy_pointing_game,
            "average_precision": self.average_precision,
        }

    @property
    def size(self) -> str:
        return next((name for name, (low, high) in SIZES.items() if low <= self.area < high), "large")


def score_region(values: np.ndarray, boxes: np.ndarray, region: np.ndarray) -> RegionScore:
    """All measures of one map `values` `(N,)` over `boxes` `(N, 4)` on one `region` `(H, W)`."""
    area = float(region.mean()) if region.size else 0.0
    if not is_defined(values, region):
        return RegionScore(np.nan, np.nan, np.nan, area)
    covered = coverage(boxes, region)
    return RegionScore(
        pointing_game(values, boxes, region),
        energy_pointing_game(values, covered),
        average_precision(values, covered, cell_areas(boxes)),
        area,
    )


def is_defined(values: np.ndarray, region: np.ndarray) -> bool:
    """False for a map that is empty, constant or not finite, and for a region without a pixel."""
    return bool(len(values) and np.isfinite(values).all() and values.max() > values.min() and region.any())


def pointing_game(values: np.ndarray, boxes: np.ndarray, region: np.ndarray) -> float:
    """Whether the centre of the arg-max cell lies in the region; over tied cells the expected value. NaN: undefined.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016 (arXiv 1608.00507), without its tolerance.
    """
    if not is_defined(values, region):
        return float("nan")
    height, width = region.shape
    top = boxes[values == values.max()]
    x = np.clip(((top[:, 0] + top[:, 2]) / 2).astype(int), 0, width - 1)
    y = np.clip(((top[:, 1] + top[:, 3]) / 2).astype(int), 0, height - 1)
    return float(region[y, x].mean())


def energy_pointing_game(values: np.ndarray, covered: np.ndarray) -> float:
    """Share of the map's positive part that lies in the region; `covered` `(N,)` as from `coverage`.

    Wang et al., "Score-CAM", 2020 (arXiv 1910.01279), with a cell's value spread evenly over the cell. NaN: no energy.
    """
    energy = np.clip(values, 0, None).astype(np.float64)
    total = energy.sum()
    return float((energy * covered).sum() / total) if total > 0 else float("nan")


def average_precision(values: np.ndarray, covered: np.ndarray, areas: np.ndarray) -> float:
    """Average precision of the region's pixels when all pixels are ranked by their cell's value; ties form one step.

    Exact at the level of pixels without painting them: cell i brings `areas[i]` pixels, `covered[i]` of them positive.
    """
    order = np.argsort(-values, kind="stable")
    last_of_step = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    positives = np.cumsum((covered * areas)[order])[last_of_step]
    pixels = np.cumsum(areas[order])[last_of_step]
    if pixels[-1] <= 0 or positives[-1] <= 0:
        return float("nan")
    recall = np.diff(positives / positives[-1], prepend=0.0)
    return float((recall * positives / np.maximum(pixels, 1e-12)).sum())


def chance_score(boxes: np.ndarray, region: np.ndarray) -> RegionScore:
    """What a map without any knowledge scores on `region` `(H, W)`: the expectation over all cells alike."""
    area = float(region.mean()) if region.size else 0.0
    if not len(boxes) or not region.any():
        return RegionScore(np.nan, np.nan, np.nan, area)
    height, width = region.shape
    x = np.clip(((boxes[:, 0] + boxes[:, 2]) / 2).astype(int), 0, width - 1)
    y = np.clip(((boxes[:, 1] + boxes[:, 3]) / 2).astype(int), 0, height - 1)
    covered, areas = coverage(boxes, region), cell_areas(boxes)
    share = float((covered * areas).sum() / areas.sum())
    return RegionScore(float(region[y, x].mean()), share, share, area)


def centre_prior(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A bell `(N,)` over the middle of an image of `size` (width, height): 1 there, with a deviation of a quarter."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / np.array(size) - 0.5
    bell: np.ndarray = np.exp(-(centres**2).sum(axis=1) / (2 * 0.25**2))
    return bell


def cell_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas `(N,)` of `boxes` `(N, 4)` in square pixels."""
    areas: np.ndarray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def coverage(boxes: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Share `(N,)` of each box that the region covers, exact for corners between pixels; 0 for an empty box."""
    height, width = region.shape
    integral = np.zeros((height + 1, width + 1))
    integral[1:, 1:] = region.cumsum(axis=0).cumsum(axis=1)
    x0, y0, x1, y1 = np.clip(boxes, 0, [width, height, width, height]).T.astype(np.float64)
    inside = _at(integral, x1, y1) - _at(integral, x0, y1) - _at(integral, x1, y0) + _at(integral, x0, y0)
    areas = cell_areas(boxes)
    shares: np.ndarray = np.divide(inside, areas, out=np.zeros_like(inside), where=areas > 0)
    return shares.clip(0, 1)


def _at(integral: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """An integral image between its corners: bilinear, which is exact because a pixel is constant."""
    column = np.minimum(x.astype(int), integral.shape[1] - 2)
    row = np.minimum(y.astype(int), integral.shape[0] - 2)
    right, down = x - column, y - row
    upper: np.ndarray = (1 - right) * integral[row, column] + right * integral[row, column + 1]
    lower: np.ndarray = (1 - right) * integral[row + 1, column] + right * integral[row + 1, column + 1]
    value: np.ndarray = (1 - down) * upper + down * lower
    return value


def summarise(scores: Sequence[RegionScore]) -> dict[str, object] | None:
    """The contract's object of the regions with a defined score: their number, means, and the same by size.

    A size without a region is absent; None where no region has a score.
    """
    summary = _means(scores)
    if summary is None:
        return None
    by_size = {}
    for size, (low, high) in SIZES.items():
        means = _means([score for score in scores if score.size == size])
        if means is not None:
            by_size[size] = {"area": [low, high], **means}
    return {**summary, "by_size": by_size}


def _means(scores: Sequence[RegionScore]) -> dict[str, object] | None:
    defined = [score for score in scores if score.defined]
    if not defined:
        return None
    columns = {
        name: np.array([score.measures()[name] for score in defined]) for name in defined[0].measures()
    }
    return {"regions": len(defined), **{name: _nan_mean(column) for name, column in columns.items()}}


def _nan_mean(column: np.ndarray) -> float | None:
    kept = column[~np.isnan(column)]
    return float(kept.mean()) if len(kept) else None
