"""What one training step computes: the base stage and the adapter stage, each a module from a batch to its losses.

They know models and objectives; they know nothing of optimisers, files or where batches come from.

B images, R named regions, Q questions, N image tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssa_me import objectives
from ssa_me.backbone import Backbone, VisualBatch
from ssa_me.regeneration import aggregate
from ssa_me.salience.prompts import DESCRIBE, list_prompt, listed
from ssa_me.salience.subjects import split_phrases
from ssa_me.training.data import Corpus, Draw, Prepared, pad_coverage, question, same_meaning, stack_pixels
from ssa_me.training.recipe import Base

Losses = dict[str, Tensor]
ASKED_SHARE = 0.75
"""Of the regions that a question leads to, so many are asked for by it; the others by their phrase."""
LEAST_COVERAGE = 0.05
"""A region that covers less of the image's tokens than this share of one token is no target."""


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


@dataclass(frozen=True)
class Named:
    """The named regions of a batch, R in all: phrase, image (R,), number within its image (R,), coverage (R, N)."""

    phrases: tuple[str, ...]
    image: Tensor
    number: tuple[int, ...]
    regions: Tensor

    @classmethod
    def of(cls, items: Sequence[Prepared], visual: VisualBatch) -> Named:
        coverage = pad_coverage(items, visual)
        rows = [
            (b, k)
            for b, regions in enumerate(coverage)
            for k in range(len(regions))
            if regions[k].sum() > LEAST_COVERAGE
        ]
        device = visual.tokens.device
        empty = torch.zeros(0, visual.tokens.shape[1])
        return cls(
            phrases=tuple(items[b].phrases[k] for b, k in rows),
            image=torch.tensor([b for b, _ in rows], dtype=torch.long, device=device),
            number=tuple(k for _, k in rows),
            regions=(torch.stack([coverage[b][k] for b, k in rows]) if rows else empty).to(device),
        )

    def __len__(self) -> int:
        return len(self.phrases)

    @cached_property
    def distinct(self) -> list[str]:
        """Each phrase once."""
        return list(dict.fromkeys(self.phrases))

    @cached_property
    def place(self) -> Tensor:
        """(R,) where among `distinct` each phrase stands."""
        index = {phrase: i for i, phrase in enumerate(self.distinct)}
        return torch.tensor([index[p] for p in self.phrases], dtype=torch.long, device=self.image.device)

    def same(self) -> Tensor:
        """(R, R) bool: equal phrases."""
        return self.place[:, None] == self.place[None]

    def of_each_image(self, images: int) -> Tensor:
        """(B, N): all regions of each image together."""
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


@dataclass(frozen=True)
class Questions:
    """Image and text read together: row of the named region (Q,), its image (Q,), the text, and which texts are
    questions, `the dog` for "a red dog", that a phrase answers (Q,). The others are the phrases themselves."""

    rows: Tensor
    images: tuple[int, ...]
    texts: tuple[str, ...]
    open: Tensor

    @classmethod
    def of(cls, named: Named, most: int, rng: np.random.Generator) -> Questions:
        """At most `most` of the regions; a question that two regions of an image answer is not asked."""
        images = named.image.tolist()
        asked = [(b, question(phrase)) for b, phrase in zip(images, named.phrases, strict=True)]
        picked = sorted(rng.permutation(len(named))[:most].tolist())
        texts = [
            asked[r][1] if asked.count(asked[r]) == 1 and rng.random() < ASKED_SHARE else None for r in picked
        ]
        return cls(
            torch.tensor(picked, dtype=torch.long, device=named.image.device),
            tuple(images[r] for r in picked),
            tuple(text or named.phrases[r] for r, text in zip(picked, texts, strict=True)),
            torch.tensor([text is not None for text in texts], dtype=torch.bool, device=named.image.device),
        )

    def __len__(self) -> int:
        return len(self.texts)

    def only_open(self) -> Questions:
        """Those that a phrase answers."""
        kept = torch.nonzero(self.open).flatten().tolist()
        return Questions(
            self.rows[kept],
            tuple(self.images[q] for q in kept),
            tuple(self.texts[q] for q in kept),
            self.open[kept],
        )


