"""Regions of subjects: COCO's RLE in both forms, and what is not one."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.samples import Subject, encode_mask

MASK = np.array([[0, 1, 1], [0, 0, 1]], dtype=bool)


@pytest.mark.parametrize("segmentation", [encode_mask(MASK), {"size": [2, 3], "counts": [2, 1, 1, 2]}])
def test_a_mask_is_read_from_text_and_from_run_lengths(segmentation):
    assert (Subject("a dog", segmentation=segmentation).mask(3, 2) == MASK).all()


def test_a_mask_is_scaled_to_the_image():
    assert Subject("a dog", segmentation=encode_mask(MASK)).mask(6, 4).sum() == 4 * MASK.sum()


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [2, 2], "counts": "zzzz"},
        {"size": [2, 2], "counts": "é"},
        {"size": [2, 2], "counts": 4},
        {"size": [2, 2], "counts": [1, 2, "a"]},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": [1, 2]},
        {"size": [-2, -2], "counts": [4]},
        {"size": [10**6, 10**6], "counts": "0"},
        {"size": "x", "counts": "0"},
        {"size": 4, "counts": "0"},
    ],
)
def test_a_segmentation_that_is_none_is_bad_input(segmentation):
    with pytest.raises(InputError, match="segmentation of 'a dog' is not COCO's RLE"):
        Subject("a dog", segmentation=segmentation).mask(2, 2)
