"""A map of a gallery's embedding: two coordinates an image, for both models in views that can be laid side by side.

PCA of the image vectors, or UMAP where it is installed. It knows no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from ssa_me.errors import InputError

METHODS = ("pca", "umap")


@dataclass(frozen=True)
class Projection:
    """Points (N, 2) within [-1, 1], and the share of the variance that they keep (None: the method has no such share)."""

    points: np.ndarray
    explained: float | None


def available_methods() -> tuple[str, ...]:
    """The methods that can be used here."""
    return METHODS if find_spec("umap") is not None else METHODS[:1]


def project(vectors: Sequence[np.ndarray], method: str = "pca") -> list[Projection]:
    """Project each of several (N, D) sets of vectors of the same N images; all but the first are turned and mirrored to
    lie as near to it as they can, which changes no distance. Raises InputError for a method that is not installed."""
    if method not in available_methods():
        raise InputError(
            f"There is no projection {method!r} here. Choose one of {', '.join(available_methods())}."
        )
    found = [_umap(rows) if method == "umap" else _pca(rows) for rows in vectors]
    first = found[0].points
    return [Projection(_scaled(_turned(one.points, first)), one.explained) for one in found]


def inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which `points` (N, 2) lie in a closed `polygon` (P, 2), by the even-odd rule; none for fewer than 3 corners."""
    result = np.zeros(len(points), dtype=bool)
    if len(polygon) < 3:
        return result
    x, y = points[:, 0], points[:, 1]
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crossed = (y0 > y) != (y1 > y)
        if crossed.any():
            result ^= crossed & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return result


def _pca(rows: np.ndarray) -> Projection:
    """The first two principal components; each points to where its largest loading is positive."""
    centred = np.asarray(rows, dtype=np.float64) - np.mean(rows, axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    leading = axes[:, ::-1][:, :2]
    if leading.shape[1] < 2:
        leading = np.pad(leading, ((0, 0), (0, 2 - leading.shape[1])))
    largest = leading[np.abs(leading).argmax(axis=0), np.arange(2)]
    points: np.ndarray = centred @ (leading * np.where(largest < 0, -1.0, 1.0))
    total = float(values.sum())
    return Projection(points, float(np.sort(values)[-2:].sum() / total) if total > 0 else 0.0)


def _umap(rows: np.ndarray) -> Projection:
    from umap import UMAP  # type: ignore[import-not-found]

    return Projection(
        np.asarray(UMAP(metric="cosine", random_state=0).fit_transform(rows), dtype=np.float64), None
    )


def _turned(points: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Orthogonal Procrustes: the rotation or reflection of `points` about their centre that is nearest to `towards`."""
    centred, aim = points - points.mean(axis=0), towards - towards.mean(axis=0)
    left, _, right = np.linalg.svd(centred.T @ aim)
    turned: np.ndarray = centred @ (left @ right)
    return turned


def _scaled(points: np.ndarray) -> np.ndarray:
    """Both axes by one factor, so that the farthest coordinate is 1."""
    far = float(np.abs(points).max()) if len(points) else 0.0
    return points / far if far > 0 else points
