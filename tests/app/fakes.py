"""A stand-in for the embedder that needs no weights: vectors are shares of colours, maps are the same per patch."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ssa_me.explanation import (
    Alignment,
    Candidate,
    Explanation,
    Region,
    RegionTable,
    SalienceMode,
    Subjects,
    region_table,
)
from ssa_me.redrawing import Redrawn
from ssa_me.salience.regions import TokenRegion, coverage
from ssa_me.samples import BBox, Sample

VERSIONS = ("baseline", "ssa-me")
COLOURS = {
    "red": (205, 50, 45),
    "green": (60, 150, 70),
    "blue": (50, 90, 190),
    "yellow": (235, 200, 60),
    "white": (245, 245, 240),
    "black": (30, 30, 35),
    "orange": (235, 130, 40),
    "purple": (130, 70, 160),
    "pink": (240, 150, 180),
    "brown": (120, 80, 50),
}
NAMES = tuple(COLOURS)
GRID = 7


@dataclass(frozen=True)
class FakeInfo:
    name: str = "mini"
    checkpoint: str = "/nowhere/mini"
    family: str = "fake"
    device: str = "cpu"
    precision: str = "fp32"
    reason: str = "no GPU was found"
    parameters: int = 3_500_000
    dimension: int = 16
    fingerprints: dict[str, str] = field(default_factory=lambda: {"baseline": "0" * 12, "ssa-me": "1" * 12})
    trained: dict[str, bool] = field(default_factory=lambda: {"baseline": True, "ssa-me": True})
    titles: dict[str, str] = field(default_factory=lambda: {"baseline": "Baseline", "ssa-me": "SSA-ME"})
    heads: dict[str, str] = field(default_factory=dict)
    knows: str = "It knows drawn scenes of persons, animals, vehicles and buildings in ten colours; expect little of photographs."


@dataclass(frozen=True)
class FakeEmbedded:
    vectors: dict[str, np.ndarray]
    regions: tuple[tuple[Region, ...], ...]
    subject_vectors: dict[str, tuple[np.ndarray, ...]]


class FakeEmbedder:
    """Knows colours: a text that names red is near to images with much red, and states that alone. SSA-ME looks at the
    middle only."""

    def __init__(self, fingerprints: dict[str, str] | None = None) -> None:
        self.info = FakeInfo(fingerprints=fingerprints) if fingerprints else FakeInfo()
        self.calls = self.explained = 0
        self.layers: tuple[int, ...] | None = None
        self.claims = False
        self._lock = threading.Lock()

    def phrases(self, text: str) -> tuple[str, ...]:
        return (text.strip(),)

    def has_codes(self, version: str) -> bool:
        return False

    def reads_claims(self, version: str) -> bool:
        return self.claims

    def reads_whole(self, text: str) -> bool:
        return True

    def embed(
        self,
        samples: Sequence[Sample],
        *,
        versions: Sequence[str] = VERSIONS,
        subjects: bool = False,
        **_: Any,
    ) -> FakeEmbedded:
        with self._lock:
            self.calls += 1
        rows = {
            v: np.stack([_vector(s, v) for s in samples]) if samples else np.zeros((0, 16), np.float32)
            for v in versions
        }
        regions = tuple((_middle(s.image.size),) if subjects and s.image else () for s in samples)
        found = {v: tuple(row[None] if subjects else row[None][:0] for row in rows[v]) for v in versions}
        return FakeEmbedded(rows, regions, found)

    def embed_query(
        self,
        text: str | None,
        image: Image.Image | None,
        image_weight: float = 0.5,
        versions: Sequence[str] = VERSIONS,
    ) -> dict[str, np.ndarray]:
        parts = [(Sample(text=text), 1 - image_weight)] if text else []
        parts += [(Sample(image=image), image_weight)] if image else []
        return {
            v: _unit(sum((_vector(s, v) * w for s, w in parts), np.zeros(16, np.float32))) for v in versions
        }

    def embed_region(
        self, image: Image.Image, bbox: tuple[float, float, float, float], versions: Sequence[str] = VERSIONS
    ) -> dict[str, np.ndarray]:
        x, y, w, h = bbox
        cut = image.crop((int(x), int(y), int(x + w), int(y + h)))
        return {v: _vector(Sample(image=cut), v) for v in versions}

    def embed_weighted(
        self, image: Image.Image, weights: np.ndarray, versions: Sequence[str] = VERSIONS
    ) -> dict[str, np.ndarray]:
        """Of the part of the image under the weights' own tokens."""
        boxes = _boxes(image.size)
        parts = []
        for row in weights:
            x0, y0 = boxes[row > 0][:, :2].min(0)
            x1, y1 = boxes[row > 0][:, 2:].max(0)
            parts.append(image.crop((int(x0), int(y0), int(x1), int(y1))))
        return {v: np.stack([_vector(Sample(image=part), v) for part in parts]) for v in versions}

    def explain(
        self,
        image: Image.Image,
        text: str | None,
        phrases: Sequence[str] | None = None,
        salience: SalienceMode = "head",
        also: Sequence[str] = (),
        heads: bool = False,
    ) -> Explanation:
        self.explained += 1
        boxes = _boxes(image.size)
        wanted = _vector(Sample(text=text), "baseline")[: len(NAMES)] if text else np.ones(len(NAMES))
        tokens = np.stack([_shares(image.crop(tuple(int(x) for x in box))) for box in boxes]) @ wanted
        found = np.clip(tokens, 0, 1).astype(np.float32)
        weights = np.outer(*[np.hanning(GRID + 2)[1:-1]] * 2).ravel()
        attention = {
            "baseline": (0.02 + 0.2 * weights) / 30,
            "ssa-me": (0.02 + found * weights) / 30,
        }
        named = tuple(phrases) if phrases is not None else ((text,) if text else ())
        every = (*named, *also)
        maps = np.stack([found] * len(every)) if every else np.zeros((0, len(found)), np.float32)
        return Explanation(
            image_size=image.size,
            boxes=boxes,
            similarity=dict.fromkeys(VERSIONS, 0.4) if text else {},
            attention=attention,
            attention_on_image={v: float(row.sum()) for v, row in attention.items()},
            stages={
                "semantic": found,
                "expert": weights,
                "fused": found * weights,
                "head": found,
                "gain": 0.2 + 0.8 * found,
            },
            regions=(_middle(image.size),),
            alignment=tuple(_align(phrase, image, found, number) for number, phrase in enumerate(every)),
            seconds={"vision": 0.01, "salience": 0.02, "expert": 0.03, "relevance": 0.04}
            | ({"subjects": 0.2} if salience == "full" else {}),
            salience=salience,
            subjects=Subjects(named, "lmm" if salience == "full" else "rule"),
            each={"semantic": maps, "head": maps} if every else {},
            table=_table(image, boxes, every, attention) if every else None,
            heads={v: _heads(row) for v, row in attention.items()} if heads else {},
        )

    def embed_redrawn(self, image: Image.Image, drawn: Sequence[BBox]) -> Redrawn:
        """The baseline reads no regions; SSA-ME sees what the drawn ones show."""
        parts = [image.crop((int(x), int(y), int(x + w) + 1, int(y + h) + 1)) for x, y, w, h in drawn]
        rows = np.stack([_vector(Sample(image=part), "baseline") for part in [*parts, image]])
        whole = {"baseline": rows[-1], "ssa-me": _unit(rows[:-1].sum(0) + 1e-6)}
        boxes = _boxes(image.size)
        salience = np.max([coverage(boxes, bbox) for bbox in drawn] or [np.zeros(len(boxes))], axis=0)
        return Redrawn(whole, dict.fromkeys(VERSIONS, rows[:-1]), salience, boxes)


