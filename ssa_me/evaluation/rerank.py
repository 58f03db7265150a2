"""`+rerank` of candidates by their scores: the best are read again together with the text (`rereading`). It knows no files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ssa_me.late_interaction import agreements
from ssa_me.rereading import agreement, reread, statements, together
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
    """Scores `(C,)` in which the best 20 are how well `text` agrees with image and text together, and with what is indexed of the
    image where its subjects have codes; the rest stays behind.

    `load` gives the sample of a candidate, an image. Where a tie decides who is among the 20, `relevant` ones stay out:
    ranks are pessimistic.
    """
    order = np.lexsort((np.isin(np.arange(len(scores)), relevant), -scores))[:RERANKED]
    said = statements(text, embedder)
    meant = embedder.embed([Sample(s.meant) for s in said], versions=(version,)).vectors[version]
    images = [image for row in order if (image := load(int(row)).image) is not None]
    reranked = scores - _BEHIND
    read = agreement(reread(images, said, embedder, (version,))[version], meant)
    reranked[order] = together(read, _indexed(images, text, version, embedder))
    return reranked


def _indexed(images: Sequence[Image.Image], text: str, version: str, embedder: SalientEmbedder) -> np.ndarray:
    """(C,) how well what would be indexed of the images agrees with what the text states; NaN where there is nothing, or no
    codes."""
    if not embedder.has_codes(version):
        return np.full(len(images), np.nan)
    samples = [*(Sample(image=image) for image in images), Sample(text)]
    *rows, stated = embedder.embed(samples, versions=(version,), subjects=True).subject_vectors[version]
    return agreements(rows, stated)
