"""Ranks and alignment before and after, by hand, in a space of two dimensions."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ssa_me.annotation.effect import Change, effect
from ssa_me.errors import InputError
from ssa_me.gallery.index import VectorIndex
from ssa_me.redrawing import Redrawn

# Images 1 to 3 by one vector: 0.9, 0.6, 0.3; by their best region: 0.2 of image 1's two, 0.5, none.
WHOLE = np.array([[0.9, 0], [0.6, 0], [0.3, 0]], np.float32)
PARTS = np.array([[0.1, 0], [0.2, 0], [0.5, 0]], np.float32)


@dataclass
class Space:
    """A gallery of three images, or one that another model embedded."""

    name: str = "Hand"
    folder: Path = Path()
    known: bool = True

    def index(self, space: str) -> VectorIndex | None:
        if not self.known:
            return None
        owners = (
            [(1, 0, 2), (2, 2, 1), (3, 3, 0)] if "subjects" in space else [(1, 0, 1), (2, 1, 1), (3, 2, 1)]
        )
        return VectorIndex(PARTS if "subjects" in space else WHOLE, owners)


@dataclass
class Info:
    fingerprints: dict[str, str] = field(default_factory=lambda: {"ssa-me": "x"})


AHEAD = np.float32([[1, 0]])


@dataclass
class Speaker:
    """Every text is the first axis, and states `stated`."""

    stated: np.ndarray = field(default_factory=lambda: AHEAD)
    info: Info = field(default_factory=Info)

    def embed(self, samples: list[object], subjects: bool) -> object:
        rows = np.tile(AHEAD, (len(samples), 1))
        said = [self.stated if subjects else AHEAD[:0]] * len(samples)
        return type("E", (), {"vectors": {"ssa-me": rows}, "subject_vectors": {"ssa-me": said}})


def redrawn(whole: float, *parts: float) -> Redrawn:
    rows = np.array([[part, 0] for part in parts], np.float32).reshape(-1, 2)
    return Redrawn({"ssa-me": np.float32([whole, 0])}, {"ssa-me": rows}, np.zeros(1), np.zeros((1, 4)))


def changes(speaker: Speaker | None = None, **images: Redrawn) -> dict[int, Change]:
    by_id = {int(name[1:]): image for name, image in images.items()}
    (found,) = effect(Space(), speaker or Speaker(), by_id, ["a cat"])  # type: ignore[arg-type]
    return {id: versions["ssa-me"] for id, versions in found.items()}


def test_one_image_changes_and_the_others_stay() -> None:
    # With subjects before: 1 has .2·.9 + .8·.2 = .34, 2 has .12 + .4 = .52, 3 its .3 alone. After: 3 has .14 + .72 = .86.
    change = changes(i3=redrawn(0.7, 0.4, 0.9))[3]
    assert change.alignment == pytest.approx((0, 0.9))
    assert change.rank == (3, 2)
    assert change.subjects == (3, 1)


def test_a_text_agrees_with_the_regions_by_all_that_it_states() -> None:
    """What is stated second looks the other way: image 1's regions are at −.1 and −.2 of it, the drawn one's at 1."""
    both = Speaker(np.float32([[1, 0], [-1, 0]]))
    # Before: 1 has mean(.2, −.1), 2 mean(.5, −.5) = 0 and .12 in all; after, 1 has mean(.2, 1) and .18 + .48.
    change = changes(both, i1=redrawn(0.9, 0.2, -1.0))[1]
    assert change.alignment == pytest.approx((0.05, 0.6))
    assert change.subjects == (2, 1)


def test_all_judged_images_change_at_once() -> None:
    found = changes(i1=redrawn(0.1, 0.1), i3=redrawn(0.9, 0.9))
    assert (found[1].rank, found[3].rank) == ((1, 3), (3, 1))
    assert (found[1].subjects, found[3].subjects) == ((2, 3), (3, 1))


def test_without_a_region_left_an_image_counts_by_its_vector() -> None:
    assert changes(i2=redrawn(0.6))[2].alignment == pytest.approx((0.5, 0))
    assert changes(i2=redrawn(0.6))[2].subjects == (1, 1)
    assert changes(i9=redrawn(0.6)) == {}, "an image that is not indexed is left out"


def test_a_gallery_of_another_model_is_said() -> None:
    with pytest.raises(InputError, match="no vectors of this model"):
        effect(Space(known=False), Speaker(), {}, ["a cat"])  # type: ignore[arg-type]
