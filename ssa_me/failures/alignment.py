"""How well the phrases of a query fit the regions of its image: from the subject vectors that a gallery keeps.

No image is read: a phrase's own region is the one that lies on the annotated subject that it names. It knows no ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssa_me.failures.queries import labels_of
from ssa_me.failures.words import is_named
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.items import HEAD, Item, annotation
from ssa_me.gallery.store import Gallery

if TYPE_CHECKING:
    from ssa_me.embedding import Embedder

NAN = float("nan")


@dataclass(frozen=True)
class PhraseFit:
    """The phrase of a query that fits its image worst. score: cos(e(p), a) with its own region; misaligned: 1 where
    another region scores higher, else 0; size: the subject's share of the image's area. NaN where unknown."""

    phrase: str
    score: float = NAN
    misaligned: float = NAN
    size: float = NAN


class Aligner:
    """Aligns texts with images of a gallery by SSA-ME's subject vectors. items: those images, with their regions."""

    def __init__(
        self,
        gallery: Gallery,
        embedder: Embedder,
        items: Mapping[int, Item],
        subjects: Mapping[str, VectorIndex | None],
    ) -> None:
        self._embedder, self._items, self._index = embedder, items, subjects[HEAD]
        self._phrases: dict[str, tuple[str, ...]] = {}
        self._labels: dict[int, list[str | None]] = {}

    def phrases(self, text: str) -> tuple[str, ...]:
        """The subjects that a text names, in order."""
        if text not in self._phrases:
            self._phrases[text] = self._embedder.phrases(text)
        return self._phrases[text]

    def align(
        self, text: str, image: int, vectors: Mapping[str, np.ndarray], place: Mapping[str, int]
    ) -> PhraseFit:
        """The phrase of `text` that fits worst. vectors: version → (T, D) of texts, at `place`."""
        fits = [
            self._fit(phrase, vectors[HEAD][place[phrase]], self._items[image])
            for phrase in self.phrases(text)
        ]
        known = [fit for fit in fits if not np.isnan(fit.score)]
        if known:
            return min(known, key=lambda fit: fit.score)
        return fits[0] if fits else PhraseFit("")

    def _fit(self, phrase: str, vector: np.ndarray, item: Item) -> PhraseFit:
        named = [label for label in labels_of(item) if is_named(phrase, label)]
        size = _area(named[0], item) if named else NAN
        if self._index is None or item.id not in self._index:
            return PhraseFit(phrase, size=size)
        rows = self._index.of(item.id)
        single = [n for n, region in enumerate(item.regions[: len(rows)]) if region.single]
        if not single:
            return PhraseFit(phrase, size=size)
        scores = np.asarray(rows)[single] @ vector
        if not named:
            won = item.regions[single[int(scores.argmax())]].bbox
            return PhraseFit(phrase, float(scores.max()), NAN, _share(won[2] * won[3], item))
        labels = self._labels_of(item)
        own = np.array([labels[n] in named for n in single])
        if not own.any():
            return PhraseFit(phrase, size=size)
        best = float(scores[own].max())
        rival = float(scores[~own].max()) if not own.all() else -np.inf
        return PhraseFit(phrase, best, float(rival > best), size)

    def _labels_of(self, item: Item) -> list[str | None]:
        if item.id not in self._labels:
            self._labels[item.id] = [annotation(region.bbox, item) for region in item.regions]
        return self._labels[item.id]


def _area(label: str, item: Item) -> float:
    """The largest share of the image's area of an annotated subject of that label; NaN where it has no place."""
    shares = [NAN]
    for subject in item.subjects:
        if subject.phrase == label and subject.segmentation is not None:
            shares.append(float(subject.mask(item.width, item.height).mean()))
        elif subject.phrase == label and subject.bbox is not None:
            shares.append(_share(subject.bbox[2] * subject.bbox[3], item))
    return float(np.fmax.reduce(shares))


def _share(area: float, item: Item) -> float:
    return min(1.0, area / max(1, item.width * item.height))
