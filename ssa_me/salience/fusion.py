"""From pixels to tokens, and the fusion S = max_k E_k^a * R_k^(1-a). Knows nothing of models or experts.

Boxes are `(N, 4)` as `x0, y0, x1, y1` in pixels of the upright image, one a token, in any layout; a token without a
place has a box without an area. Values are never stretched to their maximum: an absent subject stays dark.
"""

from __future__ import annotations

import numpy as np


def fuse(expert: np.ndarray, relevance: np.ndarray, exponent: float = 0.5) -> np.ndarray:
    """Salience `(N,)` float32 in [0, 1] of K subjects: the largest of `expert`^a * `relevance`^(1-a), a = `exponent`.

    Both are `(K, N)`, a row a subject, and are clipped to [0, 1]. Exponent 1 trusts the expert alone, 0 the relevance
    alone. Without a subject (K = 0) all is dark. Raises ValueError where shapes differ or the exponent leaves [0, 1].
    """
    if expert.shape != relevance.shape or expert.ndim != 2:
        raise ValueError(
            f"expert {expert.shape} and relevance {relevance.shape} must both be (subjects, tokens)"
        )
    if not 0 <= exponent <= 1:
        raise ValueError(f"the exponent must lie in [0, 1], not {exponent}")
    each = np.clip(expert, 0, 1) ** exponent * np.clip(relevance, 0, 1) ** (1 - exponent)
    return np.asarray(each.max(axis=0, initial=0.0), np.float32)


def to_tokens(maps: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean of each map inside each token's box: `(..., H, W)` over an image of `size` (width, height) -> `(..., N)`.

    A map covers the whole image at any resolution, each cell one constant value, and the mean is exact: cells that a box
    covers in part count in part. What lies outside of the image does not count; a box without an area gives 0.
    """
    height, width = maps.shape[-2:]
    integral = np.zeros((*maps.shape[:-2], height + 1, width + 1))
    integral[..., 1:, 1:] = maps.cumsum(-1, dtype=np.float64).cumsum(-2)
    x0, x1 = (np.clip(boxes[:, c] * (width / size[0]), 0, width) for c in (0, 2))
    y0, y1 = (np.clip(boxes[:, c] * (height / size[1]), 0, height) for c in (1, 3))
    total = _at(integral, x1, y1) - _at(integral, x0, y1) - _at(integral, x1, y0) + _at(integral, x0, y0)
    area = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    return np.asarray(np.where(area > 1e-9, total / np.maximum(area, 1e-9), 0), np.float32)


def _at(integral: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The integral image `(..., H + 1, W + 1)` at real coordinates `(N,)`: linear between corners, which is exact."""
    left = np.minimum(x.astype(int), integral.shape[-1] - 2)
    top = np.minimum(y.astype(int), integral.shape[-2] - 2)
    right_share, lower_share = x - left, y - top
    upper = integral[..., top, left] * (1 - right_share) + integral[..., top, left + 1] * right_share
    lower = integral[..., top + 1, left] * (1 - right_share) + integral[..., top + 1, left + 1] * right_share
    return np.asarray(upper * (1 - lower_share) + lower * lower_share)
