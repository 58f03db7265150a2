"""A tiny model with both versions trained to random numbers, and two discs to look at."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ssa_me.embedder import SalientEmbedder

TEXT = "a red circle on the left of a blue bird"


@pytest.fixture(scope="module")
def embedder(trained_checkpoint) -> SalientEmbedder:
    return SalientEmbedder.load(trained_checkpoint, "cpu")


@pytest.fixture(scope="session")
def discs() -> Image.Image:
    """A red and a blue disc on grey, 96 × 48."""
    pixels = np.full((48, 96, 3), 128, dtype=np.uint8)
    y, x = np.mgrid[:48, :96]
    for centre, colour in ((24, (210, 30, 40)), (72, (40, 60, 210))):
        pixels[(x - centre) ** 2 + (y - 24) ** 2 <= 14**2] = colour
    return Image.fromarray(pixels)
