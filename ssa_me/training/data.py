"""Training data: the images of sources made ready for a model, and the batches drawn from them.

A batch depends only on seed and step, so that both adapters see the same data in the same order and a resumed run
goes on as if it had never stopped. It knows nothing of losses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssa_me.backbone import Backbone
from ssa_me.errors import InputError
from ssa_me.outputs import token_boxes
from ssa_me.salience.fusion import to_tokens
from ssa_me.scenes import SETTINGS, Facts, Query
from ssa_me.scenes.truth import truth
from ssa_me.training.lazy import OnTheFly
from ssa_me.training.mmeb_train import Pair
from ssa_me.training.sources import PairSource, Source, images_of

_PERSONS = re.compile(r"\b(?:man|woman|child|boy|girl)\b")
_AHEAD = 4  # processes that make ready what later steps need


@dataclass(frozen=True)
class Prepared:
    """One image ready for the vision pass. pixels (P, d) float16, grid (3,), coverage (K, N) share of each token; setting:
    what names all that no subject covers, "in the snow", where it is known; label: what it is called where it must be
    named."""

    pixels: np.ndarray
    grid: tuple[int, int, int]
    size: tuple[int, int]
    texts: tuple[str, ...]
    phrases: tuple[str, ...]
    coverage: np.ndarray
    about: tuple[tuple[int, ...], ...] = ()
    meanings: tuple[Query, ...] = ()
    facts: Facts | None = None
    setting: str = ""
    label: str = ""


@dataclass(frozen=True)
class Skipped:
    """An image that cannot be read, and why."""

    reason: str


@dataclass(frozen=True)
class PairDraw:
    """One step's batch of pairs, and their images by path."""

    source: int
    pairs: tuple[Pair, ...]
    images: dict[Path, Prepared]


@dataclass(frozen=True)
class Draw:
    """One step's batch: the images' indices in their source, and for each a text and its number among the image's."""

    source: int
    indices: tuple[int, ...]
    texts: tuple[str, ...]
    chosen: tuple[int, ...] = ()


def prepare(source: Source, image_processor: Any, merge: int, workers: int) -> Iterator[Prepared | Skipped]:
    """All images of `source` in order, resized to patches. workers 0: in this process."""
    job = _Tolerant(Prepare(source, image_processor, merge))
    if workers == 0:
        yield from map(job, range(len(source)))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(job, range(len(source)), chunksize=32)


