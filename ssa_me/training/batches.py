"""One step's batch as the stages read it: its images, what is named in them, the questions asked, and its parts.

A part is what one pass reads: some images in turn with all that belongs to them, and a share of the distinct phrases, so
that each is embedded once a batch. It knows nothing of models or losses.

B images, R named regions, P distinct phrases, Q questions, C claims, N image tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ssa_me.errors import InputError
from ssa_me.salience.subjects import question
from ssa_me.training import processes
from ssa_me.training.data import Corpus, Draw, Prepared, general, pad_coverage, same_meaning

ASKED_SHARE = 0.75
"""Of the regions that a question leads to, so many are asked for by it; the others by their phrase."""
OWN_CLAIM, OTHER_CLAIM = 0.25, 0.75
"""Below the first, of a number between 0 and 1, an image's own caption is claimed of it; below the second a twin's."""
_SPOKEN, _FEWEST_SPOKEN = 48, 8
LEAST_COVERAGE = 0.05
"""A region that covers less of the image's tokens than this share of one token is no target."""


@dataclass(frozen=True)
class Named:
    """The named regions of a batch, R in all, image by image: phrase, image (R,), number within its image (R,), coverage
    (R, N), and which of them are no subjects but what surrounds them, named by the setting (R,)."""

    phrases: tuple[str, ...]
    image: Tensor
    number: tuple[int, ...]
    regions: Tensor
    ground: tuple[bool, ...]

    @classmethod
    def of(cls, items: Sequence[Prepared], device: torch.device) -> Named:
        coverage = [
            torch.cat([regions, _around(regions, item)[None]]) if item.setting else regions
            for regions, item in zip(pad_coverage(items), items, strict=True)
        ]
        names = [(*item.phrases, item.setting) if item.setting else item.phrases for item in items]
        rows = [
            (b, k)
            for b, regions in enumerate(coverage)
            for k in range(len(regions))
            if regions[k].sum() > LEAST_COVERAGE
        ]
        empty = torch.zeros(0, coverage[0].shape[1])
        return cls(
            phrases=tuple(names[b][k] for b, k in rows),
            image=torch.tensor([b for b, _ in rows], dtype=torch.long, device=device),
            number=tuple(k for _, k in rows),
            regions=(torch.stack([coverage[b][k] for b, k in rows]) if rows else empty).to(device),
            ground=tuple(k == len(items[b].phrases) for b, k in rows),
        )

    def __len__(self) -> int:
        return len(self.phrases)

    @cached_property
    def images(self) -> list[int]:
        """`image` as numbers."""
        return [int(b) for b in self.image.tolist()]

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
        """(B, N): the regions of each image's subjects together."""
        everything = torch.zeros(images, self.regions.shape[-1], device=self.regions.device)
        subjects = torch.tensor([not ground for ground in self.ground], device=self.regions.device)
        rows = self.image[:, None].expand_as(self.regions)
        return everything.scatter_reduce(0, rows, self.regions * subjects[:, None], "amax")

    def rows_of(self, images: range) -> range:
        """The rows of some images in turn."""
        found = _those_of(images, self.images)
        return range(found.start, found.stop)

    def among(self, images: Sequence[int]) -> Named:
        """What is named in those images, which are numbered anew, in their order."""
        rows = [r for b in images for r in self.rows_of(range(b, b + 1))]
        number = {b: i for i, b in enumerate(images)}
        return Named(
            tuple(self.phrases[r] for r in rows),
            torch.tensor([number[self.images[r]] for r in rows], dtype=torch.long, device=self.image.device),
            tuple(self.number[r] for r in rows),
            self.regions[rows],
            tuple(self.ground[r] for r in rows),
        )

    def select(self, images: range, width: int) -> Named:
        """What is named in some images in turn, which are numbered anew; regions are cut to `width` tokens."""
        rows = self.rows_of(images)
        return Named(
            self.phrases[rows.start : rows.stop],
            self.image[rows.start : rows.stop] - images.start,
            self.number[rows.start : rows.stop],
            self.regions[rows.start : rows.stop, :width],
            self.ground[rows.start : rows.stop],
        )


def _around(regions: Tensor, item: Prepared) -> Tensor:
    """(N,): what no subject (K, N) covers of an image's own tokens."""
    around = torch.zeros(regions.shape[-1])
    own = item.coverage.shape[1]
    around[:own] = 1 - regions[:, :own].amax(0) if len(regions) else 1
    return around


