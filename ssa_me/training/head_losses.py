"""What the salience head loses in one part of a batch: query-free, and by phrases that are there or are not.

Each is the part's share of the mean over the whole batch. It knows nothing of stages, of language models or of where
phrases' vectors come from. B images, R named regions, P distinct phrases, N image tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ssa_me import objectives
from ssa_me.outputs import VisualBatch
from ssa_me.salience.head import SalienceHead
from ssa_me.training.batches import Part, share_of
from ssa_me.training.gradcache import Losses
from ssa_me.training.things import Sought


def free_losses(some: Part, free: Tensor, valid: Tensor) -> Losses:
    """L_head without a phrase, of the head's logits (B, N): all named subjects of an image are salient. An image without
    any says nothing."""
    batch = some.batch
    everything = some.named.of_each_image(len(some))
    annotated = torch.tensor([len(item.phrases) > 0 for item in some.items], device=valid.device)
    loss = objectives.salience_bce(free, everything, valid & annotated[:, None])
    whole = batch.annotated_tokens(range(len(batch)))
    return {"head": share_of(loss, batch.annotated_tokens(some.images), whole)}


def phrase_losses(
    head: SalienceHead, some: Part, sought: Sought, visual: VisualBatch, phrases: Tensor
) -> Losses:
    """L_head with a phrase, by the vectors of all phrases of the batch (P, D): the named region where it is there, darkness
    where it is not. Empty where nothing of the part is looked for."""
    picked = [i for i, row in enumerate(sought.rows) if row in some.rows]
    if not picked:
        return {}
    batch, place = some.batch, some.batch.named.place
    rows, wrong, there = (
        torch.tensor([column[i] for i in picked], device=place.device)
        for column in (sought.rows, sought.wrong, sought.present)
    )
    own = rows - some.rows.start
    images, regions = some.named.image[own], some.named.regions[own]
    valid = visual.valid[images]
    looked = visual.tokens[images], valid, visual.centres[images]
    right = objectives.salience_bce(head(*looked, phrases[place[rows]]), regions, valid)
    dark = objectives.salience_bce(
        head(*looked, phrases[place[wrong]]), torch.zeros_like(regions), valid & ~there[:, None]
    )
    both = (some.rows, range(len(batch.named)))
    lit, unlit = ([sought.tokens(batch, rows, absent) for rows in both] for absent in (False, True))
    return {"named_head": share_of(right, *lit) + 0.5 * share_of(dark, *unlit)}
