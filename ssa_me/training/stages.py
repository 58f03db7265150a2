"""What one training step computes: the base stage and the adapter stage, each a module from a batch to its losses.

They know models and objectives; they know nothing of optimisers, files or where batches come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssa_me import objectives
from ssa_me.backbone import Backbone, VisualBatch
from ssa_me.regeneration import FeatureRegeneration, aggregate
from ssa_me.salience.head import SalienceHead
from ssa_me.training.data import Corpus, Draw, Prepared, pad_coverage, same_meaning, stack_pixels
from ssa_me.training.recipe import Base, Weights

Losses = dict[str, Tensor]


class Stage(Protocol):
    """One stage: `forward(step)` gives the losses of that step's batch, their sum under "loss"."""

    def __call__(self, step: int) -> Losses: ...


class Temperature(nn.Module):
    """A learnable temperature, kept in [0.01, 1]."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(float(np.log(start))))

    def forward(self) -> Tensor:
        return self.log.clamp(float(np.log(0.01)), 0.0).exp()


def plain_contrast(
    backbone: Backbone, visual: VisualBatch, draw: Draw, items: Sequence[Prepared], temperature: Tensor
) -> Tensor:
    """L_nce of a batch's images alone and its texts, as the base stage and the baseline's adapter are trained."""
    images = backbone.language_pass([""] * len(items), visual).embedding()
    texts = backbone.language_pass(draw.texts).embedding()
    same = same_meaning(draw.texts, items).to(texts.device)
    return objectives.info_nce(texts, images, temperature, same)


class BaseStage(nn.Module):
    """Contrastive and captioning loss; vision tower and language model train as a whole."""

    def __init__(self, backbone: Backbone, corpus: Corpus, settings: Base, seed: int) -> None:
        super().__init__()
        self.model = backbone.model
        self.temperature = Temperature(settings.temperature)
        self.backbone, self.corpus, self.settings, self.seed = backbone, corpus, settings, seed
        self.model.requires_grad_(True)

    def forward(self, step: int) -> Losses:
        draw = self.corpus.draw(self.seed, step, self.settings.batch)
        items = self.corpus.items(draw)
        visual = self.backbone.encode_pixels(*stack_pixels(items))
        nce = plain_contrast(self.backbone, visual, draw, items, self.temperature())
        told = max(1, int(len(items) * self.settings.caption_share))
        caption = self.backbone.caption_loss(draw.texts[:told], visual.select(range(told)))
        return {
            "loss": nce + self.settings.caption * caption,
            "nce": nce.detach(),
            "caption": caption.detach(),
        }


@dataclass(frozen=True)
class TokenCache:
    """The image tokens of a whole corpus, one `VisualBatch` a source, in 16 bits: vision is frozen in this stage."""

    groups: tuple[VisualBatch, ...]

    @classmethod
    def of(cls, corpus: Corpus, backbone: Backbone, batch: int = 64) -> TokenCache:
        groups = []
        with torch.no_grad():
            for group in corpus.groups:
                parts = [
                    backbone.encode_pixels(*stack_pixels(group[i : i + batch])).to(torch.bfloat16)
                    for i in range(0, len(group), batch)
                ]
                groups.append(VisualBatch.join(parts))
        return cls(tuple(groups))

    def select(self, draw: Draw, dtype: torch.dtype) -> VisualBatch:
        return self.groups[draw.source].select(draw.indices).to(dtype)


class BaselineStage(nn.Module):
    """The baseline's adapter: L_nce alone."""

    def __init__(
        self, backbone: Backbone, corpus: Corpus, cache: TokenCache, batch: int, seed: int, temperature: float
    ) -> None:
        super().__init__()
        self.model = backbone.model
        self.temperature = Temperature(temperature)
        self.backbone, self.corpus, self.cache, self.batch, self.seed = backbone, corpus, cache, batch, seed

    def forward(self, step: int) -> Losses:
        draw = self.corpus.draw(self.seed, step, self.batch)
        visual = self.cache.select(draw, self.backbone.dtype)
        nce = plain_contrast(self.backbone, visual, draw, self.corpus.items(draw), self.temperature())
        return {"loss": nce, "nce": nce.detach()}


