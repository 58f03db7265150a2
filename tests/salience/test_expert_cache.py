"""Maps kept on disk: a hit does not ask the expert, the oldest go first, damage counts as not there."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from ssa_me.salience.experts import AnnotatedExpert, CachedExpert, OpenCVExpert, VisualExpert
from ssa_me.samples import Subject


class Counting(VisualExpert):
    """Noise that image and phrase seed, and a list of what it was asked for."""

    version = "counting-1"

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, int], tuple[str, ...]]] = []

    def maps(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self.asked += [(i.size, tuple(p)) for i, p in zip(images, phrases, strict=True)]
        return [
            np.array([self.of(i, p) for p in named], np.float32).reshape(len(named), 16, 16)
            for i, named in zip(images, phrases, strict=True)
        ]

    def of(self, image: Image.Image, phrase: str) -> np.ndarray:
        seed = [image.width, *phrase.encode()]
        return np.random.default_rng(seed).random((16, 16), np.float32)


@pytest.fixture
def expert():
    return Counting()


def test_what_is_kept_is_not_asked_for_again(expert, tmp_path, picture):
    images = [picture(40, 30), picture(50, 30)]
    phrases = [["a", "b", "a"], ["c"]]
    first = CachedExpert(expert, tmp_path).maps(images, phrases)
    assert expert.asked == [((40, 30), ("a", "b")), ((50, 30), ("c",))]
    again = CachedExpert(expert, tmp_path).maps(images, phrases)
    assert len(expert.asked) == 2
    for one, other, plain in zip(first, again, Counting().maps(images, phrases), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, plain)


def test_only_what_is_lacking_is_asked_for(expert, tmp_path, picture):
    cached = CachedExpert(expert, tmp_path)
    cached(picture(40, 30), ["b"])
    found = cached(picture(40, 30), ["a", "b", "c"])
    assert expert.asked[1:] == [((40, 30), ("a", "c"))]
    np.testing.assert_array_equal(found, Counting()(picture(40, 30), ["a", "b", "c"]))


def test_no_phrase_gives_no_map(expert, tmp_path, picture):
    assert CachedExpert(expert, tmp_path)(picture(), []).shape == (0, 16, 16)
    assert CachedExpert(expert, tmp_path).maps([], []) == []


def test_other_pixels_another_version_and_another_phrase_are_other_maps(expert, tmp_path, picture):
    cached = CachedExpert(expert, tmp_path)
    cached(picture(40, 30, seed=1), ["a"])
    cached(picture(40, 30, seed=2), ["a"])
    cached(picture(40, 30, seed=1), ["A"])
    expert.version = "counting-2"
    cached(picture(40, 30, seed=1), ["a"])
    assert len(expert.asked) == 4


def test_annotations_are_part_of_the_version(tmp_path, picture):
    left, right = (AnnotatedExpert((Subject("it", bbox=box),)) for box in ((0, 0, 8, 8), (30, 0, 8, 8)))
    first, second = (CachedExpert(e, tmp_path)(picture(), ["it"]) for e in (left, right))
    assert np.abs(first - second).max() == 1


def test_the_longest_unused_goes_first_and_the_cap_holds(expert, tmp_path, picture):
    CachedExpert(expert, tmp_path)(picture(), ["a", "b", "c"])
    files = {path: path.stat().st_size for path in tmp_path.iterdir()}
    for age, path in enumerate(tmp_path.iterdir()):
        os.utime(path, (1000 - age, 1000 - age))
    room = CachedExpert(expert, tmp_path, capacity=sum(files.values()))
    room(picture(), ["a"])  # used now
    before = len(expert.asked)
    room(picture(), ["d"])  # one of b and c has to go
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= sum(files.values())
    room(picture(), ["a", "d"])
    assert len(expert.asked) == before + 1


def test_a_damaged_file_counts_as_not_there(expert, tmp_path, picture):
    cached = CachedExpert(expert, tmp_path)
    expected = cached(picture(), ["a"])
    (file,) = tmp_path.iterdir()
    for damage in (b"", b"no archive", file.read_bytes()[:50]):
        file.write_bytes(damage)
        np.testing.assert_array_equal(cached(picture(), ["a"]), expected)
    assert len(expert.asked) == 4


def test_objects_are_never_unpickled(expert, tmp_path, picture):
    cached = CachedExpert(expert, tmp_path)
    expected = cached(picture(), ["a"])
    (file,) = tmp_path.iterdir()
    with file.open("wb") as opened:
        np.savez(opened, map=np.array([{"a": 1}], dtype=object))
    np.testing.assert_array_equal(cached(picture(), ["a"]), expected)


def test_the_real_expert_through_the_cache(tmp_path, picture):
    phrases = ["a red disc", "a disc"]
    cached = CachedExpert(OpenCVExpert(), tmp_path)
    np.testing.assert_array_equal(cached(picture(), phrases), OpenCVExpert()(picture(), phrases))
    np.testing.assert_array_equal(cached(picture(), phrases), OpenCVExpert()(picture(), phrases))
