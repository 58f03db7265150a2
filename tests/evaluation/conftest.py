"""A stand-in for the embedder whose every number is known: it sees mean colours, and texts that name one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ssa_me.samples import Sample

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
PAINTS = COLOURS | {"orange": (255, 200, 0)}
GRID = 4


def unit(vector: Sequence[float]) -> np.ndarray:
    array = np.asarray(vector, dtype=np.float32)
    norm = np.linalg.norm(array)
    return array / norm if norm else np.array([1, 0, 0], dtype=np.float32)


@dataclass
class ColourEmbedder:
    """ssa-me embeds the mean colour; the baseline embeds everything as one vector, so that all its scores tie.

    Subject vectors are the colours of the left and of the right half; a text states its own vector. Maps are redness, greenness or blueness of each
    cell of a 4 x 4 grid, by the colour that the phrase names; without a phrase the map is brightness. The baseline's
    attention is constant. Conditioned on a colour, only that channel is embedded.
    """

    info: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(
            dimension=3, precision="fp32", fingerprints={"baseline": "b1", "ssa-me": "s1"}
        )
    )
    embedded: list[Sample] = field(default_factory=list)
    claims: bool = False
    codes: bool = False

    def has_codes(self, version: str) -> bool:
        return self.codes

    def reads_claims(self, version: str) -> bool:
        return self.claims

    def phrases(self, text: str) -> tuple[str, ...]:
        return tuple(text.split())

    def _vector(self, sample: Sample, conditioned_on: str | None) -> np.ndarray:
        if sample.image is None:
            return unit(
                sum(np.array(c) for name, c in COLOURS.items() if name in (sample.text or "")) + np.zeros(3)
            )
        colour = np.asarray(sample.image, dtype=float).mean(axis=(0, 1))
        if conditioned_on is not None:
            colour = colour * (sum(np.array(c) for name, c in COLOURS.items() if name in conditioned_on) > 0)
        return unit(colour)

    def embed(
        self,
        samples,
        *,
        versions=("baseline", "ssa-me"),
        subjects=False,
        conditioned_on=None,
        salience="head",
        batch_size=32,
    ):
        self.embedded.extend(samples)
        ours = np.stack([self._vector(sample, conditioned_on) for sample in samples])
        vectors = {"ssa-me": ours, "baseline": np.tile(np.float32([0.6, 0.8, 0]), (len(samples), 1))}
        found = {
            version: tuple(
                self._things(sample, own) if subjects else np.zeros((0, 3), np.float32)
                for sample, own in zip(samples, vectors[version], strict=True)
            )
            for version in versions
        }
        return SimpleNamespace(
            vectors={version: vectors[version] for version in versions}, subject_vectors=found
        )

    def _things(self, sample: Sample, own: np.ndarray) -> np.ndarray:
        if sample.image is None:
            return own[None]
        pixels = np.asarray(sample.image, dtype=float)
        middle = pixels.shape[1] // 2
        return np.stack([unit(half.mean(axis=(0, 1))) for half in (pixels[:, :middle], pixels[:, middle:])])

    def maps(self, images, phrases):
        return [self._map(image, phrase) for image, phrase in zip(images, phrases, strict=True)]

    def control_maps(self, images, phrases):
        """Raw attention is constant; the gradient of ssa-me is its map, that of the baseline everything but the map."""
        maps = self.maps(images, phrases)
        return [
            SimpleNamespace(
                attention=np.full(len(m.salience), 0.01),
                gradient={"baseline": 1 - m.salience, "ssa-me": m.salience},
            )
            for m in maps
        ]

    def _map(self, image: Image.Image, phrase: str | None) -> SimpleNamespace:
        width, height = image.width / GRID, image.height / GRID
        boxes = np.array(
            [
                (x * width, y * height, (x + 1) * width, (y + 1) * height)
                for y in range(GRID)
                for x in range(GRID)
            ]
        )
        pixels = np.asarray(image, dtype=float) / 255
        named = [i for i, name in enumerate(COLOURS) if name in phrase] if phrase else [0, 1, 2]
        cells = [
            pixels[round(y0) : round(y1), round(x0) : round(x1), named].mean() for x0, y0, x1, y1 in boxes
        ]
        values = np.array(cells)
        attention = {"ssa-me": values, "baseline": np.full(len(values), 0.01)}
        return SimpleNamespace(boxes=boxes, attention=attention, salience=values)


@pytest.fixture
def embedder() -> ColourEmbedder:
    return ColourEmbedder()


@pytest.fixture
def paint():
    """Write a 32 x 32 image whose left half has one colour and whose right half has another (default: the same)."""

    def _paint(path: Path, left: str, right: str | None = None) -> Path:
        pixels = np.zeros((32, 32, 3), dtype=np.uint8)
        pixels[:, :16], pixels[:, 16:] = PAINTS[left], PAINTS[right or left]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return _paint
