"""What is named in a batch: regions with the phrases that name them, and what is asked about them.

It reads prepared images; it knows nothing of models or losses. B images, R named regions, Q questions, N image tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ssa_me.salience.subjects import question, shorter
from ssa_me.training.data import Prepared, general, pad_coverage

ASKED_SHARE = 0.75
"""Of the regions that a question leads to, so many are asked for by it; the others by their phrase."""
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
        found = those_of(images, self.images)
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

    def called(self, share: float, rng: np.random.Generator) -> tuple[str, ...]:
        """(R) what each is called: a `share` of the subjects by less than their phrase, `a dog` for "a red dog", `the person` or
        `a person in red` for "a man in red"."""
        called = list(self.phrases)
        names = [() if ground else less_than(p) for p, ground in zip(self.phrases, self.ground, strict=True)]
        for r in np.flatnonzero(rng.random(len(self)) < share).tolist():
            if names[r]:
                called[r] = names[r][int(rng.integers(len(names[r])))]
        return tuple(called)

    def reworded(self, share: float, rng: np.random.Generator) -> Named:
        """The same, each by what it is `called`. What is called by less has the regions of all of its image that might be
        meant."""
        alike: dict[tuple[int, str], list[int]] = {}
        for r, image in enumerate(self.images):
            for name in () if self.ground[r] else goes_by(self.phrases[r]):
                alike.setdefault((image, name), []).append(r)
        phrases, regions = self.called(share, rng), self.regions.clone()
        for r, phrase in enumerate(phrases):
            if phrase != self.phrases[r]:
                regions[r] = self.regions[alike[self.images[r], general(phrase)]].amax(0)
        return replace(self, phrases=phrases, regions=regions)

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
        those = those_of(images, self.images)
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


def goes_by(phrase: str) -> set[str]:
    """The phrase and all that asks for its subject in fewer words, as they are compared."""
    return {general(text) for text in (phrase, *shorter(phrase))}


def less_than(phrase: str) -> tuple[str, ...]:
    """What else asks for a phrase's subject and says less of it."""
    return tuple(
        name for name in dict.fromkeys((*shorter(phrase), *sorted(goes_by(phrase)))) if name != phrase
    )


def those_of(images: range, owners: Sequence[int]) -> slice:
    """Where those of some images in turn stand among things in the order of their images, `owners`."""
    return slice(bisect_left(owners, images.start), bisect_left(owners, images.stop))
