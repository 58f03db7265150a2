"""A gallery without a model: an embedder that sees colours, and coloured pictures for it to see."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssa_me.explanation import Region
from ssa_me.gallery import Gallery
from ssa_me.samples import Sample

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1), "yellow": (1, 1, 0)}
VERSIONS = ("baseline", "ssa-me")


@dataclass(frozen=True)
class FakeInfo:
    fingerprints: Mapping[str, str]
    checkpoint: str = "fake"
    precision: str = "fp32"
    dimension: int = 4
    titles: Mapping[str, str] = field(default_factory=lambda: {"baseline": "Baseline", "ssa-me": "SSA-ME"})
    heads: Mapping[str, str] = field(default_factory=dict)
    trained: Mapping[str, bool] = field(default_factory=lambda: dict.fromkeys(VERSIONS, True))


@dataclass(frozen=True)
class FakeEmbedded:
    vectors: Mapping[str, np.ndarray]
    regions: tuple[tuple[Region, ...], ...]
    subject_vectors: Mapping[str, tuple[np.ndarray, ...]]


class FakeEmbedder:
    """The mean colour, as a unit vector of 4 numbers (ssa-me: of the squared colour). A subject is a half of the
    image; conditioned on a phrase, an image is the half that is more like it. A text states its phrases. `fails_at`: raise
    at the n-th image. `around`: a region around both halves is there as well, which is no single subject."""

    def __init__(self, fingerprint: str = "0", fails_at: int | None = None, around: bool = False) -> None:
        self.info = FakeInfo({v: f"{v}-{fingerprint}" for v in VERSIONS}, checkpoint=f"fake-{fingerprint}")
        self.fails_at = fails_at
        self.around = around
        self.claims = self.codes = False
        self.read: list[str | None] = []
        self.images = 0
        self.calls: list[tuple[int, str | None]] = []
        self.saliences: list[str] = []
        self._lock = threading.Lock()

    def has_codes(self, version: str) -> bool:
        return self.codes and version == "ssa-me"

    def reads_claims(self, version: str) -> bool:
        return self.claims

    def embed(
        self,
        samples: Sequence[Sample],
        *,
        versions: Sequence[str] = VERSIONS,
        subjects: bool = False,
        conditioned_on: str | None = None,
        salience: str = "head",
        batch_size: int = 32,
    ) -> FakeEmbedded:
        with self._lock:
            self.saliences.append(salience)
            self.calls.append((len(samples), conditioned_on))
            self.read += [sample.text for sample in samples if sample.image is not None]
            self.images += sum(sample.image is not None for sample in samples)
            if self.fails_at is not None and self.images >= self.fails_at:
                raise RuntimeError("the model failed")
        vectors = {
            v: np.array([self._vector(s, v, conditioned_on) for s in samples], np.float32) for v in versions
        }
        vectors = {v: rows.reshape(len(samples), 4) for v, rows in vectors.items()}
        halves = [_halves(s.image) if subjects and s.image else [] for s in samples]
        if self.around:
            halves = [
                [*of, ((0.0, 0.0, *map(float, s.image.size)), s.image)] if of and s.image else of
                for of, s in zip(halves, samples, strict=True)
            ]
        shown = [
            [_text_colour(phrase) for phrase in self.phrases(sample.text or "")]
            if subjects and sample.image is None
            else [_mean(half) for _, half in of]
            for of, sample in zip(halves, samples, strict=True)
        ]
        found = {
            v: tuple(
                np.array([_unit(colour, v) for colour in of], np.float32).reshape(len(of), 4) for of in shown
            )
            for v in versions
        }
        regions = tuple(
            tuple(Region(box, 0.9, single=n < 2) for n, (box, _) in enumerate(of)) for of in halves
        )
        return FakeEmbedded(vectors, regions, found)

    def embed_query(
        self,
        text: str | None,
        image: Image.Image | None,
        image_weight: float = 0.5,
        versions: Sequence[str] = VERSIONS,
    ) -> dict[str, np.ndarray]:
        parts = []
        if text is not None:
            parts.append((_text_colour(text), 1 - image_weight if image else 1.0))
        if image is not None:
            parts.append((_mean(image), image_weight if text else 1.0))
        colour = sum(np.asarray(colour) * weight for colour, weight in parts)
        return {v: _unit(colour, v) for v in versions}

    def embed_region(
        self, image: Image.Image, bbox: tuple[float, float, float, float], versions: Sequence[str] = VERSIONS
    ) -> dict[str, np.ndarray]:
        x, y, w, h = map(int, bbox)
        return {v: _unit(_mean(image.crop((x, y, x + w, y + h))), v) for v in versions}

    def phrases(self, text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split(" and "))

    def reads_whole(self, text: str) -> bool:
        return len(text.split()) < 100

    def _vector(self, sample: Sample, version: str, phrase: str | None) -> np.ndarray:
        if sample.image is None:
            return _unit(_text_colour(sample.text or ""), version)
        if phrase is None:
            return _unit(_mean(sample.image), version)
        wanted = _unit(_text_colour(phrase), version)
        halves = [_unit(_mean(half), version) for _, half in _halves(sample.image)]
        return max(halves, key=lambda vector: float(vector @ wanted))


def _text_colour(text: str) -> np.ndarray:
    return np.sum([COLOURS.get(word, (0, 0, 0)) for word in text.lower().split()], axis=0, dtype=float)


def _mean(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=float).mean((0, 1)) / 255


def _halves(image: Image.Image) -> list[tuple[tuple[float, float, float, float], Image.Image]]:
    half = image.width // 2
    boxes = [(0, half), (half, image.width - half)]
    return [
        ((float(x), 0.0, float(w), float(image.height)), image.crop((x, 0, x + w, image.height)))
        for x, w in boxes
    ]


def _unit(colour: np.ndarray, version: str) -> np.ndarray:
    vector = np.array([*(colour**2 if version == "ssa-me" else colour), 0.05])
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def picture(*colours: str, size: tuple[int, int] = (40, 30), dot: int | None = None) -> Image.Image:
    """Vertical stripes of equal width; `dot` changes one pixel, so that hash and file differ."""
    image = Image.new("RGB", size)
    width = size[0] // len(colours)
    for n, name in enumerate(colours):
        rgb = tuple(255 * part for part in COLOURS[name])
        image.paste(rgb, (n * width, 0, size[0] if n == len(colours) - 1 else (n + 1) * width, size[1]))
    if dot is not None:
        image.putpixel((dot % size[0], dot // size[0] % size[1]), (dot % 256, 128, 128))
    return image


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def make_embedder() -> type[FakeEmbedder]:
    return FakeEmbedder


@pytest.fixture
def draw() -> Callable[..., Image.Image]:
    return picture


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.create(tmp_path / "gallery", "Test", "fake")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures: red, green, blue, red|blue, green|yellow."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for colours in (("red",), ("green",), ("blue",), ("red", "blue"), ("green", "yellow")):
        (folder / f"{'-'.join(colours)}.png").write_bytes(png(picture(*colours)))
    return folder
