"""What an attribution holds, and its JSON. Data and arithmetic only; it knows no model.

N image tokens in raster order; h × w the image as the model sees it, resized as a whole; boxes in pixels of the upright
image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ssa_me.attribution.settings import METHODS, Settings
from ssa_me.samples import BBox

_NOTHING = 1e-6  # a change of the score below this is none


@dataclass(frozen=True)
class Word:
    """A word of the text, `text[start:end]`, with its signed contribution to the score."""

    text: str
    start: int
    end: int
    value: float


@dataclass(frozen=True)
class Part:
    """A region that was taken away as a whole: its name, the box (x, y, width, height) around it, its contribution."""

    name: str
    bbox: BBox
    value: float


@dataclass(frozen=True)
class Balance:
    """What contributions should add up to. score: F at the input. reference: F at the baseline. total: the sum of all
    contributions. complete: whether the method promises that they add up."""

    score: float
    reference: float
    total: float
    complete: bool

    @property
    def change(self) -> float:
        return self.score - self.reference

    @property
    def delta(self) -> float | None:
        """The convergence delta: the sum of contributions less the change of the score; None where none is promised."""
        return self.total - self.change if self.complete else None

    @property
    def convergence(self) -> float | None:
        """|delta| ÷ |change|; None where none is promised or nothing changed."""
        if self.delta is None or abs(self.change) < _NOTHING:
            return None
        return abs(self.delta) / abs(self.change)


@dataclass(frozen=True, eq=False)
class Attribution:
    """What of an image and of a text makes the score F.

    F is the cosine of `version`, or under the target "difference" SSA-ME's less the baseline's. model: which, in a word.
    pixels (h, w) float32: the signed contribution of every pixel of the image as the model sees it; unsigned for
    Saliency. boxes (N, 4) x0, y0, x1, y1 and values (N,): the same summed up for each image token. words: of the text.
    parts: of methods that take regions away. image, text: what the contributions add up to on either side. held: what
    was held fixed, as a sentence. text_baseline: what stands for an absent word. notes: what to know before one reads it.
    """

    method: str
    target: str
    version: str
    text: str
    settings: Settings
    image_size: tuple[int, int]
    pixels: np.ndarray
    boxes: np.ndarray
    values: np.ndarray
    words: tuple[Word, ...]
    parts: tuple[Part, ...]
    image: Balance
    words_balance: Balance
    held: str
    text_baseline: str
    notes: tuple[str, ...]
    evaluations: int
    seconds: float

    @property
    def model(self) -> str:
        return "ssa-me - baseline" if self.target == "difference" else self.version

    @cached_property
    def constant(self) -> bool:
        """Whether the map is the same everywhere, so that it points nowhere."""
        return bool(np.ptp(self.values) <= 1e-12)

    def in_pixels(self, width: int | None = None, height: int | None = None) -> np.ndarray:
        """The map (H, W) float32 over the image at `width` × `height` pixels, by default its own size; it is spread
        evenly, so that its sum stays what it is."""
        down = _overlap(self.pixels.shape[0], height or self.image_size[1])
        across = _overlap(self.pixels.shape[1], width or self.image_size[0])
        return down @ self.pixels @ across.T

    @property
    def bytes(self) -> int:
        """About what it takes in memory."""
        return int(self.pixels.nbytes + self.boxes.nbytes + self.values.nbytes) + 200 * len(self.words) + 1000

    def to_json(self) -> dict[str, Any]:
        """All numbers but the maps', which are pictures."""
        return {
            "method": self.method,
            "title": METHODS[self.method].title,
            "target": self.target,
            "model": self.model,
            "score": self.image.score,
            "image": _balance_json(self.image),
            "text": _balance_json(self.words_balance),
            "words": [{"word": word.text, "value": word.value} for word in self.words],
            "parts": [
                {"name": part.name, "bbox": [round(number, 1) for number in part.bbox], "value": part.value}
                for part in self.parts
            ],
            "held": self.held,
            "text_baseline": self.text_baseline,
            "notes": list(self.notes),
            "baseline": self.settings.baseline,
            "seed": self.settings.seed,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
        }


def _balance_json(balance: Balance) -> Mapping[str, float | None]:
    return {
        "score": balance.score,
        "reference": balance.reference,
        "total": balance.total,
        "delta": balance.delta,
        "convergence": balance.convergence,
    }


def _overlap(cells: int, pixels: int) -> np.ndarray:
    """(pixels, cells) float32: the share of each of `cells` even cells that falls to each of `pixels` even pixels."""
    edges = np.arange(pixels + 1)[:, None] * (cells / pixels)
    first = np.arange(cells)[None]
    shares: np.ndarray = np.minimum(edges[1:], first + 1) - np.maximum(edges[:-1], first)
    return shares.clip(0).astype(np.float32)
