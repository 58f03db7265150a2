"""What one step of the salience head computes on its own, after SSA-ME's adapter: L_head, on the images that have regions.

The adapter spends most of its steps on what has none, and the phrases' vectors move under the head until it ends. Here
both are frozen, so that steps are cheap. It knows nothing of optimisers or files.

B images, P distinct phrases, N image tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

from ssa_me.outputs import VisualBatch
from ssa_me.training.adapter_stages import SalientStage
from ssa_me.training.batches import Batch, Part
from ssa_me.training.gradcache import Losses, Representations
from ssa_me.training.head_losses import free_losses, phrase_losses
from ssa_me.training.reading import Steps, Texts
from ssa_me.training.recipe import Salience
from ssa_me.training.stages import weighted
from ssa_me.training.things import Sought


@dataclass(frozen=True)
class SoughtBatch:
    """A step: the batch, and the phrases that the head looks for."""

    batch: Batch
    sought: Sought


@dataclass(frozen=True)
class SoughtPart:
    """A part of it."""

    some: Part
    sought: Sought


class SalienceStage(nn.Module):
    """L_head of every named region, asked for by its phrase or by less, and, half of the time, of one that is not there."""

    def __init__(self, stage: SalientStage, settings: Salience) -> None:
        super().__init__()
        self.head = stage.parts.head
        self.head.requires_grad_(True)
        self.settings, self.material = settings, stage.material
        self.texts = Texts(stage)
        self._steps = Steps(lambda step: self.cut(self.batch(step), settings.chunks))

    def batch(self, step: int) -> SoughtBatch:
        batch, seed = self.material.unread(step, self.settings.batch), self.material.seed
        called = batch.named.reworded(self.settings.reworded, np.random.default_rng((seed, step, 3)))
        sought = Sought.of(batch, seed, 1.0, called.phrases)
        return SoughtBatch(replace(batch, named=called), sought)

    def cut(self, whole: SoughtBatch, chunks: int) -> list[SoughtPart]:
        return [SoughtPart(part, whole.sought) for part in whole.batch.parts(chunks)]

    def represent(self, part: SoughtPart) -> tuple[Representations, VisualBatch]:
        """phrases (P, D) of unit length, without a gradient; and the image tokens."""
        for earlier in self._steps.before(part.some.batch.step):
            self.texts(earlier.some.phrases)
        return {"phrases": self.texts(part.some.phrases)}, self.material.tokens(part.some)

    def compare(self, whole: SoughtBatch, representations: Representations) -> Losses:
        nothing: Tensor = self.head.no_phrase.sum() * 0.0
        return weighted({}, {}, nothing) | {"loss": nothing}

    def beside(self, part: SoughtPart, kept: VisualBatch, representations: Representations) -> Losses:
        free = self.head(kept.tokens, kept.valid, kept.centres)
        losses = free_losses(part.some, free, kept.valid)
        losses |= phrase_losses(self.head, part.some, part.sought, kept, representations["phrases"])
        return weighted(losses, {}, free)