class Corpus:
    """What batches are drawn from. The sources' images are held as patches, about 0.15 MB each at 112 pixels, but those
    of a source that is made ready on the fly."""

    def __init__(self, sources: Sequence[Source], groups: Sequence[Sequence[Prepared]]) -> None:
        kept = [(s, g) for s, g in zip(sources, groups, strict=True) if len(g)]
        if not kept:
            raise InputError(
                "The data holds no image with a caption or a subject, so there is nothing to train on."
            )
        if not any(source.weight for source, _ in kept):
            raise InputError("All sets have the weight 0. Give one of them more.")
        self.sources = tuple(source for source, _ in kept)
        self.groups = tuple(group for _, group in kept)

    @classmethod
    def load(
        cls,
        sources: Sequence[Source],
        image_processor: Any,
        merge: int,
        workers: int,
        progress: Callable[[str], None],
    ) -> Corpus:
        """Make all images ready, `workers` processes at a time. One that cannot be read is named and left out."""
        groups: list[Sequence[Prepared]] = []
        for source in sources:
            if source.on_the_fly:
                job = Prepare(source, image_processor, merge)
                groups.append(OnTheFly(len(source), job, progress, min(workers, _AHEAD), task=job.task))
                continue
            group: list[Prepared] = []
            reasons: dict[str, None] = {}
            for item in prepare(source, image_processor, merge, workers):
                if isinstance(item, Prepared):
                    group.append(item)
                elif item.reason not in reasons:  # each view of a photograph fails alike
                    reasons[item.reason] = None
                    progress(f"skipped: {item.reason}")
                if len(group) % 1000 == 999:
                    progress(f"{source.name}: {len(group) + 1} of {len(source)} images ready")
            if reasons and not group:
                raise InputError(f"No image of {source.name} can be read: {next(iter(reasons))}")
            groups.append(group)
        return cls(sources, groups)

    def images(self) -> Corpus:
        """The sources of images with texts, without those of pairs. InputError where there is none."""
        kept = [i for i, source in enumerate(self.sources) if not isinstance(source, PairSource)]
        return Corpus([self.sources[i] for i in kept], [self.groups[i] for i in kept])

    def has_images(self) -> bool:
        return any(not isinstance(source, PairSource) for source in self.sources)

    def has_pairs(self) -> bool:
        return any(isinstance(source, PairSource) for source in self.sources)

    def source(self, seed: int, step: int) -> int:
        """Which source the batch of a step is drawn from."""
        return self._source(seed, step)[0]

    def pairs(self, seed: int, step: int, batch: int) -> PairDraw:
        """The batch of a step whose source is one of pairs. A pair whose image cannot be read is left out, and so is
        such a negative; InputError where fewer than two are left."""
        which, numbers, _ = self._units(seed, step, batch)
        source, group = self.sources[which], self.groups[which]
        assert isinstance(source, PairSource)
        pairs = [source.pairs[n] for n in numbers]
        images: dict[Path, Prepared] = {}
        for path in images_of(pairs):
            item = group[source.place[path]]
            if item.label == source.label(source.place[path]):  # else another one stands in its place
                images[path] = item
        kept = tuple(pair.without_others(images) for pair in pairs if pair.is_within(images))
        if len(kept) < 2:
            raise InputError(f"Fewer than two pairs of a batch of {source.name} can be read.")
        return PairDraw(which, kept, images)

    def draw(self, seed: int, step: int, batch: int) -> Draw:
        """The batch of a step: images of one source, with their twins where it has them, and one text each."""
        which, indices, rng = self._indices(seed, step, batch)
        images = self.groups[which]
        chosen = tuple(int(rng.integers(len(images[i].texts))) for i in indices)
        texts = tuple(images[i].texts[number] for i, number in zip(indices, chosen, strict=True))
        return Draw(which, indices, texts, chosen)

    def ahead(self, seed: int, step: int, batch: int) -> None:
        """Begin to make ready what a later step needs, where that is done on the fly."""
        which, units, _ = self._units(seed, step, batch)
        group, source = self.groups[which], self.sources[which]
        if isinstance(group, OnTheFly):
            if isinstance(source, PairSource):
                group.ahead(source.place[path] for path in images_of(source.pairs[n] for n in units))
            else:
                group.ahead(self._images(which, units))

    def close(self) -> None:
        """End the processes that work ahead."""
        for group in self.groups:
            if isinstance(group, OnTheFly):
                group.close()

    def describe(self, seed: int, step: int, batch: int) -> str:
        """The images of a step's batch by name."""
        which, units, _ = self._units(seed, step, batch)
        source, group = self.sources[which], self.groups[which]
        if isinstance(source, PairSource):
            labels = [str(path) for path in images_of([source.pairs[n] for n in units])]
        else:
            labels = [group[i].label for i in self._images(which, units)]
        return f"{source.name}: {', '.join(labels)}"

    def _source(self, seed: int, step: int) -> tuple[int, np.random.Generator]:
        rng = np.random.default_rng((seed, step))
        weights = np.array([source.weight for source in self.sources])
        return int(rng.choice(len(weights), p=weights / weights.sum())), rng

    def _units(self, seed: int, step: int, batch: int) -> tuple[int, list[int], np.random.Generator]:
        """A source, what is drawn of it (pairs, or images with their twins), and the generator after that."""
        which, rng = self._source(seed, step)
        source = self.sources[which]
        count = (
            len(source.pairs) if isinstance(source, PairSource) else len(self.groups[which]) // source.group
        )
        drawn = rng.choice(count, size=min(max(1, batch // source.group), count), replace=False)
        return which, drawn.tolist(), rng

    def _images(self, which: int, units: Sequence[int]) -> tuple[int, ...]:
        size = self.sources[which].group
        return tuple(i for unit in units for i in range(unit * size, (unit + 1) * size))

    def _indices(self, seed: int, step: int, batch: int) -> tuple[int, tuple[int, ...], np.random.Generator]:
        which, units, rng = self._units(seed, step, batch)
        return which, self._images(which, units), rng

    def items(self, draw: Draw) -> list[Prepared]:
        return [self.groups[draw.source][i] for i in draw.indices]


def prepare_corpus(sources: Sequence[Source], backbone: Backbone, report: Callable[[str], None]) -> Corpus:
    """All images of `sources` made ready for the backbone, by several processes where there are many."""
    report("preparing images")
    workers = 0 if sum(len(source) for source in sources) < 500 else min(8, os.cpu_count() or 1)
    return Corpus.load(sources, backbone.image_processor, backbone.merge, workers, report)


def same_meaning(draw: Draw, items: Sequence[Prepared]) -> Tensor:
    """(B, B) bool: text i of a batch is also true of image j as far as is known, so that j is no negative of i.

    Of scenes that is known exactly. Elsewhere it is so where j has the same text among its own, or names the same
    subjects; a man, a woman and a child count as a person then. Row i is a text, column j an image.
    """
    if all(item.facts is not None for item in items):
        meanings = [item.meanings[number] for item, number in zip(items, draw.chosen, strict=True)]
        facts = [item.facts for item in items if item.facts is not None]
        return torch.from_numpy(truth(meanings, facts))
    said = [{general(t) for t in (*item.texts, *item.phrases)} for item in items]
    named = [frozenset(general(phrase) for phrase in item.phrases) for item in items]
    return torch.tensor(
        [
            [general(text) in said[j] or bool(named[i] and named[i] == named[j]) for j in range(len(items))]
            for i, text in enumerate(draw.texts)
        ]
    )


def stack_pixels(items: Sequence[Prepared]) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
    """Patches (ΣP, d) float32, grids (B, 3) and sizes of some images, as `Backbone.encode_pixels` takes them."""
    pixels = torch.from_numpy(np.concatenate([item.pixels for item in items])).float()
    return pixels, torch.tensor([item.grid for item in items]), [item.size for item in items]


def pad_coverage(items: Sequence[Prepared]) -> list[Tensor]:
    """Each image's regions (K_b, N) float32, padded to the most tokens of an image."""
    width = max(item.coverage.shape[1] for item in items)
    return [
        torch.from_numpy(
            np.pad(item.coverage.astype(np.float32), ((0, 0), (0, width - item.coverage.shape[1])))
        )
        for item in items
    ]


def general(text: str) -> str:
    """A text as it is compared: a man, a woman and a child are a person."""
    return _PERSONS.sub("person", text.lower()).rstrip(" .")


class Prepare:
    """The work on one image, as a picklable callable."""

    def __init__(self, source: Source, image_processor: Any, merge: int) -> None:
        self.source, self.image_processor, self.merge = source, image_processor, merge

    def task(self, index: int) -> Callable[[], Prepared]:
        """The work on one image alone, small enough to be sent to another process."""
        if isinstance(self.source, PairSource):
            return partial(Prepare(self.source.alone(index), self.image_processor, self.merge), 0)
        return partial(self, index)

    def __call__(self, index: int) -> Prepared:
        loaded = self.source.load(index)
        inputs = self.image_processor(images=[loaded.image], return_tensors="pt")
        grid = tuple(int(n) for n in inputs["image_grid_thw"][0])
        boxes = token_boxes(grid, self.merge, loaded.image.size)
        coverage = np.zeros((len(loaded.subjects), len(boxes)), dtype=np.float16)
        for k, (_, mask) in enumerate(loaded.subjects):
            coverage[k] = to_tokens(mask.astype(np.float32), boxes, loaded.image.size)
        return Prepared(
            pixels=inputs["pixel_values"].numpy().astype(np.float16),
            grid=(grid[0], grid[1], grid[2]),
            size=loaded.image.size,
            texts=loaded.texts or tuple(phrase for phrase, _ in loaded.subjects),
            phrases=tuple(phrase for phrase, _ in loaded.subjects),
            coverage=coverage,
            about=loaded.about,
            meanings=loaded.meanings,
            facts=loaded.facts,
            setting=SETTINGS[loaded.facts.setting] if loaded.facts else "",
            label=self.source.label(index),
        )


class _Tolerant:
    """Passes over what cannot be read, with the reason; picklable."""

    def __init__(self, job: Prepare) -> None:
        self.job = job

    def __call__(self, index: int) -> Prepared | Skipped:
        try:
            return self.job(index)
        except InputError as error:
            return Skipped(str(error))


def _one_thread() -> None:
    torch.set_num_threads(1)
