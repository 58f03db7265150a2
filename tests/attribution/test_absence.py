"""What stands for nothing, and the regions that are taken away, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.attribution.absence import (
    absent,
    bbox_of,
    box_mask,
    cell_labels,
    mixed,
    region_labels,
    spread,
    superpixels,
)
from ssa_me.attribution.settings import BASELINES


@pytest.fixture
def halves() -> np.ndarray:
    """The left half red, the right half blue, 20 × 40."""
    image = np.zeros((20, 40, 3), dtype=np.uint8)
    image[:, :20, 0] = 200
    image[:, 20:, 2] = 100
    return image


def test_baselines(halves):
    kept = halves.copy()
    found = {name: absent(halves, name, 0) for name in BASELINES}
    assert all(image.shape == halves.shape and image.dtype == np.uint8 for image in found.values())
    assert (found["mean"] == [100, 0, 50]).all()
    assert (found["black"] == 0).all() and (found["white"] == 255).all()
    assert found["blur"][0, 0, 0] > found["blur"][0, 19, 0] > found["blur"][0, 39, 0] >= 0
    assert np.ptp(found["blur"][:, 3], axis=0).max() == 0, "the border lends nothing of its own"
    assert np.array_equal(found["noise"], absent(halves, "noise", 0))
    assert not np.array_equal(found["noise"], absent(halves, "noise", 1))
    assert np.array_equal(halves, kept)


def test_what_is_not_kept_shows_the_baseline(halves):
    labels = cell_labels(1, 2, (20, 40))
    white = absent(halves, "white", 0)
    both, left = mixed(np.array([[True, True], [True, False]]), labels, halves, white)
    assert np.array_equal(both, halves)
    assert np.array_equal(left[:, :20], halves[:, :20]) and (left[:, 20:] == 255).all()


def test_cells_are_in_raster_order_and_even():
    labels = cell_labels(2, 3, (4, 6))
    assert labels.tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2
    assert np.bincount(cell_labels(3, 3, (7, 8)).ravel()).min() >= 4


def test_regions_and_the_rest():
    first, second = np.zeros((2, 3), dtype=bool), np.zeros((2, 3), dtype=bool)
    first[0, :2] = True
    second[:, 1] = True
    assert region_labels([first, second]).tolist() == [[0, 0, 2], [2, 1, 2]]


def test_superpixels_keep_to_edges(halves):
    labels = superpixels(halves, 8)
    assert np.array_equal(labels, superpixels(halves, 8))
    assert 6 <= labels.max() + 1 <= 10 and set(np.unique(labels)) == set(range(labels.max() + 1))
    assert not set(labels[:, :20].ravel()) & set(labels[:, 20:].ravel()), "no patch crosses the edge"


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (8, 200), (300, 9)])
def test_superpixels_of_odd_images(shape):
    rng = np.random.default_rng(0)
    labels = superpixels(rng.integers(0, 255, (*shape, 3)).astype(np.uint8), 24)
    assert labels.shape == shape and labels.min() == 0
    assert set(np.unique(labels)) == set(range(labels.max() + 1))


def test_a_contribution_is_spread_evenly():
    labels = np.array([[0, 0, 1], [0, 0, 1]])
    assert spread(np.array([8.0, -1.0]), labels).tolist() == [[2, 2, -0.5], [2, 2, -0.5]]


def test_boxes_go_both_ways():
    mask = box_mask((10, 20, 30, 40), (100, 200), (20, 10))
    assert mask.sum() == 3 * 4 and mask[2:6, 1:4].all()
    assert bbox_of(mask, (100, 200)) == (10, 20, 30, 40)
    assert not box_mask((200, 0, 10, 10), (100, 200), (20, 10)).any(), "outside of the image"
