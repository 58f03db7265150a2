import time

import numpy as np
import pytest
from PIL import Image

from ssa_me.annotation.snap import snap
from ssa_me.errors import InputError
from tests.annotation.conftest import disc


def scene(width: int, height: int, radius: float) -> Image.Image:
    """A red disc in the middle of a noisy green ground."""
    pixels = np.random.default_rng(0).integers(60, 90, (height, width, 3))
    pixels[..., 1] += 70
    pixels[disc(width, height, radius)] = (200, 40, 40)
    return Image.fromarray(pixels.astype(np.uint8))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_box_snaps_to_what_it_holds() -> None:
    found = snap(scene(120, 90, 20), (35.0, 20.0, 50.0, 50.0))
    assert overlap(found, disc(120, 90, 20)) > 0.93
    assert np.array_equal(found, snap(scene(120, 90, 20), (35.0, 20.0, 50.0, 50.0)))


def test_a_stroke_is_enough_and_the_eraser_is_obeyed() -> None:
    stroke = np.zeros((90, 120), bool)
    stroke[43:47, 50:70] = True
    found = snap(scene(120, 90, 20), inside=stroke)
    assert overlap(found, disc(120, 90, 20)) > 0.85
    erased = np.zeros((90, 120), bool)
    erased[:, :43] = True
    assert not snap(scene(120, 90, 20), (35.0, 20.0, 50.0, 50.0), outside=erased)[:, :42].any()


def test_a_large_image_takes_less_than_a_second() -> None:
    image = scene(3000, 2000, 600)
    started = time.process_time()
    found = snap(image, (850.0, 350.0, 1300.0, 1300.0))
    assert time.process_time() - started < 1
    assert overlap(found, disc(3000, 2000, 600)) > 0.93


def test_the_whole_image_is_a_box_too() -> None:
    assert overlap(snap(scene(120, 90, 30), (0.0, 0.0, 120.0, 90.0)), disc(120, 90, 30)) > 0.9


@pytest.mark.parametrize("bbox", [None, (500.0, 0.0, 5.0, 5.0), (0.0, 0.0, 0.4, 0.4)])
def test_what_cannot_be_snapped_is_said(bbox: tuple[float, float, float, float] | None) -> None:
    with pytest.raises(InputError):
        snap(scene(120, 90, 20), bbox)
