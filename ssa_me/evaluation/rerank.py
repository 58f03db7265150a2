"""`+rerank`: the best candidates of a text read again together with it, under the salience that it conditions.

A model that reads an image with a text answers with what is true of the image, so the text's own vector is near only where
the text is true. One that never learned that embeds the image alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
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
    """Scores `(C,)` in which the best 20 are cosines of `text` with image and text together; the rest stays behind.

    `load` gives the sample of a candidate. Where a tie decides who is among the 20, `relevant` ones stay out: ranks are
    pessimistic.
    """
    order = np.lexsort((np.isin(np.arange(len(scores)), relevant), -scores))[:RERANKED]
    query = embedder.embed([Sample(text)], versions=(version,)).vectors[version][0]
    told = text if embedder.reads_claims else None
    pairs = [replace(load(int(row)), text=told) for row in order]
    again = embedder.embed(pairs, versions=(version,), conditioned_on=text)
    reranked = scores - _BEHIND
    reranked[order] = again.vectors[version] @ query
    return reranked