@dataclass(frozen=True)
class Subjects:
    """The annotated subjects of a batch, R in all: phrase, image (R,), region (R, N), same (R, R) equal phrases."""

    phrases: tuple[str, ...]
    image: Tensor
    regions: Tensor

    @classmethod
    def of(
        cls, phrases: Sequence[Sequence[str]], coverage: Sequence[Tensor], device: torch.device
    ) -> Subjects:
        rows = [
            (b, k)
            for b, regions in enumerate(coverage)
            for k in range(len(regions))
            if regions[k].sum() > 0.05
        ]
        width = coverage[0].shape[-1]
        regions = torch.stack([coverage[b][k] for b, k in rows]) if rows else torch.zeros(0, width)
        return cls(
            phrases=tuple(phrases[b][k] for b, k in rows),
            image=torch.tensor([b for b, _ in rows], dtype=torch.long, device=device),
            regions=regions.to(device),
        )

    def same(self) -> Tensor:
        unique = {phrase: i for i, phrase in enumerate(dict.fromkeys(self.phrases))}
        ids = torch.tensor([unique[p] for p in self.phrases], dtype=torch.long, device=self.image.device)
        return ids[:, None] == ids[None]

    def of_each_image(self, images: int) -> Tensor:
        """(B, N): all subjects of each image together."""
        everything = torch.zeros(images, self.regions.shape[-1], device=self.regions.device)
        rows = self.image[:, None].expand_as(self.regions)
        return everything.scatter_reduce(0, rows, self.regions, "amax")

    def stacked(self, images: int, most: int) -> Tensor:
        """(B, K, N): at most `most` regions of each image, zeros where it has fewer."""
        stacked = torch.zeros(images, most, self.regions.shape[-1], device=self.regions.device)
        filled = [0] * images
        for row, b in enumerate(self.image.tolist()):
            if filled[b] < most:
                stacked[b, filled[b]] = self.regions[row]
                filled[b] += 1
        return stacked


