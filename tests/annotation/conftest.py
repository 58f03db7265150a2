"""Two small images with proposals, and a store of them whose clock the test turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ssa_me.annotation import AnnotationStore, Picture, Proposal, Scores
from ssa_me.samples import Subject, encode_mask

PICTURES = (
    Picture(1, "street/red.png", 40, 30, ("a person in red",)),
    Picture(2, "=park.png", 20, 20, ("a dog", "un chien")),
)


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def proposal(image: int, phrase: str, uncertainty: float = 0.0, **scores: float) -> Proposal:
    bbox = (2.0, 3.0, 10.0, 12.0)
    return Proposal(image, Subject(phrase, bbox), "model", "f" * 12, Scores(uncertainty, **scores))


def disc(width: int, height: int, radius: float = 6.0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (x - width / 2) ** 2 + (y - height / 2) ** 2 <= radius**2


@pytest.fixture
def mask() -> Subject:
    """A subject with a mask in the second image."""
    return Subject("a dog", None, encode_mask(disc(20, 20)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_store(tmp_path: Path, clock: Clock) -> Callable[..., AnnotationStore]:
    def make(*proposals: Proposal, name: str = "annotations.sqlite") -> AnnotationStore:
        store = AnnotationStore.open(tmp_path / name, clock)
        store.add(PICTURES, proposals)
        return store

    return make


@pytest.fixture
def store(make_store: Callable[..., AnnotationStore]) -> AnnotationStore:
    """Items 1 to 4: three of the first image, one of the second."""
    return make_store(
        proposal(1, "a person in red", 0.2, misalignment=0.9, disagreement=0.1),
        proposal(1, "a house", 0.9, misalignment=0.1, disagreement=0.3),
        proposal(1, "a tree", 0.5, misalignment=0.5, disagreement=0.9),
        proposal(2, "a dog", 0.7, misalignment=0.3, disagreement=0.5),
    )
