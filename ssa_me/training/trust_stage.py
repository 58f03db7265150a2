"""What one step of SSA-ME's trust computes, after its composition: how far subjects count in the one vector.

All else is frozen. On the scenes that codes were learned from they are right nearly always; what they are worth shows on
others. It knows nothing of optimisers or files.

B images or texts, D width.
"""

from __future__ import annotations

import torch
from torch import nn

from ssa_me import objectives
from ssa_me.composition import Seen, Spoken, SubjectComposition
from ssa_me.training.adapter_stages import SalientStage
from ssa_me.training.batches import Batch, Part
from ssa_me.training.composition_stage import Memory
from ssa_me.training.gradcache import Losses, Representations
from ssa_me.training.reading import Steps
from ssa_me.training.recipe import Trust
from ssa_me.training.stages import Temperature, weighted

_TOGETHER = 2
"""A text that states so many things or more asks for their binding."""


class TrustStage(nn.Module):
    """L_nce of what is composed of the subjects that are found, and L_twin, each with a temperature of its own."""

    def __init__(self, stage: SalientStage, settings: Trust) -> None:
        super().__init__()
        self.composition: SubjectComposition = stage.parts.composition
        self.composition.requires_grad_(False)
        for taught in (self.composition.gates, self.composition.shares, *self.composition.trust.parameters()):
            taught.requires_grad_(True)
        self.temperature, self.twin_temperature = (Temperature(settings.temperature) for _ in range(2))
        self.settings, self.material = settings, stage.material
        self.memory = Memory(stage)
        self._steps = Steps(lambda step: self.cut(self.batch(step), settings.chunks))

    def emphasise(self, factor: float) -> None:
        """Let subjects count `factor` times as much."""
        with torch.no_grad():
            self.composition.gates.mul_(factor)

    def batch(self, step: int) -> Batch:
        return self.material.unread(step, self.settings.batch)

    def cut(self, whole: Batch, chunks: int) -> list[Part]:
        return whole.parts(chunks)

    def represent(self, part: Part) -> tuple[Representations, None]:
        """images, texts (B, D) composed, of unit length."""
        for earlier in self._steps.before(part.batch.step):
            self.memory.images(earlier)
            self.memory.texts(Spoken.of(earlier.captions).readings)
        composition, known = self.composition, self.memory.images(part)
        seen = Seen(
            torch.stack([one.found for one in known]),
            torch.stack([one.present for one in known]),
            torch.stack([one.places for one in known]),
            torch.stack([one.ground for one in known]),
        ).coded(composition)
        spoken = Spoken.of(part.captions)
        own = self.memory.texts(spoken.readings)
        said = spoken.said(composition, composition.phrase_codes(own))
        return {
            "images": composition.compose(torch.stack([one.vector for one in known]), seen),
            "texts": composition.compose_text(own[: len(part)], said),
        }, None

    def compare(self, whole: Batch, representations: Representations) -> Losses:
        texts, images = representations["texts"], representations["images"]
        losses = {"nce": objectives.info_nce(texts, images, self.temperature(), whole.same())}
        if whole.group > 1:
            asked = (Spoken.of(whole.draw.texts).count >= _TOGETHER).to(texts.device)
            losses["twin"] = objectives.twin_contrast(
                texts, images, self.twin_temperature(), whole.same(), whole.group, asked
            )
        return weighted(losses, {"twin": self.settings.twins}, images)

    def beside(self, part: Part, kept: None, representations: Representations) -> Losses:
        return weighted({}, {}, representations["images"])
