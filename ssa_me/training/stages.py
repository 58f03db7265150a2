"""What one step of the base stage computes, and what all stages share.

They know models and objectives; they know nothing of optimisers, files or where batches come from. A step falls into
parts (`gradcache.Contrast`): what is contrasted over the batch is represented part by part.

B images, R named regions, Q questions, N image tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssa_me import objectives
from ssa_me.backbone import Backbone
from ssa_me.outputs import VisualBatch
from ssa_me.regeneration import aggregate
from ssa_me.salience.prompts import DESCRIBE, list_prompt, listed
from ssa_me.salience.subjects import split_phrases
from ssa_me.training.batches import Batch, Part, share_of
from ssa_me.training.claims import Claims, PhraseClaims
from ssa_me.training.data import Corpus, stack_pixels
from ssa_me.training.gradcache import Losses, Representations, detached
from ssa_me.training.named import Named, Questions
from ssa_me.training.recipe import Base


class Temperature(nn.Module):
    """A learnable temperature, kept in [0.01, 1]."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(float(np.log(start))))

    def forward(self) -> Tensor:
        return self.log.clamp(float(np.log(0.01)), 0.0).exp()


def composed_contrast(
    asked: Tensor, phrases: Tensor, named: Named, questions: Questions, temperature: Tensor
) -> Tensor:
    """L_nce of the open questions with their images (Q, D) against all distinct phrases (P, D) of the batch."""
    if not questions.open.any():
        return asked.sum() * 0.0
    logits = asked[questions.open] @ phrases.T / temperature
    return F.cross_entropy(logits, named.place[questions.rows[questions.open]])


def claim_contrast(claimed: Tensor, texts: Tensor, batch: Batch, temperature: Tensor) -> Tensor:
    """L_nce of images that were read with a caption (C, D) against all captions (B, D): what was read is the claim where it
    is true of the image, else the image's own caption. So a model learns to look whether a text is true."""
    same, claims = batch.same(), batch.claims
    images = torch.tensor(claims.images, device=texts.device)
    said = torch.tensor(claims.captions, device=texts.device)
    right = torch.where(same[said, images], said, images)
    others = same[:, images].T.clone()
    others[torch.arange(len(images), device=texts.device), right] = False
    logits = (claimed @ texts.T / temperature).masked_fill(others, float("-inf"))
    return F.cross_entropy(logits, right)


def phrase_contrast(claimed: Tensor, phrases: Tensor, claims: PhraseClaims, temperature: Tensor) -> Tensor:
    """L_nce of images that were read with a phrase (C, D) against the distinct phrases (P, D) of the batch: what was read is
    to be near one that is right, and far from all that are wrong."""
    logits = claimed @ phrases.T / temperature
    right = logits.masked_fill(~claims.right, float("-inf")).logsumexp(-1)
    either = logits.masked_fill(~(claims.right | claims.wrong), float("-inf")).logsumexp(-1)
    return (either - right).mean()


def reading_losses(rows: Representations, batch: Batch, temperature: Tensor) -> Losses:
    """What is lost by images that are read with a text: questions, claimed captions and claimed phrases, each where there
    are some."""
    losses = {}
    if len(batch.questions):
        losses["composed"] = composed_contrast(
            rows["asked"], rows["phrases"], batch.named, batch.questions, temperature
        )
    if len(batch.claims):
        losses["claimed"] = claim_contrast(rows["claimed"], rows["texts"], batch, temperature)
    if len(batch.phrase_claims):
        losses["claimed_phrase"] = phrase_contrast(
            rows["claimed_phrases"], rows["phrases"], batch.phrase_claims, temperature
        )
    return losses


def ask(backbone: Backbone, questions: Questions | Claims | PhraseClaims, visual: VisualBatch) -> Tensor:
    """(Q, D) of unit length: questions or claims read after their images."""
    if not len(questions):
        return torch.zeros(0, backbone.width, device=backbone.device)
    return backbone.language_pass(questions.texts, visual.select(questions.images)).embedding()


def readings(backbone: Backbone, part: Part, visual: VisualBatch) -> Representations:
    """asked (Q, D), claimed and claimed_phrases (C, D), of unit length: what is read with the images of a part."""
    return {
        "asked": ask(backbone, part.questions, visual),
        "claimed": ask(backbone, part.claims, visual),
        "claimed_phrases": ask(backbone, part.phrase_claims, visual),
    }


