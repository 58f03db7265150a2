"""What a frozen model reads, each once and in the order of the steps. Stages that train what stands behind SSA-ME's adapter
share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ssa_me.training.adapter_stages import SalientStage

_AT_ONCE = 64
Part = TypeVar("Part")


class Steps(Generic[Part]):
    """Which steps were read by now: what stands in a batch together is read together, so that a resumed run, which reads
    first what came before it, sees the same to the last bit. cut: the parts of a step."""

    def __init__(self, cut: Callable[[int], Sequence[Part]]) -> None:
        self.cut, self._last = cut, -1

    def before(self, step: int) -> Iterator[Part]:
        """The parts of the earlier ones that have not been; `step` has been from now on."""
        unread = range(self._last + 1, step)
        self._last = max(self._last, step)
        for earlier in unread:
            yield from self.cut(earlier)


class Texts:
    """Texts that were read by now."""

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
        if not texts:
            backbone = self.stage.material.backbone
            return torch.zeros(0, backbone.width, device=backbone.device)
        return torch.stack([self._known[text] for text in texts])
