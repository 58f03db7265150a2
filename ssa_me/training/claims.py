"""What is claimed of a batch's images, truly or not: captions of them or of their twins, and phrases.

It knows what is named in them; it knows nothing of models or losses. R named regions, P distinct phrases, C claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssa_me.salience.subjects import question
from ssa_me.training.data import general
from ssa_me.training.named import Named, those_of

OWN_CLAIM, OTHER_CLAIM = 0.25, 0.75
"""Below the first, of a number between 0 and 1, an image's own caption is claimed of it; below the second a twin's."""


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
        those = those_of(images, self.images)
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
        those = those_of(images, self.images)
        return PhraseClaims(
            tuple(b - images.start for b in self.images[those]),
            self.texts[those],
            self.right[those],
            self.wrong[those],
        )


def _marked(columns: Sequence[Sequence[int]], shape: tuple[int, int]) -> Tensor:
    """(C, P) bool: the columns of each row."""
    marked = torch.zeros(shape, dtype=torch.bool)
    for row, places in enumerate(columns):
        marked[row, list(places)] = True
    return marked
