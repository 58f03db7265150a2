"""One step's batch as the stages read it: its images, what is named in them, what is asked and claimed, and its parts.

A part is what one pass reads: some images in turn with all that belongs to them, and a share of the distinct phrases, so
that each is embedded once a batch. It knows nothing of models or losses. B images, P distinct phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ssa_me.errors import InputError
from ssa_me.training import processes
from ssa_me.training.claims import Claims, PhraseClaims
from ssa_me.training.data import Corpus, Draw, Prepared, same_meaning
from ssa_me.training.named import Named, Questions

_SPOKEN, _FEWEST_SPOKEN = 48, 8


@dataclass(frozen=True)
class Batch:
    """A whole step, of all processes: the draw, its images, what is named in them, the questions asked, and the captions and
    phrases claimed of them. group: so many images in turn are one with its twins."""

    step: int
    draw: Draw
    items: Sequence[Prepared]
    named: Named
    questions: Questions
    group: int
    claims: Claims
    phrase_claims: PhraseClaims

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        seed: int,
        step: int,
        size: int,
        asked: float,
        device: torch.device,
        only_open: bool,
        claimed: float = 0.0,
    ) -> tuple[Batch, np.random.Generator]:
        """The batch of a step, and a generator for what else is drawn in it. asked: questions an image; claimed: captions
        claimed of an image, and as many phrases of one that has some."""
        draw = corpus.draw(seed, step, size)
        items = corpus.items(draw)
        corpus.ahead(seed, step + 1, size)
        named = Named.of(items, device)
        rng = np.random.default_rng((seed, step, 1))
        questions = Questions.of(named, int(len(items) * asked), rng)
        questions = questions.only_open() if only_open else questions
        group = corpus.sources[draw.source].group
        drawn = np.random.default_rng((seed, step, 3))
        claims = Claims.of(draw.texts, group, claimed, drawn)
        phrase_claims = PhraseClaims.of(named, group, int(len(items) * claimed), drawn)
        return cls(step, draw, items, named, questions, group, claims, phrase_claims), rng

    def __len__(self) -> int:
        return len(self.items)

    def same(self) -> Tensor:
        """(B, B) bool: which captions are true of which images."""
        return self._same

    @cached_property
    def _same(self) -> Tensor:
        return same_meaning(self.draw, self.items).to(self.named.image.device)

    def tokens(self, image: int) -> int:
        """How many image tokens an image has."""
        return self.items[image].coverage.shape[1]

    def annotated_tokens(self, images: range) -> int:
        """The image tokens of those among `images` that have named subjects."""
        return sum(self.tokens(b) for b in images if self.items[b].phrases)

    def parts(self, chunks: int) -> list[Part]:
        """This process's share, cut into so many parts (fewer where it has fewer images)."""
        mine = processes.share(len(self), processes.count(), processes.own())
        if not mine:
            raise InputError(
                f"A batch of {len(self)} images is too small for {processes.count()} processes. Raise batch."
            )
        count = min(chunks, len(mine))
        spoken = processes.share(len(self.named.distinct), processes.count(), processes.own())
        return [
            Part(
                self,
                mine[cut.start : cut.stop],
                spoken[said.start : said.stop],
            )
            for cut, said in (
                (processes.share(len(mine), count, i), processes.share(len(spoken), count, i))
                for i in range(count)
            )
        ]


@dataclass(frozen=True)
class Part:
    """What one pass reads: the images in this range of the batch, and the distinct phrases in that one."""

    batch: Batch
    images: range
    spoken: range

    def __len__(self) -> int:
        return len(self.images)

    @property
    def items(self) -> Sequence[Prepared]:
        return self.batch.items[self.images.start : self.images.stop]

    @property
    def captions(self) -> tuple[str, ...]:
        return self.batch.draw.texts[self.images.start : self.images.stop]

    @property
    def phrases(self) -> list[str]:
        return self.batch.named.distinct[self.spoken.start : self.spoken.stop]

    @property
    def bucket(self) -> int:
        """How many texts are read at once, fewer in a smaller part: padded to the longest of few of its texts, they would
        take far longer in parts than in one pass."""
        return max(_FEWEST_SPOKEN, _SPOKEN * len(self) // len(self.batch))

    @cached_property
    def rows(self) -> range:
        """Its named regions among the batch's."""
        return self.batch.named.rows_of(self.images)

    @cached_property
    def named(self) -> Named:
        """What is named in its images, which are numbered from 0."""
        return self.batch.named.select(self.images, max(self.batch.tokens(b) for b in self.images))

    @cached_property
    def questions(self) -> Questions:
        """The questions about its images."""
        return self.batch.questions.select(self.images, self.rows)

    @cached_property
    def claims(self) -> Claims:
        """The captions claimed of its images."""
        return self.batch.claims.select(self.images)

    @cached_property
    def phrase_claims(self) -> PhraseClaims:
        """The phrases claimed of its images."""
        return self.batch.phrase_claims.select(self.images)


def share_of(mean: Tensor, mine: float, whole: float) -> Tensor:
    """A part's mean over `mine` things as its share of the mean over `whole` things, times the number of processes, since
    a run's losses are the mean of its processes'."""
    return mean * (mine / whole * processes.count()) if whole else mean