class SalientStage(nn.Module):
    """SSA-ME's adapter with salience head, regeneration and subject projection: all objectives."""

    MOST_SUBJECTS = 4

    def __init__(
        self,
        backbone: Backbone,
        corpus: Corpus,
        cache: TokenCache,
        batch: int,
        seed: int,
        temperature: float,
        weights: Weights,
        head: SalienceHead,
        regeneration: FeatureRegeneration,
        projection: nn.Linear,
    ) -> None:
        super().__init__()
        self.model = backbone.model
        self.temperature, self.subject_temperature = Temperature(temperature), Temperature(temperature)
        self.head, self.regeneration, self.projection = head, regeneration, projection
        self.backbone, self.corpus, self.cache, self.batch, self.seed = backbone, corpus, cache, batch, seed
        self.weights = weights

    def forward(self, step: int) -> Losses:
        draw = self.corpus.draw(self.seed, step, self.batch)
        items, visual = self.corpus.items(draw), self.cache.select(draw, self.backbone.dtype)
        count = len(items)
        subjects = Subjects.of([i.phrases for i in items], pad_coverage(items, visual), visual.tokens.device)
        everything = subjects.of_each_image(count)

        free = self.head(visual.tokens, visual.valid)
        salience = free.detach().sigmoid() * visual.valid
        regenerated = self.regeneration(visual, salience, subjects.stacked(count, self.MOST_SUBJECTS))
        alone = self.backbone.language_pass(
            [""] * count, regenerated.visual, regenerated.key_bias, collect_rows=True
        )
        assert alone.hidden is not None and alone.rows is not None
        distinct = list(dict.fromkeys(subjects.phrases))
        spoken = self.backbone.language_pass([*draw.texts, *distinct]).embedding()
        texts, named = spoken[:count], spoken[count:]
        images = alone.embedding()
        losses = {
            "nce": objectives.info_nce(
                texts, images, self.temperature(), same_meaning(draw.texts, items).to(texts.device)
            )
        }

        annotated = torch.tensor([len(item.phrases) > 0 for item in items], device=visual.tokens.device)
        known = visual.valid & annotated[:, None]
        losses["attention"] = objectives.attention_alignment(alone.rows.float(), everything, visual.valid)
        losses["head"] = objectives.salience_bce(free, everything, known)
        if len(subjects.phrases):
            place = torch.tensor([distinct.index(p) for p in subjects.phrases], device=named.device)
            self._subject_losses(losses, step, visual, subjects, named[place], alone.hidden)
        weights = self.weights
        total = losses["nce"] + weights.attention * losses["attention"] + weights.head * losses["head"]
        total = total + weights.subject * losses.get("subject", total.new_zeros(()))
        total = total + weights.misalignment * losses.get("misalignment", total.new_zeros(()))
        return {"loss": total} | {name: value.detach() for name, value in losses.items()}

    def _subject_losses(
        self,
        losses: Losses,
        step: int,
        visual: VisualBatch,
        subjects: Subjects,
        named: Tensor,
        hidden: Tensor,
    ) -> None:
        pooled = aggregate(hidden[subjects.image].float(), subjects.regions[:, None])[:, 0]
        vectors = F.normalize(self.projection(pooled), dim=-1)
        same = subjects.same()
        losses["subject"] = objectives.subject_contrast(named, vectors, self.subject_temperature(), same)
        losses["misalignment"] = objectives.misalignment(
            named, vectors, subjects.image, self.weights.margin, same
        )

        rng = np.random.default_rng((self.seed, step, 1))
        share = max(1, int(len(subjects.phrases) * self.weights.phrase_share))
        picked = sorted(rng.choice(len(subjects.phrases), size=share, replace=False).tolist())
        seen = visual.select(subjects.image[picked].tolist())
        regions = subjects.regions[picked][:, : seen.tokens.shape[1]]
        logits = self.head(seen.tokens, seen.valid, named[picked].detach())
        absent = self._absent(subjects, picked, rng)
        wrong = self.head(seen.tokens, seen.valid, named[absent].detach())
        present = torch.tensor(
            [
                subjects.phrases[a] in self._phrases_of(subjects, p)
                for a, p in zip(absent, picked, strict=True)
            ],
            device=seen.valid.device,
        )
        dark = objectives.salience_bce(wrong, torch.zeros_like(regions), seen.valid & ~present[:, None])
        losses["head"] = losses["head"] + objectives.salience_bce(logits, regions, seen.valid) + 0.5 * dark
        salience = logits.detach().sigmoid() * seen.valid
        regenerated = self.regeneration(seen, salience, regions[:, None])
        phrases = [subjects.phrases[p] for p in picked]
        rows = self.backbone.language_pass(
            phrases, regenerated.visual, regenerated.key_bias, collect_rows=True
        ).rows
        assert rows is not None
        losses["attention"] = losses["attention"] + objectives.attention_alignment(
            rows.float(), regions, seen.valid
        )

    @staticmethod
    def _absent(subjects: Subjects, picked: Sequence[int], rng: np.random.Generator) -> list[int]:
        """For each picked subject another one of the batch, whose phrase its image most likely does not show."""
        return [int(n) for n in rng.integers(len(subjects.phrases), size=len(picked))]

    @staticmethod
    def _phrases_of(subjects: Subjects, row: int) -> set[str]:
        image = subjects.image[row]
        return {
            phrase for phrase, other in zip(subjects.phrases, subjects.image, strict=True) if other == image
        }
