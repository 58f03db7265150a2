"""What one step of an adapter computes: the baseline's by contrast alone, SSA-ME's by all objectives.

Both see the same images, texts and questions in the same order; vision and base weights are frozen, so image tokens are
computed once. It knows nothing of optimisers or files.

B images, R named regions, Q questions, N image tokens, K regions found, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from ssa_me import objectives
from ssa_me.backbone import Backbone, VisualBatch
from ssa_me.checkpoint import Parts
from ssa_me.composition import places
from ssa_me.passes import Salient, compose, found_regions, sizes_of
from ssa_me.scenes import Mention, Query
from ssa_me.scenes.truth import parts_of, truth
from ssa_me.training.data import Corpus, Draw, Prepared, general, same_meaning, stack_pixels
from ssa_me.training.recipe import Lora, Weights
from ssa_me.training.stages import Losses, Named, Questions, Temperature, composed_contrast

Owner = tuple[int, tuple[int, ...]]
"""An image of the batch and the numbers of one or two of its subjects."""


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


@dataclass(frozen=True)
class Material:
    """What both adapters learn from: the batches of one corpus, with their image tokens."""

    backbone: Backbone
    corpus: Corpus
    cache: TokenCache
    seed: int
    settings: Lora


@dataclass(frozen=True)
class Batch:
    """One step's batch: the draw, its images with their tokens, what is named in them, and the questions asked."""

    draw: Draw
    items: Sequence[Prepared]
    visual: VisualBatch
    named: Named
    questions: Questions
    group: int

    @classmethod
    def of(cls, material: Material, step: int) -> Batch:
        corpus, settings = material.corpus, material.settings
        draw = corpus.draw(material.seed, step, settings.batch)
        items, visual = corpus.items(draw), material.cache.select(draw, material.backbone.dtype)
        named = Named.of(items, visual)
        rng = np.random.default_rng((material.seed, step, 1))
        questions = Questions.of(named, int(len(items) * settings.composed_share), rng)
        return cls(draw, items, visual, named, questions, corpus.sources[draw.source].group)

    def same(self) -> Tensor:
        return same_meaning(self.draw, self.items).to(self.visual.tokens.device)


class BaselineStage(nn.Module):
    """The baseline's adapter: L_nce alone, of texts and images and of questions about images and their answers."""

    def __init__(self, material: Material) -> None:
        super().__init__()
        self.model = material.backbone.model
        self.temperature = Temperature(material.settings.temperature)
        self.material = material

    def forward(self, step: int) -> Losses:
        batch, backbone = Batch.of(self.material, step), self.material.backbone
        count, named, questions = len(batch.items), batch.named, batch.questions.only_open()
        images = backbone.language_pass([""] * count, batch.visual).embedding()
        answers = named.distinct if len(questions) else []
        spoken = backbone.language_pass([*batch.draw.texts, *answers]).embedding()
        losses = {"nce": objectives.info_nce(spoken[:count], images, self.temperature(), batch.same())}
        total = losses["nce"]
        if len(questions):
            asked = backbone.language_pass(questions.texts, batch.visual.select(questions.images))
            losses["composed"] = composed_contrast(
                asked.embedding(), spoken[count:], named, questions, self.temperature()
            )
            total = total + self.material.settings.composed * losses["composed"]
        return {"loss": total} | {name: value.detach() for name, value in losses.items()}


