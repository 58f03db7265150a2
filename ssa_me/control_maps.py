"""Maps that an explanation is held against: the backbone's raw attention, and a gradient map of each version.

It drives `Passes` for a batch of images with a phrase each; its caller holds the lock and is not in inference mode, for
the gradient needs a graph. B images, N image tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssa_me.checkpoint import VERSIONS
from ssa_me.passes import Passes
from ssa_me.salience import relevance


@dataclass(frozen=True)
class ControlMaps:
    """Maps of one image and phrase over its image tokens (N,): attention of the backbone without adapters, a share of
    the last token's; gradient: version → |gradient × input| of the cosine of phrase and image, at the tokens V."""

    attention: np.ndarray
    gradient: dict[str, np.ndarray]


def control_maps(passes: Passes, images: Sequence[Image.Image], phrases: Sequence[str]) -> list[ControlMaps]:
    """The maps of each image for its phrase.

    Gradient × input: Shrikumar et al., 2016 (arXiv 1605.01713), summed over D, its absolute value. Salience and regions
    are held fixed, as in the index; features that a family feeds into later layers are held fixed too.
    """
    with torch.no_grad():
        visual = passes.backbone.vision_pass(images)
        found = passes.salience(visual, images, [None] * len(images))
        spoken = passes.speak(phrases)
        passes.adapters.use(None)
        plain = passes.backbone.language_pass(phrases, visual, collect_rows=True)
        assert plain.rows is not None and plain.hidden is not None
        mean = relevance.layer_mean(plain.rows.float(), passes.settings.layers)
        attention = (mean * ~relevance.sink_tokens(plain.hidden)).cpu().numpy()
    gradients: dict[str, Tensor] = {}
    for version in VERSIONS:
        with torch.enable_grad():
            tokens = visual.tokens.detach().clone().requires_grad_()
            seen = visual.with_tokens(tokens, visual.deep)
            outputs = passes.read([""] * len(images), seen, found, (version,))
            vectors = passes.image_vectors(outputs, seen, found)[version]
            cosine = (vectors * spoken[version].to(vectors)).sum()
            (gradient,) = torch.autograd.grad(cosine, tokens)
        gradients[version] = (gradient * tokens).detach().float().sum(-1).abs()
    return [
        ControlMaps(attention[b, :count], {v: rows[b, :count].cpu().numpy() for v, rows in gradients.items()})
        for b, count in enumerate(visual.counts())
    ]