@dataclass(frozen=True)
class Answers:
    """What is to be said of some images: captions of some, subject lists of others, with and without their text.

    images: their numbers. of_batch: all answers of the whole batch, for their count.
    """

    images: tuple[int, ...]
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    of_batch: tuple[str, ...]

    @classmethod
    def of(cls, batch: Batch, share: float, rng: np.random.Generator) -> Answers:
        """Captions of a `share` of the images, subject lists of as many others."""
        draw, items = batch.draw, batch.items
        count = max(1, int(len(items) * share))
        order = [int(b) for b in rng.permutation(len(items))]
        said = [(b, DESCRIBE, draw.texts[b]) for b in order[:count]]
        for place, b in enumerate(order[count : 2 * count]):
            text = draw.texts[b] if place % 2 or not items[b].phrases else ""
            subjects = _subjects_of(text, batch, b) if text else items[b].phrases
            said.append((b, list_prompt(text), listed(subjects)))
        images, prompts, answers = zip(*said, strict=True)
        return cls(images, prompts, answers, answers)

    def select(self, images: range) -> Answers:
        """Those about some images in turn, which are numbered anew."""
        kept = [i for i, b in enumerate(self.images) if b in images]
        return Answers(
            tuple(self.images[i] - images.start for i in kept),
            tuple(self.prompts[i] for i in kept),
            tuple(self.answers[i] for i in kept),
            self.of_batch,
        )


def _subjects_of(text: str, batch: Batch, b: int) -> Sequence[str]:
    """The subjects that a text names: by its meaning where that is known, else by the rule."""
    meanings = batch.items[b].meanings
    if meanings:
        return [mention.phrase for mention in meanings[batch.draw.chosen[b]].subjects]
    return split_phrases(text)


@dataclass(frozen=True)
class BaseBatch:
    """A step of the base stage: the batch, and what is to be said of its images."""

    batch: Batch
    answers: Answers


@dataclass(frozen=True)
class BasePart:
    some: Part
    answers: Answers


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

    def batch(self, step: int) -> BaseBatch:
        settings = self.settings
        batch, rng = Batch.of(
            self.corpus,
            self.seed,
            step,
            settings.batch,
            settings.composed_share,
            self.backbone.device,
            only_open=True,
            claimed=settings.claimed_share,
        )
        return BaseBatch(batch, Answers.of(batch, settings.answer_share, rng))

    def cut(self, whole: BaseBatch, chunks: int) -> list[BasePart]:
        return [BasePart(part, whole.answers.select(part.images)) for part in whole.batch.parts(chunks)]

    def represent(self, part: BasePart) -> tuple[Representations, VisualBatch]:
        """images (B, D), texts (B, D), phrases (P, D), regions (R, D), asked (Q, D), claimed and
        claimed_phrases (C, D), of unit length."""
        some, backbone = part.some, self.backbone
        visual = backbone.encode_pixels(*stack_pixels(some.items))
        images = backbone.language_pass([""] * len(some), visual).embedding()
        spoken = backbone.speak([*some.captions, *some.phrases], some.bucket)
        pooled = aggregate(visual.tokens[some.named.image], some.named.regions[:, None])[:, 0]
        found = {
            "images": images,
            "texts": spoken[: len(some)],
            "phrases": spoken[len(some) :],
            "regions": F.normalize(self.region(pooled).float(), dim=-1),
        }
        return found | readings(backbone, some, visual), visual

    def compare(self, whole: BaseBatch, representations: Representations) -> Losses:
        batch, named, rows = whole.batch, whole.batch.named, representations
        losses = {"nce": objectives.info_nce(rows["texts"], rows["images"], self.temperature(), batch.same())}
        if len(named):
            own = torch.arange(len(named), device=named.image.device)
            losses["region"] = objectives.subject_contrast(
                rows["phrases"][named.place], rows["regions"], own, named.same(), self.region_temperature()
            )
        losses |= reading_losses(rows, batch, self.temperature())
        return self._weighted(losses, rows["images"])

    def beside(self, part: BasePart, kept: VisualBatch, representations: Representations) -> Losses:
        """Next-token prediction of the part's answers, as a share of the batch's tokens."""
        answers, whole = part.answers, part.some.batch
        losses: Losses = {}
        if answers.images:
            loss = self.backbone.answer_loss(answers.prompts, answers.answers, kept.select(answers.images))
            mine, all_ = (self.backbone.answer_tokens(said) for said in (answers.answers, answers.of_batch))
            losses["answer"] = share_of(loss, mine, all_)
        return self._weighted(losses, whole.named.regions)

    def _weighted(self, losses: Losses, like: Tensor) -> Losses:
        settings = self.settings
        factors = {
            "answer": settings.answer,
            "region": settings.region,
            "composed": settings.composed,
            "claimed": settings.claimed,
            "claimed_phrase": settings.claimed,
        }
        return weighted(losses, factors, like)


def weighted(losses: Losses, factors: Mapping[str, float], like: Tensor) -> Losses:
    """The losses, detached, and under "loss" their sum by `factors` (1 where none is given), on the device of `like`."""
    total = like.new_zeros((), dtype=torch.float32)
    for name, value in losses.items():
        total = total + factors.get(name, 1.0) * value
    return {"loss": total} | detached(losses)
