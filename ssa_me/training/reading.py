"""Texts as a frozen model reads them, each once. Stages that train what stands behind SSA-ME's adapter share it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssa_me.training.adapter_stages import SalientStage

_AT_ONCE = 64


class Texts:
    """What was read by now."""

    def __init__(self, stage: SalientStage) -> None:
        self.stage = stage
        self._known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(P, D) float32 of unit length: texts as they are read alone."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            with torch.no_grad():
                rows = self.stage.say(new, _AT_ONCE)
            self._known |= dict(zip(new, rows.float(), strict=True))
        nothing = torch.zeros(
            0, self.stage.material.backbone.width, device=self.stage.material.backbone.device
        )
        return torch.stack([self._known[text] for text in texts]) if texts else nothing
