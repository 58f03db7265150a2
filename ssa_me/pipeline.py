"""The full salience: a visual expert's maps × semantic relevance of named subjects, fused on image tokens.

What the salience head was distilled to replace: the language model reads every image once a subject, and the expert
looks for each. It drives `Passes` and an expert; it lists no subjects and holds no lock.

B images, K subjects, the same of all of them, N image tokens (padded to the longest image). Salience is absolute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ssa_me.devices import in_batches
from ssa_me.outputs import VisualBatch
from ssa_me.passes import Passes, Salient, found_regions
from ssa_me.salience import relevance
from ssa_me.salience.experts import VisualExpert
from ssa_me.salience.fusion import fuse, to_tokens

_READ_AT_ONCE = 64  # sequences of one language pass; fewer where memory runs out


def full_salience(
    passes: Passes,
    expert: VisualExpert,
    visual: VisualBatch,
    images: Sequence[Image.Image],
    phrases: Sequence[str],
) -> Salient:
    """Salience of B images for the subjects that `phrases` name: the largest over the subjects."""
    maps = fused(expert_maps(expert, visual, images, phrases), relevance_maps(passes, visual, phrases))
    salience, every = torch.from_numpy(maps.max(1)).to(visual.tokens), [True] * len(images)
    return found_regions(salience, visual, passes.settings.likeness, every)


def expert_maps(
    expert: VisualExpert, visual: VisualBatch, images: Sequence[Image.Image], phrases: Sequence[str]
) -> np.ndarray:
    """The expert's maps on the tokens: (B, K, N) float32 in [0, 1], 0 on padding."""
    result = np.zeros((len(images), len(phrases), visual.valid.shape[1]), np.float32)
    found = expert.maps(images, [phrases] * len(images))
    for b, (maps, count) in enumerate(zip(found, visual.counts(), strict=True)):
        result[b, :, :count] = to_tokens(maps, visual.boxes[b, :count], images[b].size)
    return result


def relevance_maps(passes: Passes, visual: VisualBatch, phrases: Sequence[str]) -> np.ndarray:
    """Semantic relevance R of each phrase: (B, K, N) float32 in [0, 1], attention with it ÷ without, sinks removed, by
    the backbone as it is."""
    passes.adapters.use(None)
    asked = [*phrases, ""]

    def read(part: Sequence[int]) -> list[np.ndarray]:
        repeated = visual.select([b for b in part for _ in asked])
        output = passes.backbone.language_pass([*asked] * len(part), repeated, collect_rows=True)
        assert output.rows is not None and output.hidden is not None
        mean = relevance.layer_mean(output.rows.float(), passes.settings.layers)
        attention = relevance.normalise_attention(
            mean, repeated.valid, relevance.sink_tokens(output.hidden)
        ).unflatten(0, (len(part), len(asked)))
        named, generic = attention[:, :-1].flatten(0, 1), attention[:, -1:].expand(-1, len(phrases), -1)
        valid = repeated.valid.unflatten(0, (len(part), len(asked)))[:, :-1].flatten(0, 1)
        relative = relevance.relative_relevance(named, generic.flatten(0, 1), valid)
        return list(relative.cpu().numpy().astype(np.float32).reshape(len(part), len(phrases), -1))

    result = np.zeros((len(visual), len(phrases), visual.valid.shape[1]), np.float32)
    rows = in_batches(read, range(len(visual)), max(1, _READ_AT_ONCE // len(asked)))
    for b, row in enumerate(rows):
        result[b, :, : row.shape[1]] = row
    return result


def fused(expert: np.ndarray, semantic: np.ndarray) -> np.ndarray:
    """Each subject's own salience (B, K, N) from both."""
    flat = [
        fuse(e[None], r[None])
        for e, r in zip(
            expert.reshape(-1, expert.shape[-1]), semantic.reshape(-1, expert.shape[-1]), strict=True
        )
    ]
    return np.array(flat, np.float32).reshape(expert.shape)
