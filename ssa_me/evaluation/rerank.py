"""`+rerank`: the best candidates of a text embedded again, with the salience conditioned on that text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

RERANKED = 20
_BEHIND = 3.0  # more than cosines can differ by


def rerank(
    scores: np.ndarray,
    text: str,
    load: Callable[[int], Sample],
    version: str,
    embedder: SalientEmbedder,
    relevant: Sequence[int],
) -> np.ndarray:
    """Scores `(C,)` in which the best 20 are cosines of `text` with the conditioned embeddings; the rest stays behind.

    `load` gives the sample of a candidate. Where a tie decides who is among the 20, `relevant` ones stay out: ranks are
    pessimistic.
    """
    order = np.lexsort((np.isin(np.arange(len(scores)), relevant), -scores))[:RERANKED]
    query = embedder.embed([Sample(text)], versions=(version,)).vectors[version][0]
    again = embedder.embed([load(int(row)) for row in order], versions=(version,), conditioned_on=text)
    reranked = scores - _BEHIND
    reranked[order] = again.vectors[version] @ query
    return reranked