@dataclass(frozen=True)
class Things:
    """The subjects of a batch and their pairs, T in all, and the M texts that speak of one of them.

    image (T,); first, second (P,): the named regions of the pairs, which stand behind the R single ones. rows: for each
    text its place among captions and phrases; own (M,) its thing; true (M, T) of which things it is true.
    """

    image: Tensor
    first: Tensor
    second: Tensor
    rows: Tensor
    own: Tensor
    true: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Things:
        """Texts are numbered as they are spoken: the captions, then each distinct phrase once."""
        named, items, draw = batch.named, batch.items, batch.draw
        images, count = named.image.tolist(), len(batch.items)
        row_of = {(images[r], named.number[r]): r for r in range(len(named))}
        owners: list[Owner] = [(images[r], (named.number[r],)) for r in range(len(named))]
        singles = len(owners)
        if all(item.facts is not None for item in items):
            for b in range(count):
                numbers = [named.number[r] for r in range(singles) if images[r] == b]
                owners += [(b, pair) for pair in combinations(numbers, 2)]
        place = {owner: t for t, owner in enumerate(owners)}
        spoken = [(count + int(named.place[r]), place[owners[r]]) for r in range(singles)]
        for b, item in enumerate(items):
            about = tuple(sorted(item.about[draw.chosen[b]])) if item.about else ()
            if (b, about) in place:
                spoken.append((b, place[b, about]))
        device = named.image.device
        pairs = [[row_of[b, number] for number in numbers] for b, numbers in owners[singles:]]
        first, second = ([pair[i] for pair in pairs] for i in (0, 1))
        return cls(
            image=torch.tensor([b for b, _ in owners], dtype=torch.long, device=device),
            first=torch.tensor(first, dtype=torch.long, device=device),
            second=torch.tensor(second, dtype=torch.long, device=device),
            rows=torch.tensor([row for row, _ in spoken], dtype=torch.long, device=device),
            own=torch.tensor([thing for _, thing in spoken], dtype=torch.long, device=device),
            true=_true_of(batch, spoken, owners).to(device),
        )

    def rivals(self, group: int) -> Tensor:
        """(M, T): wrong things of a text's own image or of its twins."""
        families = self.image // group
        return (families[self.own][:, None] == families[None]) & ~self.true


def _true_of(batch: Batch, spoken: Sequence[tuple[int, int]], owners: Sequence[Owner]) -> Tensor:
    """(M, T) bool: of which things each text is true; exactly for scenes, elsewhere where the phrases are equal."""
    items, named, count = batch.items, batch.named, len(batch.items)
    if not all(item.facts is not None for item in items):
        said = [general(named.phrases[r]) for r in range(len(named))]
        return torch.tensor([[said[own] == other for other in said] for _, own in spoken], dtype=torch.bool)
    facts = [item.facts for item in items if item.facts is not None]
    meanings = []
    for row, own in spoken:
        if row < count:
            meanings.append(items[row].meanings[batch.draw.chosen[row]])
        else:
            b, (k,) = owners[own]
            meanings.append(Query((Mention(*facts[b].subjects[k]),)))
    table = truth(meanings, [parts_of(facts[b], numbers) for b, numbers in owners])
    return torch.from_numpy(table)


