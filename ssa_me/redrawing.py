"""An image embedded with subject regions that someone drew, in place of those that were found.

It drives `Passes` for one image; its caller holds the lock. A drawn box stands for full salience inside and none
outside; a token that it covers in part counts in part. N image tokens, K boxes, D width; boxes are x, y, width, height
in pixels of the upright image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.outputs import VisualBatch
from ssa_me.passes import MOST_SUBJECTS, Passes, Salient
from ssa_me.salience.regions import TokenRegion, coverage
from ssa_me.samples import BBox


@dataclass(frozen=True)
class Redrawn:
    """vectors: version → (D,) of the image alone, unit length. subject_vectors: version → (K + P + 1, D), of the regions, of
    the relations between them, and of the ground. salience (N,): what was drawn, on the tokens; boxes (N, 4) of these, x0, y0, x1, y1."""

    vectors: Mapping[str, np.ndarray]
    subject_vectors: Mapping[str, np.ndarray]
    salience: np.ndarray
    boxes: np.ndarray


def embed_redrawn(passes: Passes, image: Image.Image, drawn: Sequence[BBox]) -> Redrawn:
    """Both versions' embedding of `image` with the `drawn` regions, as the index would hold it.

    Raises InputError where there are more than `MOST_SUBJECTS` boxes, or one lies outside of the image.
    """
    if len(drawn) > MOST_SUBJECTS:
        raise InputError(
            f"There are {len(drawn)} regions; an image keeps {MOST_SUBJECTS} at most. Remove some."
        )
    visual = passes.backbone.vision_pass([image])
    found = _salient(drawn, visual)
    outputs = passes.read([""], visual, found)
    vectors = {v: rows[0].cpu().numpy() for v, rows in passes.image_vectors(outputs, visual, found).items()}
    subjects = {v: passes.region_vectors(v, output, visual, found)[0] for v, output in outputs.items()}
    return Redrawn(vectors, subjects, found.salience[0].float().cpu().numpy(), visual.boxes[0])


def _salient(drawn: Sequence[BBox], visual: VisualBatch) -> Salient:
    """The regions as salience of the one image in `visual`. Without any, all of it is dark."""
    shares = [coverage(visual.boxes[0], bbox) for bbox in drawn]
    if not all(share.any() for share in shares):
        raise InputError("A region lies outside of the image. Draw it on the image.")
    regions = tuple(
        TokenRegion(share, bbox, float(share[share > 0].mean()))
        for bbox, share in zip(drawn, shares, strict=True)
    )
    salience = np.max(shares, axis=0) if shares else np.zeros(visual.boxes.shape[1], np.float32)
    return Salient(torch.from_numpy(salience)[None].to(visual.tokens), (regions,), (False,))
