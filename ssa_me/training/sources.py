"""Where training images come from: generated scenes, ImageFolder sets with texts and located subjects, and pairs.

A source is loaded image by image and goes to other processes. It knows nothing of models, batches or losses.

A generated scene stands beside its twins: its words bound otherwise, its subjects placed otherwise, its subjects
elsewhere. They are the listed hard negatives of both models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.images import load_image
from ssa_me.samples import Record, Subject
from ssa_me.scenes import EVALUATION_SEED, LANGUAGES, Facts, Query, plan_scene, render
from ssa_me.scenes.twins import TWINS, twin_plans
from ssa_me.training.mmeb_train import Pair

_SIDED = re.compile(r"\b(?:left|right)\b", re.IGNORECASE)
_FOREIGN = 2  # texts of a scene in another language, beside four or five in English
COLOUR_SHARE = 0.5
"""A subject's `auto_colour` leads its phrase where at least this share of its pixels has it."""


@dataclass(frozen=True)
class Loaded:
    """One image with its texts and the subjects whose regions are known: phrase and mask (H, W) bool.

    about: for each text the subjects that it names, as indices; empty where that is not known. A scene also carries the
    meaning of each text and what is true of it.
    """

    image: Image.Image
    texts: tuple[str, ...]
    subjects: tuple[tuple[str, np.ndarray], ...]
    about: tuple[tuple[int, ...], ...] = ()
    meanings: tuple[Query, ...] = ()
    facts: Facts | None = None