@dataclass(frozen=True)
class Questions:
    """Image and text read together, in the order of the regions: row of the named region (Q,), its image (Q,), the text,
    and which texts are questions, `the dog` for "a red dog", that a phrase answers (Q,). The others are the phrases
    themselves."""

    rows: Tensor
    images: tuple[int, ...]
    texts: tuple[str, ...]
    open: Tensor

    @classmethod
    def of(cls, named: Named, most: int, rng: np.random.Generator) -> Questions:
        """At most `most` of the regions; a question that two regions of an image answer is not asked."""
        asked = _asked(named)
        picked = sorted(rng.permutation(len(named))[:most].tolist())
        drawn = [asked[r] for r in picked]
        texts = [text if single and rng.random() < ASKED_SHARE else None for text, single in drawn]
        return cls(
            torch.tensor(picked, dtype=torch.long, device=named.image.device),
            tuple(named.images[r] for r in picked),
            tuple(text or named.phrases[r] for r, text in zip(picked, texts, strict=True)),
            torch.tensor([text is not None for text in texts], dtype=torch.bool, device=named.image.device),
        )

    @classmethod
    def one_each(cls, named: Named, numbers: Sequence[int]) -> Questions:
        """Of each image one open question, that of the image whose number (B,) is the same always the same one; none where
        each would be answered by two regions or by none."""
        asked = _asked(named)
        found: list[tuple[int, str]] = []
        for b, number in enumerate(numbers):
            rows = named.rows_of(range(b, b + 1))
            clear = [
                (r, text)
                for r, (text, single) in zip(rows, asked[rows.start : rows.stop], strict=True)
                if text and single
            ]
            found += [clear[number % len(clear)]] if clear else []
        device = named.image.device
        return cls(
            torch.tensor([row for row, _ in found], dtype=torch.long, device=device),
            tuple(named.images[row] for row, _ in found),
            tuple(text for _, text in found),
            torch.ones(len(found), dtype=torch.bool, device=device),
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

    def select(self, images: range, rows: range) -> Questions:
        """Those about some images in turn, whose named regions are `rows`; both are numbered anew."""
        those = _those_of(images, self.images)
        return Questions(
            self.rows[those] - rows.start,
            tuple(b - images.start for b in self.images[those]),
            self.texts[those],
            self.open[those],
        )


def _asked(named: Named) -> list[tuple[str | None, bool]]:
    """What asks for each region, None where nothing does, and whether it asks for no other of its image."""
    asked = [(b, question(phrase)) for b, phrase in zip(named.images, named.phrases, strict=True)]
    times = Counter(asked)
    return [(text, times[b, text] == 1) for b, text in asked]


@dataclass(frozen=True)
class Claims:
    """Captions claimed of images, true or not, in the order of the images: the image (C,), and whose caption of the batch
    is claimed of it (C,)."""

    images: tuple[int, ...]
    captions: tuple[int, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str], group: int, share: float, rng: np.random.Generator) -> Claims:
        """Of a `share` of the images: their own caption, that of a twin where there are twins, or any other's."""
        count = len(texts)
        images = np.sort(rng.permutation(count)[: int(count * share)])
        kinds = rng.random(len(images))
        twins = images // group * group + rng.integers(0, group, len(images))
        anyone = rng.integers(0, count, len(images))
        captions = np.where(kinds < OWN_CLAIM, images, np.where(kinds < OTHER_CLAIM, twins, anyone))
        return cls(
            tuple(images.tolist()), tuple(captions.tolist()), tuple(texts[c] for c in captions.tolist())
        )

    def __len__(self) -> int:
        return len(self.images)

    def select(self, images: range) -> Claims:
        """Those of some images in turn, which are numbered anew; captions keep their numbers."""
        those = _those_of(images, self.images)
        return Claims(
            tuple(b - images.start for b in self.images[those]),
            self.captions[those],
            self.texts[those],
        )


@dataclass(frozen=True)
class PhraseClaims:
    """Phrases claimed of images that have named subjects, true or not, in the order of the images: the image (C,), the
    text, and for each distinct phrase of the batch whether it is right for what is read then (C, P) and whether it is wrong
    (C, P).

    Right is the phrase itself where it is true of the image; else what the image has of that kind, "a blue dog" for "a red
    dog"; else all that the image has. Wrong is what is not true of the image.
    """

    images: tuple[int, ...]
    texts: tuple[str, ...]
    right: Tensor
    wrong: Tensor

    @classmethod
    def of(cls, named: Named, group: int, count: int, rng: np.random.Generator) -> PhraseClaims:
        """Of at most `count` images: a phrase of their own, one of a twin that is not theirs, or any other's."""
        distinct = named.distinct
        own: dict[int, list[int]] = {}
        for image, place in zip(named.images, named.place.tolist(), strict=True):
            own.setdefault(image, []).append(place)
        spoken = [general(phrase) for phrase in distinct]
        asked = [general(question(phrase) or "") for phrase in distinct]
        images = sorted(rng.permutation(list(own)).tolist()[:count])
        claimed, right, wrong = [], [], []
        for image in images:
            mine = {spoken[place] for place in own[image]}
            false = [place for place in range(len(distinct)) if spoken[place] not in mine]
            family = range(image // group * group, image // group * group + group)
            near = {place for b in family for place in own.get(b, ())}.intersection(false)
            kind = rng.random()
            choice = own[image] if kind < OWN_CLAIM or not false else false
            if near and OWN_CLAIM <= kind < OTHER_CLAIM:
                choice = sorted(near)
            place = choice[int(rng.integers(len(choice)))]
            alike = [p for p in own[image] if asked[p] and asked[p] == asked[place]]
            claimed.append(place)
            right.append([place] if spoken[place] in mine else alike or own[image])
            wrong.append(false)
        device = named.image.device
        shape = (len(images), len(distinct))
        return cls(
            tuple(images),
            tuple(distinct[place] for place in claimed),
            _marked(right, shape).to(device),
            _marked(wrong, shape).to(device),
        )

    def __len__(self) -> int:
        return len(self.images)

    def select(self, images: range) -> PhraseClaims:
        """Those of some images in turn, which are numbered anew."""
        those = _those_of(images, self.images)
        return PhraseClaims(
            tuple(b - images.start for b in self.images[those]),
            self.texts[those],
            self.right[those],
            self.wrong[those],
        )


def _those_of(images: range, owners: Sequence[int]) -> slice:
    """Where those of some images in turn stand among things in the order of their images, `owners`."""
    return slice(bisect_left(owners, images.start), bisect_left(owners, images.stop))


def _marked(columns: Sequence[Sequence[int]], shape: tuple[int, int]) -> Tensor:
    """(C, P) bool: the columns of each row."""
    marked = torch.zeros(shape, dtype=torch.bool)
    for row, places in enumerate(columns):
        marked[row, list(places)] = True
    return marked


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
