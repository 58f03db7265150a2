"""What a step of pairs computes, for either adapter: L_nce between queries and targets, listed negatives among these.

It wraps the adapter's own stage, whose steps are batches of images; a corpus of both draws a set for each step. It
knows nothing of optimisers or files.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssa_me import objectives
from ssa_me.outputs import VisualBatch
from ssa_me.training.adapter_stages import BaselineStage, SalientStage, encode
from ssa_me.training.gradcache import Losses, Representations
from ssa_me.training.pairs import PairBatch, PairPart
from ssa_me.training.sources import PairSource
from ssa_me.training.stages import weighted

_SPOKEN = 48


class WithPairs(nn.Module):
    """An adapter's stage whose corpus holds sets of pairs; with batches of images it is that stage."""

    def __init__(self, of_images: BaselineStage | SalientStage) -> None:
        super().__init__()
        self.of_images = of_images
        self.material = of_images.material

    def batch(self, step: int) -> Any:
        material = self.material
        corpus, seed, size = material.corpus, material.seed, material.settings.batch
        if not isinstance(corpus.sources[corpus.source(seed, step)], PairSource):
            return self.of_images.batch(step)
        draw = corpus.pairs(seed, step, size)
        corpus.ahead(seed, step + 1, size)
        return PairBatch.of(draw, material.backbone.device)

    def cut(self, whole: Any, chunks: int) -> Any:
        return whole.parts(chunks) if isinstance(whole, PairBatch) else self.of_images.cut(whole, chunks)

    def represent(self, part: Any) -> tuple[Representations, Any]:
        """Of pairs: seen (·, D), sides with an image; spoken (·, D), texts alone; of unit length."""
        if not isinstance(part, PairPart):
            return self.of_images.represent(part)
        return {"seen": self._read(part), "spoken": self._speak(part)}, None

    def compare(self, whole: Any, representations: Representations) -> Losses:
        if not isinstance(whole, PairBatch):
            return self.of_images.compare(whole, representations)
        rows = torch.cat([representations["seen"], representations["spoken"]])
        queries, targets = rows[whole.queries], rows[whole.targets]
        nce = objectives.info_nce(queries, targets, self.of_images.temperature(), whole.same)
        return weighted({"nce": nce}, {}, nce)

    def beside(self, part: Any, kept: Any, representations: Representations) -> Losses:
        if not isinstance(part, PairPart):
            return self.of_images.beside(part, kept, representations)
        return weighted({}, {}, representations["seen"])

    def _read(self, part: PairPart) -> Tensor:
        if not part.seen:
            return self._nothing()
        return self.of_images.read(part.beside_images, self._tokens(part))

    def _speak(self, part: PairPart) -> Tensor:
        return self.of_images.say(part.texts, _SPOKEN) if part.spoken else self._nothing()

    def _nothing(self) -> Tensor:
        backbone = self.material.backbone
        return torch.zeros(0, backbone.width, device=backbone.device)

    def _tokens(self, part: PairPart) -> VisualBatch:
        if not part.tokens:
            part.tokens.append(encode(self.material.backbone, part.items))
        return part.tokens[0].to(self.material.backbone.dtype)
