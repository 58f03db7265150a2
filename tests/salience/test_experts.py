"""The visual experts: bright where a subject stands out, dark where none does, the same at every call."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from ssa_me.salience.experts import (
    AnnotatedExpert,
    OpenCVExpert,
    colour_similarity,
    colour_words,
    spectral_residual,
)
from ssa_me.samples import Subject, encode_mask

RED, BLUE, GRASS = (200, 35, 40), (45, 95, 195), (110, 150, 100)


def two_discs(left=RED, right=BLUE, background=GRASS) -> Image.Image:
    image = Image.new("RGB", (200, 120), background)
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 40, 80, 80), fill=left)
    draw.ellipse((120, 40, 160, 80), fill=right)
    return image


def at(salience: np.ndarray, x: float, y: float) -> float:
    """The map's value at a place given as shares of width and height."""
    return float(salience[int(y * salience.shape[0]), int(x * salience.shape[1])])


def test_subjects_are_bright_and_the_background_is_dark():
    (salience,) = OpenCVExpert()(two_discs(), ["two discs"])
    assert at(salience, 0.3, 0.5) > 0.5
    assert at(salience, 0.7, 0.5) > 0.5
    assert at(salience, 0.05, 0.05) < 0.1
    assert salience.dtype == np.float32
    assert salience.min() >= 0 and salience.max() <= 1


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (90, 140, 30)])
def test_a_flat_image_is_exactly_dark(colour):
    assert not OpenCVExpert()(Image.new("RGB", (64, 48), colour), ["a cat"]).any()


def test_faint_contrast_stays_dark_instead_of_being_stretched():
    faint = two_discs(left=(113, 152, 102), right=(107, 148, 98))
    assert OpenCVExpert()(faint, [""]).max() < 0.1 < OpenCVExpert()(two_discs(), [""]).max()


def test_fine_noise_alone_is_dark():
    noise = np.random.default_rng(0).integers(100, 156, (128, 128, 3), dtype=np.uint8)
    assert OpenCVExpert()(Image.fromarray(noise), [""]).mean() < 0.1


def test_colour_words_choose_and_other_words_do_not():
    plain, other, red, blue, pink = OpenCVExpert()(
        two_discs(), ["a disc", "a dog", "a RED disc", "the blue one", "pink"]
    )
    np.testing.assert_array_equal(plain, other)
    assert at(red, 0.3, 0.5) > 5 * at(red, 0.7, 0.5)
    assert at(blue, 0.7, 0.5) > 5 * at(blue, 0.3, 0.5)
    assert pink.max() < 0.6 * plain.max()


def test_the_outcome_depends_on_no_random_state():
    image, expert = two_discs(), OpenCVExpert()
    cv2.setRNGSeed(1)
    first = expert(image, ["a disc"])
    cv2.setRNGSeed(2)
    np.testing.assert_array_equal(first, expert(image, ["a disc"]))


@pytest.mark.parametrize("size", [(1000, 3), (3, 700), (2, 2), (640, 480), (31, 97)])
def test_any_size_and_shape(size):
    maps = OpenCVExpert()(two_discs().resize(size), ["a", "red"])
    assert maps.shape[0] == 2
    assert max(maps.shape[1:]) <= 96
    assert np.isfinite(maps).all()


def test_no_phrase_gives_no_map():
    assert OpenCVExpert()(two_discs(), []).shape[0] == 0
    assert AnnotatedExpert(())(two_discs(), []).shape[0] == 0


def test_colour_words_are_whole_words_with_spellings_joined():
    assert colour_words("a gray cat, a Grey dog and a teal-blue boat") == ("grey", "turquoise", "blue")
    assert colour_words("hundred covered bored") == ()


def test_colour_similarity_is_one_at_the_prototype_and_takes_the_nearest_colour():
    patch = np.array([[RED, BLUE]], np.float32) / 255
    lab = cv2.cvtColor(patch, cv2.COLOR_RGB2Lab)
    np.testing.assert_allclose(colour_similarity(lab, ["red", "blue"]), [[1, 1]], atol=1e-4)
    red_only = colour_similarity(lab, ["red"])
    assert red_only[0, 0] > 0.99 and red_only[0, 1] < 0.05


def test_spectral_residual_marks_the_odd_one_out_at_any_contrast():
    x = np.arange(64)
    stripes = np.tile(np.sin(x * np.pi / 4).astype(np.float32), (64, 1))
    stripes[28:36, 28:36] = stripes[28:36, 28:36].T
    saliency = spectral_residual(stripes)
    assert saliency.mean() == pytest.approx(1, abs=1e-4)
    assert saliency[28:36, 28:36].mean() > 2
    np.testing.assert_allclose(spectral_residual(3 * stripes), saliency, rtol=1e-3, atol=1e-3)
    assert not spectral_residual(np.full((64, 64), 0.4, np.float32)).any()


def test_annotated_regions_are_the_union_of_a_phrase():
    mask = np.zeros((10, 20), bool)
    mask[:, 15:] = True
    subjects = (
        Subject("a  Red bird", bbox=(0, 0, 5, 10)),
        Subject("a red bird", segmentation=encode_mask(mask)),
        Subject("a tree", bbox=(8, 0, 2, 10)),
        Subject("the sky"),
    )
    bird, absent, sky = AnnotatedExpert(subjects)(
        Image.new("RGB", (20, 10)), ["a red bird", "a dog", "the sky"]
    )
    expected = np.zeros((10, 20))
    expected[:, :5] = expected[:, 15:] = 1
    np.testing.assert_array_equal(bird, expected)
    assert not absent.any() and not sky.any()


def test_annotated_maps_of_large_images_hold_the_covered_share():
    subject = Subject("left", bbox=(0, 0, 3, 8))
    (covered,) = AnnotatedExpert((subject,), longest=4)(Image.new("RGB", (8, 8)), ["left"])
    np.testing.assert_allclose(covered, np.tile([1, 0.5, 0, 0], (4, 1)))


def test_versions_name_the_settings():
    assert OpenCVExpert().version != OpenCVExpert(longest=64).version
