"""Intervals by the cluster bootstrap. It knows nothing of models or metrics: only numbers and the cluster each is from.

Queries about one image (or one scene) are not independent, so whole clusters are drawn with replacement (Davison and
Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). Two models are compared on the same queries:
give the differences, one a query, and the interval is paired.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DRAWS = 2000
LEVEL = 0.95
_CHUNK = 4_000_000  # random numbers held at a time


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval, in the unit of the values."""

    value: float
    interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "interval": list(self.interval)}


def mean_draws(
    values: np.ndarray, clusters: Sequence[Hashable], *, seed: int | Sequence[int] = 0, draws: int = DRAWS
) -> np.ndarray:
    """Bootstrap means `(draws,)` of `values` `(N,)`, value i belonging to `clusters[i]`; N is 1 or more.

    Each draw takes as many clusters as there are, with replacement, and averages all their values.
    """
    if len(values) == 0 or len(values) != len(clusters):
        raise ValueError(
            f"{len(values)} values and {len(clusters)} clusters: one cluster a value, at least one value"
        )
    numbering: dict[Hashable, int] = {}
    index = np.array([numbering.setdefault(cluster, len(numbering)) for cluster in clusters])
    sums = np.bincount(index, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(index).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, _CHUNK // len(sums))
    for start in range(0, draws, step):
        drawn = rng.integers(len(sums), size=(min(step, draws - start), len(sums)))
        means[start : start + len(drawn)] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def interval(means: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of bootstrap means `(draws,)`."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def estimate(
    values: np.ndarray, clusters: Sequence[Hashable], *, seed: int | Sequence[int] = 0, draws: int = DRAWS
) -> Estimate | None:
    """The mean of `values` `(N,)` with its interval; NaN counts as undefined and is left out; None if nothing is left."""
    values = np.asarray(values, dtype=np.float64)
    defined = np.flatnonzero(~np.isnan(values))
    if len(defined) == 0:
        return None
    kept = values[defined]
    means = mean_draws(kept, [clusters[int(i)] for i in defined], seed=seed, draws=draws)
    return Estimate(float(kept.mean()), interval(means))
