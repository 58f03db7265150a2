from pathlib import Path

import numpy as np
import pytest

from ssa_me.evaluation.relations import Swap, right, swap_margins, swaps
from ssa_me.samples import Record, Subject


def record(*subjects, **extra):
    return Record(Path("x.png"), "x.png", (), subjects, extra=extra)


def test_subjects_beside_each_other_are_asked_for_both_ways():
    dog, car = Subject("a red dog", bbox=(0, 0, 4, 4)), Subject("a blue car", bbox=(4, 0, 4, 9))
    assert list(swaps([record(), record(car, dog)])) == [
        Swap(1, "a red dog left of a blue car", "a blue car left of a red dog"),
        Swap(1, "a blue car right of a red dog", "a red dog right of a blue car"),
    ]


@pytest.mark.parametrize(
    "subjects",
    [
        [Subject("a", bbox=(0, 0, 5, 4)), Subject("b", bbox=(4, 0, 4, 9))],  # they overlap
        [Subject("a", bbox=(0, 0, 2, 4)), Subject("b")],  # one has no place
        [Subject("a", bbox=(0, 0, 2, 4)), Subject("a", bbox=(4, 0, 4, 9))],  # one name for both
        [Subject("a", bbox=(0, 0, 2, 4)), Subject("b", bbox=(4, 0, 4, 9), status="proposed")],
    ],
)
def test_what_is_no_clear_pair_is_not_asked(subjects):
    assert list(swaps([record(*subjects)])) == []


def test_other_languages_are_not_asked_in_english():
    pair = [Subject("a", bbox=(0, 0, 2, 4)), Subject("b", bbox=(4, 0, 4, 9))]
    assert list(swaps([record(*pair, language="es")])) == []
    assert len(list(swaps([record(*pair, language="en")]))) == 2


def test_margins_by_hand():
    texts = {"ab": np.array([1.0, 0.0]), "ba": np.array([0.0, 1.0])}
    images = np.array([[0.8, 0.6], [0.6, 0.8]])
    found = [Swap(0, "ab", "ba"), Swap(1, "ab", "ba"), Swap(0, "ab", "ab")]
    margins = swap_margins(found, texts, images)
    assert margins == pytest.approx([0.2, -0.2, 0.0])
    assert right(margins).tolist() == [1.0, 0.0, 0.0]
    # With subjects: .2 * .6 + .8 * 1 for the true text of image 1, .2 * .8 + .8 * 0 for the swapped one.
    subjects = [np.zeros((0, 2)), np.array([[1.0, 0.0]])]
    stated = {name: vector[None] for name, vector in texts.items()}
    assert swap_margins(found[1:2], texts, images, subjects, stated) == pytest.approx([0.92 - 0.16])
    # What the swapped text states beside it: .16 + .8 * mean(0, 1); image 0 has no subjects
    stated["ba"] = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert swap_margins(found, texts, images, subjects, stated) == pytest.approx([0.2, 0.92 - 0.56, 0.0])
