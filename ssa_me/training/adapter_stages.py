"""What one step of an adapter computes: the baseline's by contrast alone, SSA-ME's by all objectives.

Both see the same images, texts and questions in the same order; vision and base weights are frozen, so image tokens are
computed once. A step falls into parts (`gradcache.Contrast`). It knows nothing of optimisers or files.

B images, R named regions, Q questions, N image tokens, K regions found, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ssa_me import objectives
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import Parts
from ssa_me.outputs import LanguagePass, VisualBatch
from ssa_me.passes import Salient, found_regions
from ssa_me.regeneration import Regenerated
from ssa_me.training.batches import Batch, Part, share_of
from ssa_me.training.claims import Claims, PhraseClaims
from ssa_me.training.data import Corpus, Prepared, stack_pixels
from ssa_me.training.gradcache import Losses, Representations
from ssa_me.training.head_losses import free_losses, phrase_losses
from ssa_me.training.lazy import OnTheFly
from ssa_me.training.named import Named, Questions
from ssa_me.training.recipe import Lora, Regeneration, Weights
from ssa_me.training.sources import PairSource, SceneSource, Source
from ssa_me.training.stages import Temperature, reading_losses, readings, weighted
from ssa_me.training.things import Sought, Things

Set = tuple[Source, Sequence[Prepared], VisualBatch | None]
"""A source, its images made ready, and their tokens."""


@dataclass(frozen=True)
class TokenCache:
    """The image tokens of a whole corpus, one `VisualBatch` a source, in 16 bits: vision is frozen in this stage. None
    for a source whose images are made ready on the fly: their tokens are computed when they are needed."""

    groups: tuple[VisualBatch | None, ...]

    @classmethod
    def of(cls, corpus: Corpus, backbone: Backbone, batch: int = 64) -> TokenCache:
        groups: list[VisualBatch | None] = []
        for group in corpus.groups:
            if isinstance(group, OnTheFly):
                groups.append(None)
            else:
                parts = [encode(backbone, group[i : i + batch]) for i in range(0, len(group), batch)]
                groups.append(VisualBatch.join(parts))
        return cls(tuple(groups))


@torch.no_grad()
def encode(backbone: Backbone, items: Sequence[Prepared]) -> VisualBatch:
    """The image tokens of some images in 16 bits, without a gradient."""
    return backbone.encode_pixels(*stack_pixels(items)).to(torch.bfloat16)


@dataclass(frozen=True)
class Material:
    """What both adapters learn from: the batches of one corpus, with their image tokens."""

    backbone: Backbone
    corpus: Corpus
    cache: TokenCache
    seed: int
    settings: Lora

    def batch(self, step: int, only_open: bool) -> Batch:
        settings, device = self.settings, self.backbone.device
        batch, _ = Batch.of(
            self.corpus,
            self.seed,
            step,
            settings.batch,
            settings.composed_share,
            device,
            only_open,
            settings.claimed_share,
        )
        return batch

    def unread(self, step: int, size: int) -> Batch:
        """The batch of a step in which nothing is read with an image: no question, no claim."""
        device = self.backbone.device
        return Batch.of(self.corpus, self.seed, step, size, 0.0, device, only_open=True)[0]

    def with_scenes(self, further: Material | None) -> Material:
        """The same without sources of pairs, and with `further` scenes, which no adapter saw, in place of those that it was
        trained on. InputError where nothing is left."""
        kept = [one for one in self._sets() if not (further and isinstance(one[0], SceneSource))]
        return self._only([*kept, *(further._sets() if further else ())])

    def with_regions(self) -> Material | None:
        """The same of those sources alone that name regions; None where none does. One whose images are made ready on the fly
        is believed to."""
        kept = [
            one
            for one in self._sets()
            if isinstance(one[1], OnTheFly) or any(item.phrases for item in one[1])
        ]
        return self._only(kept) if kept else None

    def _sets(self) -> list[Set]:
        """Those of images, with their image tokens."""
        sets = zip(self.corpus.sources, self.corpus.groups, self.cache.groups, strict=True)
        return [one for one in sets if not isinstance(one[0], PairSource)]

    def _only(self, sets: Sequence[Set]) -> Material:
        corpus = Corpus([source for source, _, _ in sets], [group for _, group, _ in sets])
        return replace(self, corpus=corpus, cache=TokenCache(tuple(tokens for _, _, tokens in sets)))

    def tokens(self, part: Part) -> VisualBatch:
        draw = part.batch.draw
        indices = draw.indices[part.images.start : part.images.stop]
        cached = self.cache.groups[draw.source]
        visual = encode(self.backbone, part.items) if cached is None else cached.select(indices)
        return visual.to(self.backbone.dtype)


class BaselineStage(nn.Module):
    """The baseline's adapter: L_nce alone, of texts and images and of questions about images and their answers."""

    def __init__(self, material: Material) -> None:
        super().__init__()
        self.model = material.backbone.model
        self.temperature = Temperature(material.settings.temperature)
        self.material = material

    def batch(self, step: int) -> Batch:
        return self.material.batch(step, only_open=True)

    def cut(self, whole: Batch, chunks: int) -> list[Part]:
        return whole.parts(chunks)

    def represent(self, part: Part) -> tuple[Representations, None]:
        """images (B, D), texts (B, D), phrases (P, D) where they are needed, asked (Q, D), claimed and claimed_phrases
        (C, D), of unit length."""
        backbone, visual = self.material.backbone, self.material.tokens(part)
        images = backbone.language_pass([""] * len(part), visual).embedding()
        batch, named = part.batch, self.material.settings.named
        answers = part.phrases if len(batch.questions) or len(batch.phrase_claims) or named else []
        spoken = self.say([*part.captions, *answers], part.bucket)
        found = {"images": images, "texts": spoken[: len(part)], "phrases": spoken[len(part) :]}
        return found | readings(backbone, part, visual), None

    def say(self, texts: Sequence[str], bucket: int) -> Tensor:
        """(T, D) of unit length: texts without an image."""
        return self.material.backbone.speak(texts, bucket)

    def read(self, texts: Sequence[str], visual: VisualBatch) -> Tensor:
        """(B, D) of unit length: images with their texts."""
        return self.material.backbone.language_pass(texts, visual).embedding()

    def look(self, texts: Sequence[str], visual: VisualBatch) -> Tensor:
        """(B, L, N): where each layer's last token looks when images are read with their texts."""
        rows = self.material.backbone.language_pass(texts, visual, collect_rows=True).rows
        assert rows is not None
        return rows

    def compare(self, whole: Batch, representations: Representations) -> Losses:
        rows = representations
        losses = {"nce": objectives.info_nce(rows["texts"], rows["images"], self.temperature(), whole.same())}
        losses |= reading_losses(rows, whole, self.temperature())
        settings = self.material.settings
        if settings.named and len(whole.named):
            losses["named"] = self._contrast_phrases(whole, rows)
        factors = {
            "composed": settings.composed,
            "claimed": settings.claimed,
            "claimed_phrase": settings.claimed,
            "named": settings.named,
        }
        return weighted(losses, factors, rows["images"])

    def _contrast_phrases(self, whole: Batch, rows: Representations) -> Tensor:
        """A control: phrases as further texts of their images, without regions."""
        named, images = whole.named, rows["images"]
        shown = torch.zeros(len(rows["phrases"]), len(images), dtype=torch.bool, device=images.device)
        shown[named.place, named.image] = True
        phrases = rows["phrases"][named.place]
        return objectives.subject_contrast(
            phrases, images, named.image, shown[named.place], self.temperature()
        )

    def beside(self, part: Part, kept: None, representations: Representations) -> Losses:
        return weighted({}, {}, representations["images"])


