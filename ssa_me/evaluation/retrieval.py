"""Ranks and retrieval measures from scores. It knows nothing of models, images or files.

Scores are cosines, queries in rows. Ranks count from 1 and are pessimistic: a wrong candidate whose score is within
`TIE` of a right one stands before it, so a model that gives everything the same vector gets the last rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ssa_me.late_interaction import Shown, mixed

TIE = 1e-6
"""Cosines this close are equal: what float32 arithmetic can tell apart."""

CUTOFFS = (1, 5, 10)
_NDCG_AT = 10
_ROWS = 512


def similarity(
    queries: np.ndarray,
    candidates: np.ndarray,
    subjects: Sequence[np.ndarray] | None = None,
    stated: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Scores `(Q, C)` of unit queries `(Q, D)` and unit candidates `(C, D)`.

    With `subjects`, C arrays `(K_c, D)` of unit vectors, and `stated`, Q arrays `(S_q, D)` of what each query states, the
    score is that of `late_interaction`; a candidate without subjects, and a query that states nothing, keeps cos(q, e).
    """
    scores: np.ndarray = queries @ candidates.T
    if subjects is None or stated is None:
        return scores
    shown = Shown.of(subjects)
    for row, said in zip(scores, stated, strict=True):
        if len(said):
            row[:] = mixed(row, shown.agreements(said))
    return scores


def pessimistic_ranks(scores: np.ndarray, relevant: Sequence[int]) -> np.ndarray:
    """Ranks `(R,)`, ascending, of the relevant candidates among `scores` `(C,)`.

    The j-th best relevant candidate stands behind j - 1 relevant ones and behind every irrelevant one that scores as
    much. A score that is not a number stands last.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    right = np.zeros(len(scores), dtype=bool)
    right[list(relevant)] = True
    best_first = np.sort(scores[right])[::-1]
    wrong = np.sort(scores[~right])
    before = len(wrong) - np.searchsorted(wrong, best_first - TIE, side="left")
    ranks: np.ndarray = before + np.arange(1, len(best_first) + 1)
    return ranks


def ndcg(ranks: np.ndarray, at: int = _NDCG_AT) -> float:
    """Normalised discounted cumulative gain of the relevant candidates' `ranks` `(R,)`, each of gain 1."""
    gain = (1 / np.log2(ranks[ranks <= at] + 1)).sum()
    ideal = (1 / np.log2(np.arange(1, min(len(ranks), at) + 1) + 1)).sum()
    return float(gain / ideal)


def average_precision(ranks: np.ndarray) -> float:
    """Mean over the relevant candidates' `ranks` `(R,)`, ascending, of the share of relevant ones down to each."""
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


@dataclass(frozen=True)
class Retrieval:
    """Per query: the best rank of a relevant candidate `(Q,)`, and nDCG@10 `(Q,)`."""

    best_rank: np.ndarray
    ndcg: np.ndarray

    def measures(self) -> dict[str, np.ndarray]:
        """Values per query `(Q,)` whose means are recall@1, @5, @10 (any relevant one counts) and nDCG@10."""
        recalls = {f"recall@{k}": (self.best_rank <= k).astype(np.float64) for k in CUTOFFS}
        return recalls | {f"ndcg@{_NDCG_AT}": self.ndcg}

    def to_json(self) -> dict[str, float]:
        means = {name: float(values.mean()) for name, values in self.measures().items()}
        gain = means.pop(f"ndcg@{_NDCG_AT}")
        median = float(np.median(self.best_rank))
        return {"queries": len(self.best_rank), **means, "median_rank": median, f"ndcg@{_NDCG_AT}": gain}


def score_rows(
    queries: np.ndarray,
    candidates: np.ndarray,
    subjects: Sequence[np.ndarray] | None = None,
    stated: Sequence[np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """The rows `(C,)` of `similarity`, query by query, without holding them all."""
    for start in range(0, len(queries), _ROWS):
        said = stated[start : start + _ROWS] if stated is not None else None
        yield from similarity(queries[start : start + _ROWS], candidates, subjects, said)


def retrieve(rows: Iterable[np.ndarray], relevant: Sequence[Sequence[int]]) -> Retrieval:
    """Rank all candidates for every query by its row of scores `(C,)`.

    `relevant[i]` lists the candidates that are right for query i, one or more.
    """
    ranks = [pessimistic_ranks(row, right) for row, right in zip(rows, relevant, strict=True)]
    return Retrieval(np.array([found[0] for found in ranks]), np.array([ndcg(found) for found in ranks]))
