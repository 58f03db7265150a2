"""Training data: scenes and ImageFolder sets made ready for a model, and the batches drawn from them.

A batch depends only on seed and step, so that both adapters see the same data in the same order and a resumed run
goes on as if it had never stopped. It knows nothing of losses.

A generated scene stands in its batch beside its twins: its words bound otherwise, its subjects placed otherwise, its
subjects elsewhere. They are the listed hard negatives of both models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssa_me.errors import InputError
from ssa_me.images import load_image
from ssa_me.outputs import token_boxes
from ssa_me.salience.experts import COLOURS
from ssa_me.salience.fusion import to_tokens
from ssa_me.samples import Record, Subject
from ssa_me.scenes import EVALUATION_SEED, LANGUAGES, Facts, Query, plan_scene, render
from ssa_me.scenes.truth import truth
from ssa_me.scenes.twins import TWINS, twin_plans
from ssa_me.training.lazy import OnTheFly

_PERSONS = re.compile(r"\b(?:man|woman|child|boy|girl)\b")
_SIDED = re.compile(r"\b(?:left|right)\b", re.IGNORECASE)
_FOREIGN = 2  # texts of a scene in another language, beside four or five in English
_AHEAD = 4  # processes that make ready what later steps need
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
class Prepared:
    """One image ready for the vision pass. pixels (P, d) float16, grid (3,), coverage (K, N) share of each token; label:
    what it is called where it must be named."""

    pixels: np.ndarray
    grid: tuple[int, int, int]
    size: tuple[int, int]
    texts: tuple[str, ...]
    phrases: tuple[str, ...]
    coverage: np.ndarray
    about: tuple[tuple[int, ...], ...] = ()
    meanings: tuple[Query, ...] = ()
    facts: Facts | None = None
    label: str = ""


@dataclass(frozen=True)
class Skipped:
    """An image that cannot be read, and why."""

    reason: str


@dataclass(frozen=True)
class Draw:
    """One step's batch: the images' indices in their source, and for each a text and its number among the image's."""

    source: int
    indices: tuple[int, ...]
    texts: tuple[str, ...]
    chosen: tuple[int, ...] = ()


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
                groups.append(OnTheFly(len(source), job, progress, min(workers, _AHEAD)))
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

    def draw(self, seed: int, step: int, batch: int) -> Draw:
        """The batch of a step: images of one source, with their twins where it has them, and one text each."""
        which, indices, rng = self._indices(seed, step, batch)
        images = self.groups[which]
        chosen = tuple(int(rng.integers(len(images[i].texts))) for i in indices)
        texts = tuple(images[i].texts[number] for i, number in zip(indices, chosen, strict=True))
        return Draw(which, indices, texts, chosen)

    def ahead(self, seed: int, step: int, batch: int) -> None:
        """Begin to make ready what a later step needs, where that is done on the fly."""
        which, indices, _ = self._indices(seed, step, batch)
        group = self.groups[which]
        if isinstance(group, OnTheFly):
            group.ahead(indices)

    def close(self) -> None:
        """End the processes that work ahead."""
        for group in self.groups:
            if isinstance(group, OnTheFly):
                group.close()

    def describe(self, draw: Draw) -> str:
        """The images of a batch by name."""
        return f"{self.sources[draw.source].name}: {', '.join(item.label for item in self.items(draw))}"

    def _indices(self, seed: int, step: int, batch: int) -> tuple[int, tuple[int, ...], np.random.Generator]:
        rng = np.random.default_rng((seed, step))
        weights = np.array([source.weight for source in self.sources])
        which = int(rng.choice(len(weights), p=weights / weights.sum()))
        size = self.sources[which].group
        count = len(self.groups[which]) // size
        starts = rng.choice(count, size=min(max(1, batch // size), count), replace=False) * size
        return which, tuple(int(i) for start in starts for i in range(start, start + size)), rng

    def items(self, draw: Draw) -> list[Prepared]:
        return [self.groups[draw.source][i] for i in draw.indices]


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


def question(phrase: str) -> str | None:
    """What asks for the rest of a coloured phrase: `the dog` for `a red dog`, `the person` for `a person in red`; None
    for a phrase without a colour at either end."""
    words = phrase.lower().split()
    words = words[1:] if words and words[0] in ("a", "an", "the") else words
    if len(words) > 2 and words[-2] == "in" and words[-1] in COLOURS:
        return f"the {' '.join(words[:-2])}"
    return f"the {' '.join(words[1:])}" if len(words) > 1 and words[0] in COLOURS else None


def _named(meaning: Query, facts: Facts) -> tuple[int, ...]:
    """The subjects of a scene that a text of it names; colours of a scene are all different."""
    colours = [colour for _, colour in facts.subjects]
    return tuple(colours.index(mention.colour) for mention in meaning.subjects)


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
