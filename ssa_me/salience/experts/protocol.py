"""What every visual expert is, and what they share: sizes of maps and colour words. It knows no model.

A map covers the whole image at a resolution of the expert's own, so `H, W` are cells and not pixels of the image
(`fusion.to_tokens` averages it over token boxes). Values are absolute: 0 where nothing stands out, and never stretched,
so that an image without the subject stays dark.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 35, 40),
    "orange": (235, 130, 35),
    "yellow": (235, 205, 50),
    "green": (60, 145, 65),
    "turquoise": (60, 180, 175),
    "blue": (45, 95, 195),
    "purple": (125, 65, 160),
    "pink": (235, 130, 170),
    "brown": (120, 75, 45),
    "black": (25, 25, 25),
    "grey": (130, 130, 130),
    "white": (240, 240, 240),
}
"""sRGB prototypes (0 to 255) of the colour words that `OpenCVExpert` reads."""

_SAME_COLOUR = {
    "gray": "grey",
    "violet": "purple",
    "teal": "turquoise",
    "cyan": "turquoise",
    "golden": "yellow",
}


class VisualExpert(ABC):
    """Finds the subjects that phrases name. An absent one gets a dark map, not a stretched one.

    An expert implements `maps`, for a batch; calling it is the same for one image.
    """

    @property
    @abstractmethod
    def version(self) -> str:
        """Class, weights and settings: maps that are kept on disk are good for this version only."""

    @abstractmethod
    def maps(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """For each upright RGB image its maps `(K, H, W)` float32 in [0, 1], one for each of its K phrases.

        H and W depend on the image alone, and a phrase's map on image and phrase: not on the rest of the batch.
        """

    def __call__(self, image: Image.Image, phrases: Sequence[str]) -> np.ndarray:
        """Maps `(K, H, W)` of one image: `maps` of a batch of one."""
        return self.maps([image], [phrases])[0]


def fit(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height of the same proportions with the longer side at most `longest`; none falls below 1."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def colour_words(phrase: str) -> tuple[str, ...]:
    """The colours that an English phrase names, as keys of `COLOURS`, each once, in order."""
    words = (_SAME_COLOUR.get(word, word) for word in re.findall(r"[a-z]+", phrase.lower()))
    return tuple(dict.fromkeys(word for word in words if word in COLOURS))


def colour_similarity(lab: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    """How near each pixel of `lab` `(H, W, 3)` (CIE Lab) is to the nearest of `colours`: `(H, W)` in [0, 1].

    A Gaussian of the distance in which lightness counts half, because shade changes lightness more than hue.
    """
    prototypes = np.array([COLOURS[colour] for colour in colours], np.float32).reshape(1, -1, 3) / 255
    weight = np.array([0.5, 1, 1], np.float32)
    difference = lab[:, :, None] * weight - cv2.cvtColor(prototypes, cv2.COLOR_RGB2Lab) * weight
    nearest = (difference**2).sum(-1).min(-1)
    return np.exp(-nearest / (2 * 24.0**2)).astype(np.float32)
