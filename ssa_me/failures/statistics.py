"""Is a property more frequent among failures than chance allows? Exact tests, corrected for testing many properties.

Pure functions of counts. It knows no queries.
"""

from __future__ import annotations

from functools import lru_cache
from math import lgamma

import numpy as np


def upper_tail(hits: np.ndarray, drawn: np.ndarray, marked: int, total: int) -> np.ndarray:
    """P(X ≥ hits) `(T,)`: of `total` queries `marked` failed, `drawn` of them have a property; X of those failed.

    X is hypergeometric, so this is Fisher's exact test, one-sided. Sums of exact terms in logarithms; every count is 0 or
    more, `drawn` and `marked` at most `total`.
    """
    logs = _log_factorials(total)
    result = np.ones(len(hits))
    for place, (x, n) in enumerate(zip(np.asarray(hits), np.asarray(drawn), strict=True)):
        least, most = max(0, n + marked - total), min(n, marked)
        if x > least:
            ks = np.arange(x, most + 1)
            terms = (
                _choose(logs, marked, ks) + _choose(logs, total - marked, n - ks) - _choose(logs, total, n)
            )
            result[place] = min(1.0, float(np.exp(terms).sum())) if len(ks) else 0.0
    return result


def adjusted(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q-values `(T,)` of p-values `(T,)`: the least false discovery rate at which each is
    kept ("Controlling the false discovery rate", 1995)."""
    count = len(p)
    order = np.argsort(p, kind="stable")[::-1]
    scaled = p[order] * count / np.arange(count, 0, -1)
    q = np.empty(count)
    q[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return q


@lru_cache(maxsize=4)
def _log_factorials(most: int) -> np.ndarray:
    return np.array([lgamma(n + 1) for n in range(most + 1)])


def _choose(logs: np.ndarray, n: int, k: np.ndarray | int) -> np.ndarray:
    """ln of n over k."""
    chosen: np.ndarray = logs[n] - logs[k] - logs[n - k]
    return chosen
