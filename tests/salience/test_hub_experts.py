"""The experts of the hub's classes, tiny and random, loaded from folders as the real ones are."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from ssa_me.devices import Device
from ssa_me.errors import InputError
from ssa_me.salience.experts import open_expert
from ssa_me.salience.experts.clipseg import CLIPSegExpert
from ssa_me.salience.experts.grounded_sam import GroundedSamExpert

CPU = Device(torch.device("cpu"), torch.float32, "a test")
PHRASES = [["a red bird", "a dog"], ["a house"], [], ["a red bird in the house", "a person"]]


@pytest.fixture(scope="module")
def clipseg(clipseg_folder):
    return CLIPSegExpert.open(str(clipseg_folder), CPU)


@pytest.fixture(scope="module")
def grounded(dino_folder, sam_folder):
    return GroundedSamExpert.open(str(dino_folder), str(sam_folder), CPU, threshold=0.01)


@pytest.fixture(scope="module", params=["clipseg", "grounded"])
def expert(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def images(picture):
    return [picture(80, 60, seed=1), picture(48, 90, seed=2), picture(seed=3), picture(80, 60, seed=4)]


def test_maps_are_shares_one_a_phrase(expert, images):
    maps = expert.maps(images, PHRASES)
    assert [len(of_image) for of_image in maps] == [2, 1, 0, 2]
    for of_image in maps:
        assert of_image.dtype == np.float32 and of_image.ndim == 3 and min(of_image.shape[1:]) > 1
    values = np.concatenate([of_image.ravel() for of_image in maps])
    assert values.min() >= 0 and values.max() <= 1 and values.std() > 0.01


def test_a_batch_is_the_same_as_one_by_one(expert, images):
    together = expert.maps(images, PHRASES)
    for image, named, of_image in zip(images, PHRASES, together, strict=True):
        np.testing.assert_allclose(of_image, expert(image, named), atol=2e-5)
        for phrase, one in zip(named, of_image, strict=True):
            np.testing.assert_allclose(one, expert(image, [phrase])[0], atol=2e-5)


def test_the_phrase_matters(expert, images):
    first, second = expert(images[0], ["a red bird", "the blue house ."])
    assert np.abs(first - second).max() > 1e-3


def test_what_is_not_detected_stays_exactly_dark(dino_folder, sam_folder, images):
    strict = GroundedSamExpert.open(str(dino_folder), str(sam_folder), CPU, threshold=1.0)
    assert not strict(images[0], ["a dog"]).any()


def test_a_detection_is_as_bright_as_it_is_certain(grounded, images):
    with torch.inference_mode():
        found = grounded._detect([(0, "a dog")], images)[0, "a dog"]
    assert 0 < grounded(images[0], ["a dog"]).max() <= float(found.scores.max()) + 1e-6


def test_a_long_phrase_is_cut_instead_of_refused(expert, images):
    assert expert(images[0], ["a red bird " * 40]).shape[0] == 1


def test_a_version_names_class_weights_and_settings(
    clipseg, grounded, clipseg_folder, dino_folder, sam_folder, tmp_path
):
    other = tmp_path / "other"
    shutil.copytree(clipseg_folder, other)
    (other / "vocab.txt").write_text("changed")
    assert clipseg.version.startswith("clipseg-")
    assert CLIPSegExpert.open(str(clipseg_folder), CPU).version == clipseg.version
    assert CLIPSegExpert.open(str(other), CPU).version != clipseg.version
    assert grounded.version != GroundedSamExpert.open(str(dino_folder), str(sam_folder), CPU).version


def test_memory_that_runs_out_halves_the_batch(clipseg_folder, images, monkeypatch):
    expert = CLIPSegExpert.open(str(clipseg_folder), CPU, batch=8)
    expected = expert.maps(images, PHRASES)
    sizes, within = [], expert._probabilities

    def small_memory(pairs):
        sizes.append(len(pairs))
        if len(pairs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return within(pairs)

    monkeypatch.setattr(expert, "_probabilities", small_memory)
    for one, other in zip(expert.maps(images, PHRASES), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    assert sizes == [5, 2, 2, 1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("magic", "no expert 'magic'"),
        ("clipseg", "clipseg:PATH"),
        ("grounded-sam:one", "DINO_PATH,SAM_PATH"),
        ("opencv:here", "Write opencv"),
        ("clipseg:/nowhere/at all", "no folder"),
    ],
)
def test_a_name_that_makes_no_sense_is_said(name, reason):
    with pytest.raises(InputError, match=reason):
        open_expert(name, CPU)


def test_pickled_weights_and_lacking_ones_are_refused(clipseg_folder, dino_folder, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(clipseg_folder, folder)
    weights = next(folder.glob("*.safetensors"))
    weights.unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        open_expert(f"clipseg:{folder}", CPU)
    with pytest.raises(InputError, match=r"cannot be loaded|lacks weights"):
        open_expert(f"clipseg:{dino_folder}", CPU)


def test_an_expert_is_opened_by_its_name(clipseg_folder, dino_folder, sam_folder):
    assert open_expert("opencv", CPU).version.startswith("opencv")
    assert open_expert(f"clipseg:{clipseg_folder}", CPU).version.startswith("clipseg")
    assert open_expert(f"grounded-sam:{dino_folder}, {sam_folder}", CPU).version.startswith("grounded-sam")