class SalientStage(nn.Module):
    """SSA-ME's adapter with its parts: all objectives."""

    def __init__(self, material: Material, weights: Weights, parts: Parts) -> None:
        super().__init__()
        self.model = material.backbone.model
        start = material.settings.temperature
        self.temperature, self.subject_temperature = Temperature(start), Temperature(start)
        self.parts, self.material, self.weights = parts, material, weights

    def forward(self, step: int) -> Losses:
        batch, backbone, parts = Batch.of(self.material, step), self.material.backbone, self.parts
        count, named, visual = len(batch.items), batch.named, batch.visual
        free = parts.head(visual.tokens, visual.valid)
        found = found_regions(free.detach().float().sigmoid() * visual.valid, visual)
        regenerated = parts.regeneration(visual, found.salience, found.stacked)
        alone = backbone.language_pass([""] * count, regenerated.visual, regenerated.key_bias, True)
        assert alone.hidden is not None and alone.rows is not None
        spoken = backbone.language_pass([*batch.draw.texts, *named.distinct]).embedding()
        images = compose(parts.composition, alone, visual, found)
        losses = {"nce": objectives.info_nce(spoken[:count], images, self.temperature(), batch.same())}
        everything = named.of_each_image(count)
        losses["attention"] = objectives.attention_alignment(alone.rows.float(), everything, visual.valid)
        annotated = torch.tensor([len(item.phrases) > 0 for item in batch.items], device=free.device)
        losses["head"] = objectives.salience_bce(free, everything, visual.valid & annotated[:, None])
        if len(named):
            self._contrast_subjects(losses, batch, spoken, alone.hidden)
            self._find_phrases(losses, batch, spoken[count:], step)
        if len(batch.questions):
            self._ask(losses, batch, spoken[count:], found, regenerated.key_bias, regenerated.visual)
        return self._weighted(losses)

    def _weighted(self, losses: Losses) -> Losses:
        weights = self.weights
        factor = {
            "nce": 1.0,
            "composed": self.material.settings.composed,
            "attention": weights.attention,
            "asked_attention": weights.attention,
            "subject": weights.subject,
            "misalignment": weights.misalignment,
            "head": weights.head,
            "named_head": weights.head,
        }
        total = torch.stack([factor[name] * value for name, value in losses.items()]).sum()
        return {"loss": total} | {name: value.detach() for name, value in losses.items()}

    def _contrast_subjects(self, losses: Losses, batch: Batch, spoken: Tensor, hidden: Tensor) -> None:
        """L_subject and L_mis, of single subjects and of pairs, in their annotated regions."""
        named, visual, composition = batch.named, batch.visual, self.parts.composition
        things = Things.of(batch)
        regions = named.regions[:, None]
        singles = composition.subjects(hidden[named.image], visual.tokens[named.image], regions)[:, 0]
        vectors = singles
        if len(things.first):
            boxes = torch.from_numpy(visual.boxes).to(singles.device)[named.image]
            where = places(regions, boxes, sizes_of(visual).to(singles.device)[named.image])[:, 0]
            first, second = things.first, things.second
            pairs = composition.pairs(singles[first], singles[second], where[first], where[second])
            vectors = torch.cat([singles, pairs])
        texts = spoken[things.rows]
        losses["subject"] = objectives.subject_contrast(
            texts, vectors, things.own, things.true, self.subject_temperature()
        )
        losses["misalignment"] = objectives.misalignment(
            texts, vectors, things.own, things.rivals(batch.group), self.weights.margin
        )

    def _find_phrases(self, losses: Losses, batch: Batch, phrases: Tensor, step: int) -> None:
        """L_head with a phrase: the named region where it is there, darkness where it is not."""
        named, visual, head = batch.named, batch.visual, self.parts.head
        rng = np.random.default_rng((self.material.seed, step, 2))
        share = max(1, int(len(named) * self.weights.phrase_share))
        rows = torch.from_numpy(np.sort(rng.permutation(len(named))[:share])).to(named.image.device)
        images = named.image[rows]
        tokens, valid = visual.tokens[images], visual.valid[images]
        said = phrases.detach()
        right = head(tokens, valid, said[named.place[rows]])
        wrong, present = self._others(batch, rows, rng)
        dark = head(tokens, valid, said[named.place[wrong]])
        nothing = torch.zeros_like(named.regions[rows])
        losses["named_head"] = objectives.salience_bce(right, named.regions[rows], valid) + 0.5 * (
            objectives.salience_bce(dark, nothing, valid & ~present[:, None])
        )

    def _others(self, batch: Batch, rows: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """For each row another named region, of a twin where there is one, and whether its image shows that phrase too."""
        named = batch.named
        images = named.image.tolist()
        shown: dict[int, set[str]] = {}
        families: dict[int, list[int]] = {}
        for r, b in enumerate(images):
            shown.setdefault(b, set()).add(general(named.phrases[r]))
            families.setdefault(b // batch.group, []).append(r)
        picked = []
        for row in rows.tolist():
            near = families[images[row] // batch.group] if rng.random() < 0.5 else range(len(images))
            picked.append(near[int(rng.integers(len(near)))])
        present = [
            general(named.phrases[other]) in shown[images[row]]
            for row, other in zip(rows.tolist(), picked, strict=True)
        ]
        return torch.tensor(picked, device=rows.device), torch.tensor(present, device=rows.device)

    def _ask(
        self,
        losses: Losses,
        batch: Batch,
        phrases: Tensor,
        found: Salient,
        key_bias: Tensor,
        regenerated: VisualBatch,
    ) -> None:
        """Questions about images: L_nce of the answers, and L_attn on the region that each asks for."""
        questions, named = batch.questions, batch.named
        seen = regenerated.select(questions.images)
        width = seen.tokens.shape[1]
        bias = key_bias[list(questions.images)][:, :width]
        asked = self.material.backbone.language_pass(questions.texts, seen, bias, collect_rows=True)
        assert asked.rows is not None
        losses["composed"] = composed_contrast(
            asked.embedding(), phrases, named, questions, self.temperature()
        )
        losses["asked_attention"] = objectives.attention_alignment(
            asked.rows.float(), named.regions[questions.rows][:, :width], seen.valid
        )
