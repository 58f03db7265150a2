"""What one step of SSA-ME's composition computes, after its adapter: codes that tell whose words belong together, and
relations read from places. How far they count in the one vector is learned after this.

The model, its adapter and the head are frozen by then, so that each image and each text is read once and remembered;
steps are cheap. It knows nothing of optimisers or files.

B images, R named regions, Q questions, K regions found, P readings of texts, D width, W relations. What is named is seen
in two ways: as it is annotated, and as the head finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssa_me import objectives
from ssa_me.composition import SubjectComposition, places
from ssa_me.outputs import VisualBatch
from ssa_me.passes import MOST_SUBJECTS, look, sizes_of
from ssa_me.salience.relations import WAYS
from ssa_me.training.adapter_stages import SalientStage
from ssa_me.training.batches import Batch, Part
from ssa_me.training.gradcache import Losses, Representations
from ssa_me.training.named import Questions
from ssa_me.training.reading import Steps, Texts
from ssa_me.training.recipe import Composition
from ssa_me.training.stages import weighted
from ssa_me.training.things import Things, true_by_name

_FOUND = 0.3
"""A region shows what is named where they share at least so much (IoU over tokens)."""


@dataclass(frozen=True)
class Remembered:
    """What the frozen model says of one image: e_last (D,), the regions it finds as a (K, D), where they lie (K, 6), which
    are there (K,), the ground (D,), a (R_b, 2, D) of what is named with where it lies (R_b, 2, 6), in both ways, and what it
    answers to the question that is asked of it (A_b, D), one or none."""

    vector: Tensor
    found: Tensor
    places: Tensor
    present: Tensor
    ground: Tensor
    named: Tensor
    lying: Tensor
    answers: Tensor


class Memory:
    """Images and texts as the frozen model reads them, each once."""

    def __init__(self, stage: SalientStage) -> None:
        self.stage, self.texts = stage, Texts(stage)
        self._images: dict[tuple[int, int], Remembered] = {}

    def images(self, part: Part) -> list[Remembered]:
        """Those of a part, in its order."""
        draw = part.batch.draw
        keys = [(draw.source, draw.indices[b]) for b in part.images]
        new = [b for b, key in enumerate(keys) if key not in self._images]
        if new:
            self._images |= dict(zip([keys[b] for b in new], self._look(part, new), strict=True))
        return [self._images[key] for key in keys]

    @torch.no_grad()
    def _look(self, part: Part, images: Sequence[int]) -> list[Remembered]:
        stage = self.stage
        visual = stage.material.tokens(part).select(images)
        named = part.named.among(images)
        named = replace(named, regions=named.regions[:, : visual.tokens.shape[1]])
        alone, found = stage.alone(visual)
        answers = self._answers(part, images, visual)
        assert alone.hidden is not None
        seen = look(stage.parts.composition, alone, visual, found)
        more = MOST_SUBJECTS - seen.subjects.shape[1]
        # what an image lacks is nought, whatever it was read beside
        there = seen.subjects * seen.present[..., None]
        subjects, where = (F.pad(things, (0, 0, 0, more)) for things in (there, seen.places))
        present = F.pad(seen.present, (0, more))
        boxes, sizes = torch.from_numpy(visual.boxes).to(where), sizes_of(visual).to(where)
        own = stage.see(named, visual, alone.hidden).float()
        lying = places(named.regions[:, None], boxes[named.image], sizes[named.image])[:, 0]
        result = []
        for b, vector in enumerate(alone.embedding()):
            rows = [r for r, image in enumerate(named.images) if image == b]
            shown, lies = own[rows].clone(), lying[rows].clone()
            showing = shown_by(named.regions[rows], found.stacked[b].float())
            for r, row in enumerate(rows):
                if named.ground[row]:
                    shown[r] = seen.ground[b]
                elif r in showing:
                    shown[r], lies[r] = seen.subjects[b, showing[r]], seen.places[b, showing[r]]
            both, lie = torch.stack([own[rows], shown], 1), torch.stack([lying[rows], lies], 1)
            said, ground = answers[b], seen.ground[b]
            result.append(Remembered(vector, subjects[b], where[b], present[b], ground, both, lie, said))
        return result

    def _answers(self, part: Part, images: Sequence[int], visual: VisualBatch) -> list[Tensor]:
        """(A_b, D) float32 of unit length of each of the images, whose tokens are `visual`: read with its question."""
        texts = dict(zip(part.questions.images, part.questions.texts, strict=True))
        rows = [row for row, b in enumerate(images) if b in texts]
        backbone = self.stage.material.backbone
        none = torch.zeros(0, backbone.width, device=backbone.device)
        if not rows:
            return [none] * len(images)
        read = self.stage.read([texts[images[row]] for row in rows], visual.select(rows)).float()
        answers = dict(zip(rows, read.split(1), strict=True))
        return [answers.get(row, none) for row in range(len(images))]


def shown_by(named: Tensor, found: Tensor) -> dict[int, int]:
    """Of what is named (R, N) the number of the found region (K, N) that shows it, for those that one does. A region shows one
    alone, that it shares the most with."""
    if not len(named) or not len(found):
        return {}
    shared = torch.minimum(named[:, None], found).sum(-1)
    iou = shared / torch.maximum(named[:, None], found).sum(-1).clamp(min=1e-6)
    best = iou.argmax(0)
    showing = iou * (torch.arange(len(named), device=best.device)[:, None] == best)
    most, region = showing.max(1)
    return {r: int(k) for r, (k, iou_) in enumerate(zip(region, most, strict=True)) if iou_ >= _FOUND}


@dataclass(frozen=True)
class ComposedBatch:
    """A step: the batch, what its texts speak of, and what the named regions are called, some by less than their phrase."""

    batch: Batch
    things: Things
    called: tuple[str, ...]


@dataclass(frozen=True)
class ComposedPart:
    """A part of it, with what its named regions are called."""

    some: Part
    called: tuple[str, ...]


class CompositionStage(nn.Module):
    """L_bind of named subjects and phrases, of what they are called by less, and of what an image answers to a question; the
    relations between subjects."""

    def __init__(self, stage: SalientStage, settings: Composition) -> None:
        super().__init__()
        self.composition: SubjectComposition = stage.parts.composition
        self.composition.requires_grad_(False)
        for taught in (self.composition.bind_subject, self.composition.bind_phrase, self.composition.relate):
            taught.requires_grad_(True)
        self.settings, self.material = settings, stage.material
        self.memory = Memory(stage)
        self._steps = Steps(lambda step: self.cut(self.batch(step), settings.chunks))

    def batch(self, step: int) -> ComposedBatch:
        batch, seed = self.material.unread(step, self.settings.batch), self.material.seed
        asked = Questions.one_each(batch.named, batch.draw.indices)
        batch = replace(batch, questions=asked)
        called = batch.named.called(self.settings.reworded, np.random.default_rng((seed, step, 4)))
        return ComposedBatch(batch, Things.of(batch), called)

    def cut(self, whole: ComposedBatch, chunks: int) -> list[ComposedPart]:
        parts = whole.batch.parts(chunks)
        return [ComposedPart(part, whole.called[part.rows.start : part.rows.stop]) for part in parts]

    def represent(self, part: ComposedPart) -> tuple[Representations, None]:
        """phrases (P, D), subjects (R, 2, D), what those are called (R, D) and answers (Q, D) as codes, of unit length, and ways
        (·, 2, W), the logits of relations between the named subjects of each image."""
        some = part.some
        self._remember(some.batch.step)
        composition, known = self.composition, self.memory.images(some)
        named = torch.cat([one.named for one in known])
        lying = torch.cat([one.lying for one in known])
        first, second = self._ordered(some)
        return {
            "phrases": composition.phrase_codes(self.memory.texts(some.phrases)),
            "subjects": composition.subject_codes(named),
            "called": composition.phrase_codes(self.memory.texts(part.called)),
            "answers": composition.phrase_codes(torch.cat([one.answers for one in known])),
            "ways": composition.relations(lying[first], lying[second]),
        }, None

    def compare(self, whole: ComposedBatch, representations: Representations) -> Losses:
        batch, things, rows = whole.batch, whole.things, representations
        losses = {}
        if len(batch.named):
            own, true = batch.named.place, things.of_phrases(len(batch))
            seen, shown = (told.repeat_interleave(2, 0) for told in (own, true))
            losses["bind"] = objectives.binding(rows["phrases"], rows["subjects"].flatten(0, 1), seen, shown)
            asked = batch.questions.rows
            if len(asked):
                losses["bind_answer"] = objectives.binding(
                    rows["phrases"], rows["answers"], own[asked], true[asked]
                )
            less = [r for r, name in enumerate(whole.called) if name != batch.named.phrases[r]]
            if less:
                # subjects are bound by their phrases alone: what is called by less is to lie amid those it may mean
                subjects = rows["subjects"].detach()[:, 0]
                meant = true_by_name(batch, [whole.called[r] for r in less]).to(subjects.device)
                losses["bind_name"] = objectives.binding(
                    subjects, rows["called"][less], torch.tensor(less, device=subjects.device), meant
                )
        if len(rows["ways"]):
            target = _told(batch).to(rows["ways"])[:, None].expand_as(rows["ways"])
            losses["relation"] = F.binary_cross_entropy_with_logits(rows["ways"], target)
        told = weighted(losses, {}, rows["phrases"])
        return told | {"loss": told["loss"] + 0.0 * rows["phrases"].sum()}  # a batch may name nothing

    def beside(self, part: ComposedPart, kept: None, representations: Representations) -> Losses:
        return weighted({}, {}, representations["phrases"])

    def _remember(self, step: int) -> None:
        """Read what the steps before `step` read."""
        for part in self._steps.before(step):
            self.memory.images(part.some)
            self.memory.texts(part.some.phrases)
            self.memory.texts(part.called)

    def _ordered(self, part: Part) -> tuple[list[int], list[int]]:
        """The rows of all ordered pairs of subjects of one image, where the relations between them are known."""
        pairs = _pairs(part.batch, part.images)
        start = part.rows.start
        return [first - start for first, _ in pairs], [second - start for _, second in pairs]


def _pairs(batch: Batch, images: range) -> list[tuple[int, int]]:
    """Rows of all ordered pairs of named subjects of each of some images, those of scenes."""
    named, found = batch.named, []
    for b in images:
        if batch.items[b].facts is not None:
            rows = [r for r in named.rows_of(range(b, b + 1)) if not named.ground[r]]
            found += list(permutations(rows, 2))
    return found


def _told(batch: Batch) -> Tensor:
    """(·, W): which relations hold between the subjects of all pairs of a batch."""
    named, told = batch.named, []
    for first, second in _pairs(batch, range(len(batch))):
        facts = batch.items[named.images[first]].facts
        assert facts is not None
        ends = named.number[first], named.number[second]
        told.append([float((ends[0], way, ends[1]) in facts.relations) for way in WAYS])
    return torch.tensor(told)
