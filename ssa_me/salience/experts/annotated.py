"""The expert that knows the answer: regions that a data set gives for an image. Knows no model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from ssa_me.salience.experts.protocol import VisualExpert, fit
from ssa_me.samples import Subject


@dataclass(frozen=True)
class AnnotatedExpert(VisualExpert):
    """The regions that a data set gives for this image: where there are any, nothing knows better.

    `subjects` are those of the one image that the expert is called with, boxes in its pixels; another image needs an
    expert of its own. A phrase gets the union of the regions with that phrase (case and spaces aside); a phrase that
    is not among them gets zeros.
    """

    subjects: tuple[Subject, ...]
    longest: int = 256  # longer side of its maps, in cells; a cell's value is the share of it that is covered

    @property
    def version(self) -> str:
        digest = hashlib.sha256(repr(self.subjects).encode("utf-8", "replace")).hexdigest()[:12]
        return f"annotated-1-{digest}-{self.longest}"

    def maps(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        return [self._of(image, named) for image, named in zip(images, phrases, strict=True)]

    def _of(self, image: Image.Image, phrases: Sequence[str]) -> np.ndarray:
        size = fit(image.width, image.height, self.longest)
        maps = np.zeros((len(phrases), size[1], size[0]), np.float32)
        for covered, phrase in zip(maps, phrases, strict=True):
            for subject in self.subjects:
                if _normalised(subject.phrase) == _normalised(phrase):
                    mask = subject.mask(image.width, image.height).astype(np.float32)
                    np.maximum(covered, cv2.resize(mask, size, interpolation=cv2.INTER_AREA), out=covered)
        return maps


def _normalised(phrase: str) -> str:
    return " ".join(phrase.lower().split())