def composed_contrast(
    asked: Tensor, phrases: Tensor, named: Named, questions: Questions, temperature: Tensor
) -> Tensor:
    """L_nce of the open questions with their images (Q, D) against all distinct phrases (P, D) of the batch."""
    if not questions.open.any():
        return asked.sum() * 0.0
    logits = asked[questions.open] @ phrases.T / temperature
    return F.cross_entropy(logits, named.place[questions.rows[questions.open]])


class BaseStage(nn.Module):
    """Contrast, captions, subject lists and grounding; vision tower and language model train as a whole."""

    def __init__(self, backbone: Backbone, corpus: Corpus, settings: Base, seed: int) -> None:
        super().__init__()
        self.model = backbone.model
        self.temperature, self.region_temperature = (
            Temperature(settings.temperature),
            Temperature(settings.temperature),
        )
        self.region = nn.Linear(backbone.width, backbone.width, bias=False)
        self.backbone, self.corpus, self.settings, self.seed = backbone, corpus, settings, seed
        self.model.requires_grad_(True)

    def forward(self, step: int) -> Losses:
        settings = self.settings
        draw = self.corpus.draw(self.seed, step, settings.batch)
        items = self.corpus.items(draw)
        rng = np.random.default_rng((self.seed, step, 1))
        visual = self.backbone.encode_pixels(*stack_pixels(items))
        named = Named.of(items, visual)
        images = self.backbone.language_pass([""] * len(items), visual).embedding()
        spoken = self.backbone.language_pass([*draw.texts, *named.distinct]).embedding()
        texts, phrases = spoken[: len(items)], spoken[len(items) :]
        same = same_meaning(draw, items).to(texts.device)
        losses = {"nce": objectives.info_nce(texts, images, self.temperature(), same)}
        if len(named):
            pooled = aggregate(visual.tokens[named.image], named.regions[:, None])[:, 0]
            vectors = F.normalize(self.region(pooled).float(), dim=-1)
            own = torch.arange(len(named), device=vectors.device)
            losses["region"] = objectives.subject_contrast(
                phrases[named.place], vectors, own, named.same(), self.region_temperature()
            )
            questions = Questions.of(named, int(len(items) * settings.composed_share), rng).only_open()
            if len(questions):
                asked = self.backbone.language_pass(questions.texts, visual.select(questions.images))
                losses["composed"] = composed_contrast(
                    asked.embedding(), phrases, named, questions, self.temperature()
                )
        losses["answer"] = self._answers(draw, items, visual, rng)
        weights = {"answer": settings.answer, "region": settings.region, "composed": settings.composed}
        total = losses["nce"] + sum(
            weight * losses[name] for name, weight in weights.items() if name in losses
        )
        return {"loss": total} | {name: value.detach() for name, value in losses.items()}

    def _answers(
        self, draw: Draw, items: Sequence[Prepared], visual: VisualBatch, rng: np.random.Generator
    ) -> Tensor:
        """Next-token prediction: captions of some images, subject lists of others, with and without their text."""
        share = max(1, int(len(items) * self.settings.answer_share))
        order = rng.permutation(len(items)).tolist()
        prompts, answers, shown = [], [], []
        for b in order[:share]:
            prompts.append(DESCRIBE)
            answers.append(draw.texts[b])
            shown.append(b)
        for place, b in enumerate(order[share : 2 * share]):
            text = draw.texts[b] if place % 2 or not items[b].phrases else ""
            subjects = self._subjects_of(text, draw, items, b) if text else items[b].phrases
            prompts.append(list_prompt(text))
            answers.append(listed(subjects))
            shown.append(b)
        return self.backbone.answer_loss(prompts, answers, visual.select(shown))

    @staticmethod
    def _subjects_of(text: str, draw: Draw, items: Sequence[Prepared], b: int) -> Sequence[str]:
        """The subjects that a text names: by its meaning where that is known, else by the rule."""
        if items[b].meanings:
            return [mention.phrase for mention in items[b].meanings[draw.chosen[b]].subjects]
        return split_phrases(text)
