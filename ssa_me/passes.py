"""The model's passes as the two versions run them: adapters mixed, salience found, tokens regenerated, subjects pooled.

One step below the facade. It holds no lock and no user input: its owner calls it under a lock and in inference mode.

B samples, N image tokens, K subjects of an image, D width. Boxes are in pixels of the upright image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone, LanguagePass, VisualBatch
from ssa_me.checkpoint import SSA_ME, VERSIONS, Parts, Settings
from ssa_me.regeneration import Regenerated, aggregate
from ssa_me.salience import relevance
from ssa_me.salience.experts import VisualExpert
from ssa_me.salience.fusion import to_tokens
from ssa_me.salience.regions import TokenRegion, peaks

MOST_SUBJECTS = 6


@dataclass(frozen=True)
class Salient:
    """Salience of a batch: (B, N) in [0, 1], and the regions of its peaks."""

    salience: Tensor
    regions: tuple[tuple[TokenRegion, ...], ...]

    @cached_property
    def stacked(self) -> Tensor:
        """(B, K, N) region weights, zeros where an image has fewer than the most."""
        batch, tokens = self.salience.shape
        stacked = np.zeros((batch, max((len(r) for r in self.regions), default=0), tokens), dtype=np.float32)
        for b, regions in enumerate(self.regions):
            for k, region in enumerate(regions):
                stacked[b, k, : len(region.weights)] = region.weights
        return torch.from_numpy(stacked).to(self.salience.device, self.salience.dtype)


class Passes:
    """What both versions share. distilled: a trained salience head is there; without one the expert finds salience."""

    def __init__(
        self,
        backbone: Backbone,
        adapters: Adapters,
        parts: Parts | None,
        settings: Settings,
        expert: VisualExpert,
    ) -> None:
        fresh = parts if parts is not None else Parts(backbone.width, settings)
        self.backbone, self.adapters, self.settings, self.expert = backbone, adapters, settings, expert
        self.parts = fresh.to(backbone.device, backbone.dtype).eval()
        self.untrained = (
            Parts(backbone.width, settings).regeneration.to(backbone.device, backbone.dtype).eval()
        )
        self.distilled = parts is not None

    def speak(self, texts: Sequence[str], versions: Sequence[str] = VERSIONS) -> dict[str, Tensor]:
        """Version → (B, D) float32 of unit length of texts without an image, all versions in one pass."""
        with self.adapters.mixed(versions, len(texts)):
            output = self.backbone.language_pass([*texts] * len(versions))
        return dict(zip(versions, output.embedding().split(len(texts)), strict=True))

    def read(
        self,
        texts: Sequence[str],
        visual: VisualBatch,
        found: Salient | None,
        versions: Sequence[str] = VERSIONS,
        rows: bool = False,
        control: bool = False,
    ) -> dict[str, LanguagePass]:
        """Version → its language pass, all in one: the baseline's on V, SSA-ME's on the regenerated V″ with its bias.

        control: the baseline too is suppressed by the same salience, without trained parts. Without it a comparison
        under conditioned salience would give SSA-ME regions that the baseline never had.
        """
        seen = [self._regenerated(version, visual, found, control) for version in versions]
        bias = torch.cat([bias for _, bias in seen]) if any(bias.any() for _, bias in seen) else None
        with self.adapters.mixed(versions, len(visual)):
            output = self.backbone.language_pass(
                [*texts] * len(versions), VisualBatch.join([batch for batch, _ in seen]), bias, rows
            )
        return dict(zip(versions, output.split(len(visual)), strict=True))

    def _regenerated(
        self, version: str, visual: VisualBatch, found: Salient | None, control: bool
    ) -> tuple[VisualBatch, Tensor]:
        """What a version reads, and its key bias (B, N)."""
        if found is None or (version != SSA_ME and not control):
            return visual, torch.zeros(visual.valid.shape, device=visual.valid.device)
        regeneration = self.parts.regeneration if version == SSA_ME else self.untrained
        regenerated: Regenerated = regeneration(visual, found.salience, found.stacked)
        return regenerated.visual, regenerated.key_bias

    def salience(
        self, visual: VisualBatch, images: Sequence[Image.Image], phrases: Sequence[str | None]
    ) -> Salient:
        """Salience for each image's phrase, None being query-free: the head's, or the expert's where none was
        trained."""
        if self.distilled:
            salience = self.head_salience(visual, phrases)
        else:
            rows = np.zeros(visual.valid.shape, dtype=np.float32)
            for b, (image, phrase) in enumerate(zip(images, phrases, strict=True)):
                count = int(visual.valid[b].sum())
                rows[b, :count] = self.expert_map(image, phrase or "", visual.boxes[b, :count])
            salience = torch.from_numpy(rows).to(visual.tokens)
        values = salience.float().cpu().numpy()
        counts = visual.counts()
        found = tuple(
            peaks(values[b, :count], visual.boxes[b, :count], MOST_SUBJECTS) for b, count in enumerate(counts)
        )
        return Salient(salience, found)

    def head_salience(self, visual: VisualBatch, phrases: Sequence[str | None]) -> Tensor:
        head = self.parts.head
        named = [i for i, phrase in enumerate(phrases) if phrase]
        salience: Tensor = head.salience(visual.tokens, visual.valid)
        if named:
            distinct = list(dict.fromkeys(phrases[i] or "" for i in named))
            spoken = self.speak(distinct, (SSA_ME,))[SSA_ME]
            rows = spoken[[distinct.index(phrases[i] or "") for i in named]].to(visual.tokens.dtype)
            salience[named] = head.salience(visual.tokens[named], visual.valid[named], rows)
        return salience

    def expert_map(self, image: Image.Image, phrase: str, boxes: np.ndarray) -> np.ndarray:
        return to_tokens(self.expert(image, [phrase])[0], boxes, image.size)

    def attention(self, visual: VisualBatch, found: Salient, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Version → (B, N): the last token's attention on image tokens, mean over heads and the chosen layers."""
        result = {}
        for version, output in self.read(texts, visual, found, rows=True).items():
            assert output.rows is not None and output.hidden is not None
            mean = relevance.layer_mean(output.rows.float(), self.settings.layers)
            result[version] = (mean * ~relevance.sink_tokens(output.hidden)).cpu().numpy()
        return result

    def subject_vectors(self, version: str, output: LanguagePass, found: Salient) -> tuple[np.ndarray, ...]:
        """B arrays (K_b, D): a_k = normalise(W · mean of H under M_k), W the identity for the baseline."""
        assert output.hidden is not None
        stacked = found.stacked
        if stacked.shape[1] == 0:
            return tuple(np.zeros((0, self.backbone.width), dtype=np.float32) for _ in found.regions)
        pooled = aggregate(output.hidden, stacked)
        if version == SSA_ME:
            pooled = self.parts.projection(pooled)
        rows = F.normalize(pooled.float(), dim=-1).cpu().numpy()
        return tuple(rows[b, : len(regions)] for b, regions in enumerate(found.regions))