class Source(Protocol):
    """Where images come from; picklable, so that processes can load from it side by side."""

    @property
    def name(self) -> str: ...

    @property
    def weight(self) -> float: ...

    @property
    def group(self) -> int:
        """So many images in turn belong together and stand in one batch: an image and its twins."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Loaded: ...

    def label(self, index: int) -> str:
        """What an image is called where it must be named."""

    @property
    def on_the_fly(self) -> bool:
        """Whether images are made ready as batches need them, instead of all at once."""


@dataclass(frozen=True)
class SceneSource:
    """Generated scenes, each followed by its twins. Told in English, and once in one of the other languages."""

    first: int
    count: int
    size: int
    weight: float = 1.0
    name: str = "scenes"
    group: int = 1 + TWINS
    on_the_fly: bool = False

    def __post_init__(self) -> None:
        if self.first + self.count > EVALUATION_SEED:
            raise InputError(
                f"Seeds of {EVALUATION_SEED:,} and more are for evaluation; choose smaller ones."
            )

    def __len__(self) -> int:
        return self.group * self.count

    def label(self, index: int) -> str:
        place, twin = divmod(index, self.group)
        return f"seed {self.first + place}{f' twin {twin}' if twin else ''}"

    def load(self, index: int) -> Loaded:
        place, which = divmod(index, self.group)
        plan = plan_scene(self.first + place, "seen")
        scene = render((plan, *twin_plans(plan))[which], self.size)
        others = LANGUAGES[1:]
        foreign = scene.captions_in(others[index % len(others)])[:_FOREIGN]
        meanings = (*scene.queries, *scene.queries[: len(foreign)])
        return Loaded(
            scene.image,
            (*scene.captions, *foreign),
            tuple((s.phrase, s.mask) for s in scene.subjects),
            tuple(_named(meaning, scene.facts) for meaning in meanings),
            meanings,
            scene.facts,
        )


@dataclass(frozen=True)
class FolderSource:
    """The records of an ImageFolder set that have a text or a named subject, `views` times each: as they are, then
    mirrored or cropped. A mirrored image drops the texts that speak of left or right; one that would lose all of
    them, or whose phrases speak so, is cropped only."""

    records: tuple[Record, ...]
    name: str
    weight: float = 1.0
    group: int = 1
    views: int = 1
    on_the_fly: bool = False

    def __len__(self) -> int:
        return len(self.records) * self.views

    def label(self, index: int) -> str:
        return self.records[index % len(self.records)].file_name

    def load(self, index: int) -> Loaded:
        view, place = divmod(index, len(self.records))
        loaded = self._load(self.records[place])
        return _another_view(loaded, np.random.default_rng(index), mirror=view % 2 == 1) if view else loaded

    def _load(self, record: Record) -> Loaded:
        image = load_image(record.path)
        located = (s for s in record.subjects if s.bbox is not None or s.segmentation is not None)
        return Loaded(
            image, record_texts(record), tuple((coloured_phrase(s), s.mask(*image.size)) for s in located)
        )


@dataclass(frozen=True)
class PairSource:
    """The images of pairs, and the pairs. They are read as batches need them: a set has more than memory holds."""

    pairs: tuple[Pair, ...]
    images: tuple[Path, ...]
    name: str
    weight: float = 1.0
    group: int = 1
    on_the_fly: bool = True

    @classmethod
    def of(cls, pairs: Iterable[Pair], name: str, weight: float) -> PairSource:
        """InputError where none of the pairs has an image."""
        several = tuple(pairs)
        images = images_of(several)
        if not images:
            raise InputError(f"{name} holds pairs of texts alone. Give pairs with images.")
        return cls(several, images, name, weight)

    def __len__(self) -> int:
        return len(self.images)

    def label(self, index: int) -> str:
        return str(self.images[index])

    def load(self, index: int) -> Loaded:
        return Loaded(load_image(self.images[index]), (), ())

    def alone(self, index: int) -> PairSource:
        """A source of this image alone, without pairs."""
        return replace(self, pairs=(), images=(self.images[index],))

    @cached_property
    def place(self) -> dict[Path, int]:
        """The number of each image."""
        return {path: i for i, path in enumerate(self.images)}


def images_of(pairs: Iterable[Pair]) -> tuple[Path, ...]:
    """The images of some pairs, each once."""
    return tuple(dict.fromkeys(s.image for pair in pairs for s in pair.sides if s.image is not None))


def coloured_phrase(subject: Subject) -> str:
    """The phrase, led by the colour measured under its region where that is most of it ("red jacket")."""
    colour, share = subject.extra.get("auto_colour"), subject.extra.get("auto_colour_frac", 0.0)
    return f"{colour} {subject.phrase}" if colour and float(share) >= COLOUR_SHARE else subject.phrase


def record_texts(record: Record) -> tuple[str, ...]:
    """Captions; where there are none, what the annotated subjects say: listed, and one by one for the largest."""
    if record.captions or not record.subjects:
        return record.captions
    named = [(s.phrase, coloured_phrase(s)) for s in record.subjects if s.extra.get("kind") != "part"]
    garments = [coloured for phrase, coloured in named if phrase != "person" and coloured != phrase]
    phrases = [coloured for _, coloured in named]
    listed = ", ".join(dict.fromkeys(phrases))
    if any(s.phrase == "person" for s in record.subjects) and garments:
        return tuple(
            dict.fromkeys([listed, f"a person in {' and '.join(garments[:2])}", f"a person with {listed}"])
        )
    return (listed,) if listed else ()


def _another_view(loaded: Loaded, rng: np.random.Generator, mirror: bool) -> Loaded:
    width, height = loaded.image.size
    share = float(rng.uniform(0.8, 1.0))
    w, h = round(width * share), round(height * share)
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    image = loaded.image.crop((x, y, x + w, y + h))
    subjects = tuple((phrase, mask[y : y + h, x : x + w]) for phrase, mask in loaded.subjects)
    texts = loaded.texts
    unsided = tuple(text for text in texts if not _SIDED.search(text))
    if mirror and bool(unsided) == bool(texts) and not any(_SIDED.search(phrase) for phrase, _ in subjects):
        image, texts = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), unsided
        subjects = tuple((phrase, mask[:, ::-1]) for phrase, mask in subjects)
    return Loaded(image, texts, tuple((phrase, mask) for phrase, mask in subjects if mask.any()))


def _named(meaning: Query, facts: Facts) -> tuple[int, ...]:
    """The subjects of a scene that a text of it names; colours of a scene are all different."""
    colours = [colour for _, colour in facts.subjects]
    return tuple(colours.index(mention.colour) for mention in meaning.subjects)