@dataclass(frozen=True)
class SalientBatch:
    """A step of SSA-ME's adapter: the batch, what its texts speak of, and the phrases that the head looks for."""

    batch: Batch
    things: Things
    sought: Sought


@dataclass(frozen=True)
class SalientPart:
    """found: what is salient in the part's images, once it has been looked for; a second pass of a step finds the same."""

    some: Part
    whole: SalientBatch
    found: list[Salient] = field(default_factory=list)


@dataclass(frozen=True)
class Kept:
    """Of a part's forward pass: its image tokens, the head's logits (B, N), and in a pass with a gradient the rows of
    attention (B, L, N) of images alone and (Q, L, N) of questions."""

    visual: VisualBatch
    free: Tensor
    rows: Tensor | None
    asked: Tensor | None


class SalientStage(nn.Module):
    """SSA-ME's adapter with its trained parts: all objectives."""

    def __init__(self, material: Material, weights: Weights, steps: Regeneration, parts: Parts) -> None:
        super().__init__()
        parts.regeneration.gate.requires_grad_(steps.enhance)
        parts.composition.requires_grad_(False)
        parts.composition.seen.requires_grad_(True)  # the rest is trained after this, on its vectors
        self.steps = steps
        self.model = material.backbone.model
        start = material.settings.temperature
        self.temperature, self.subject_temperature = Temperature(start), Temperature(start)
        self.parts, self.material, self.weights = parts, material, weights

    def on(self, material: Material) -> SalientStage:
        """The same on other images."""
        return SalientStage(material, self.weights, self.steps, self.parts)

    def batch(self, step: int) -> SalientBatch:
        batch = self.material.batch(step, only_open=False)
        sought = Sought.of(batch, self.material.seed, self.weights.phrase_share)
        return SalientBatch(batch, Things.of(batch), sought)

    def cut(self, whole: SalientBatch, chunks: int) -> list[SalientPart]:
        return [SalientPart(part, whole) for part in whole.batch.parts(chunks)]

    def represent(self, part: SalientPart) -> tuple[Representations, Kept]:
        """images (B, D), texts (B, D), phrases (P, D), subjects (R, D), asked (Q, D), claimed and
        claimed_phrases (C, D), of unit length."""
        some, backbone, trained = part.some, self.material.backbone, self.parts
        visual = self.material.tokens(some)
        free = trained.head(visual.tokens, visual.valid, visual.centres)
        if not part.found or self.steps.implicit:
            part.found[:] = [self._salient(visual, free)]
        (found,) = part.found
        regenerated = trained.regeneration(visual, found.salience, found.stacked, found.asked)
        taught = torch.is_grad_enabled()  # rows are for `beside` alone
        alone = backbone.language_pass([""] * len(some), regenerated.visual, regenerated.key_bias, taught)
        assert alone.hidden is not None
        spoken = self.say([*some.captions, *some.phrases], some.bucket)
        asked, asked_rows = self._ask(some.questions, regenerated, collect_rows=taught)
        representations = {
            "images": alone.embedding(),
            "texts": spoken[: len(some)],
            "phrases": spoken[len(some) :],
            "subjects": self.see(part.some.named, visual, alone.hidden),
            "asked": asked,
            "claimed": self._ask(some.claims, regenerated)[0],
            "claimed_phrases": self._ask(some.phrase_claims, regenerated)[0],
        }
        return representations, Kept(visual, free, alone.rows, asked_rows)

    def say(self, texts: Sequence[str], bucket: int) -> Tensor:
        """(T, D) of unit length: texts without an image, before their subjects are composed into them."""
        return self.material.backbone.speak(texts, bucket)

    def read(self, texts: Sequence[str], visual: VisualBatch) -> Tensor:
        """(B, D) of unit length: images with their texts, regenerated under query-free salience, before subjects are
        composed into images alone."""
        return self._read(texts, visual)[0].embedding()

    def alone(self, visual: VisualBatch) -> tuple[LanguagePass, Salient]:
        """The pass over images alone, and what is salient in them."""
        return self._read([""] * len(visual), visual)

    def _read(
        self, texts: Sequence[str], visual: VisualBatch, collect_rows: bool = False
    ) -> tuple[LanguagePass, Salient]:
        trained = self.parts
        found = self._salient(visual, trained.head(visual.tokens, visual.valid, visual.centres))
        regenerated = trained.regeneration(visual, found.salience, found.stacked, found.asked)
        seen, bias = regenerated.visual, regenerated.key_bias
        return self.material.backbone.language_pass(texts, seen, bias, collect_rows), found

    def look(self, texts: Sequence[str], visual: VisualBatch) -> Tensor:
        """(B, L, N): where each layer's last token looks when images are read with their texts, as `read` reads them."""
        rows = self._read(texts, visual, collect_rows=True)[0].rows
        assert rows is not None
        return rows

    def _salient(self, visual: VisualBatch, free: Tensor) -> Salient:
        """What is salient by the head's logits (B, N)."""
        salience = free.float().sigmoid() * visual.valid
        taught = salience if self.steps.implicit else salience.detach()
        return found_regions(taught, visual, self.steps.likeness, [False] * len(visual))

    def compare(self, whole: SalientBatch, representations: Representations) -> Losses:
        """L_nce of captions and of questions, L_subject, L_mis."""
        batch, things, rows = whole.batch, whole.things, representations
        nce = objectives.info_nce(rows["texts"], rows["images"], self.temperature(), batch.same())
        losses = {"nce": nce}
        if len(batch.named):
            texts = torch.cat([rows["texts"], rows["phrases"]])[things.rows]
            vectors = rows["subjects"]
            losses["subject"] = objectives.subject_contrast(
                texts, vectors, things.own, things.true, self.subject_temperature()
            )
            losses["misalignment"] = objectives.misalignment(
                texts, vectors, things.own, things.rivals(batch.group), self.weights.margin
            )
        losses |= reading_losses(rows, batch, self.temperature())
        return self._weighted(losses, nce)

    def beside(self, part: SalientPart, kept: Kept, representations: Representations) -> Losses:
        """L_attn and L_head, each as a share of the whole batch's mean."""
        some, batch, valid = part.some, part.whole.batch, kept.visual.valid
        assert kept.rows is not None
        everything = some.named.of_each_image(len(some))
        attention = objectives.attention_alignment(kept.rows.float(), everything, valid)
        annotated = len(set(some.named.images)), len(set(batch.named.images))
        losses = {"attention": share_of(attention, *annotated)} | free_losses(some, kept.free, valid)
        if len(batch.named):
            head, sought = self.parts.head, part.whole.sought
            losses |= phrase_losses(head, some, sought, kept.visual, representations["phrases"])
        if kept.asked is not None:
            regions = some.named.regions[some.questions.rows][:, : kept.asked.shape[-1]]
            seen = kept.visual.select(some.questions.images).valid
            asked = objectives.attention_alignment(kept.asked.float(), regions, seen)
            losses["asked_attention"] = share_of(asked, len(some.questions), len(batch.questions))
        return self._weighted(losses, attention)

    def _weighted(self, losses: Losses, like: Tensor) -> Losses:
        weights = self.weights
        factors = {
            "composed": self.material.settings.composed,
            "claimed": self.material.settings.claimed,
            "claimed_phrase": self.material.settings.claimed,
            "attention": weights.attention,
            "asked_attention": weights.attention,
            "subject": weights.subject,
            "misalignment": weights.misalignment,
            "head": weights.head,
            "named_head": weights.head,
        }
        return weighted(losses, factors, like)

    def see(self, named: Named, visual: VisualBatch, hidden: Tensor) -> Tensor:
        """a (R, D) of named regions, as they are annotated."""
        if not len(named):
            return torch.zeros(0, hidden.shape[-1], device=hidden.device)
        tokens, valid = visual.tokens[named.image], visual.valid[named.image]
        regions = named.regions[:, None]
        return self.parts.composition.regions(hidden[named.image], tokens, valid, regions)[:, 0]

    def _ask(
        self,
        asked_of: Questions | Claims | PhraseClaims,
        regenerated: Regenerated,
        collect_rows: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Texts read after their images (Q, D), and their rows of attention (Q, L, N) where they are collected."""
        backbone = self.material.backbone
        if not len(asked_of):
            return torch.zeros(0, backbone.width, device=backbone.device), None
        seen = regenerated.visual.select(asked_of.images)
        bias = regenerated.key_bias[list(asked_of.images)][:, : seen.tokens.shape[1]]
        asked = backbone.language_pass(asked_of.texts, seen, bias, collect_rows)
        return asked.embedding(), asked.rows