def _heads(row: np.ndarray) -> np.ndarray:
    """Two layers of two heads, (2, 2, N): the last layer's mean is `row`, the first layer sees nothing."""
    return np.stack([np.zeros((2, len(row))), [0.5 * row, 1.5 * row]])


def _table(
    image: Image.Image, boxes: np.ndarray, phrases: Sequence[str], attention: dict[str, np.ndarray]
) -> RegionTable:
    """Each phrase's region is the middle; one more in the corner is the index's."""
    corner: BBox = (0.0, 0.0, image.width / 4, image.height / 4)
    places = [*[_middle(image.size).bbox] * len(phrases), corner]
    candidates = []
    for x, y, w, h in places:
        part = _vector(Sample(image=image.crop((int(x), int(y), int(x + w), int(y + h)))), "baseline")
        region = TokenRegion(coverage(boxes, (x, y, w, h)), (x, y, w, h), 0.8)
        candidates.append(Candidate(region, {"baseline": 0.5 * part, "ssa-me": part}))
    spoken = np.stack([_vector(Sample(text=phrase), "baseline") for phrase in phrases])
    return region_table(dict.fromkeys(VERSIONS, spoken), candidates, [*range(len(phrases)), None], attention)


def _align(phrase: str, image: Image.Image, salience: np.ndarray, number: int) -> Alignment:
    width, height = image.size
    rival = (0.0, 0.0, width / 4, height / 4)
    score = float(salience.max())
    return Alignment(
        phrase=phrase,
        score=score,
        region=_middle(image.size).bbox,
        rival=rival,
        rival_score=0.3,
        misaligned=score < 0.3,
        scores={"baseline": score / 2, "ssa-me": score},
        attention={"baseline": 0.2, "ssa-me": 0.45},
        salience=salience,
    )


def _middle(size: tuple[int, int]) -> Region:
    width, height = size
    return Region((width / 4, height / 4, width / 2, height / 2), 0.8)


def _boxes(size: tuple[int, int]) -> np.ndarray:
    width, height = size
    xs, ys = np.linspace(0, width, GRID + 1), np.linspace(0, height, GRID + 1)
    return np.array([(xs[i], ys[j], xs[i + 1], ys[j + 1]) for j in range(GRID) for i in range(GRID)])


def _shares(image: Image.Image) -> np.ndarray:
    """The share of each colour's nearest pixels, (10,)."""
    small = np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BOX), dtype=np.float32).reshape(
        -1, 1, 3
    )
    nearest = np.linalg.norm(small - np.array(list(COLOURS.values()), dtype=np.float32), axis=-1).argmin(1)
    return np.bincount(nearest, minlength=len(COLOURS)) / len(nearest)


def _vector(sample: Sample, version: str) -> np.ndarray:
    vector = np.zeros(16, dtype=np.float32)
    if sample.text:
        vector[: len(NAMES)] += [float(name in sample.text.lower().split()) for name in NAMES]
        seed = int(hashlib.sha256(sample.text.encode("utf-8", "replace")).hexdigest()[:8], 16)
        vector[len(NAMES) :] = np.random.default_rng(seed).normal(0, 0.1, 16 - len(NAMES))
    if sample.image is not None:
        width, height = sample.image.size
        middle = (
            width // 4,
            height // 4,
            max(width // 4 + 1, 3 * width // 4),
            max(height // 4 + 1, 3 * height // 4),
        )
        vector[: len(NAMES)] += _shares(sample.image if version == "baseline" else sample.image.crop(middle))
    return _unit(vector)


def _unit(vector: np.ndarray) -> np.ndarray:
    unit: np.ndarray = (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)
    return unit
