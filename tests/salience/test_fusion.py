"""Fusion and the way from pixels to tokens, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.salience.fusion import fuse, to_tokens

QUARTERS = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [0, 2, 2, 4], [2, 2, 4, 4]], float)


def test_fuse_is_the_largest_geometric_mean():
    expert = np.array([[1.0, 0.25, 0.0], [0.16, 1.0, 0.0]])
    relevance = np.array([[0.36, 0.25, 1.0], [0.25, 0.49, 0.5]])
    np.testing.assert_allclose(fuse(expert, relevance), [0.6, 0.7, 0.0], rtol=1e-6)


def test_fuse_weighs_by_the_exponent():
    expert, relevance = np.array([[0.16]]), np.array([[0.81]])
    np.testing.assert_allclose(fuse(expert, relevance, 1.0), [0.16], rtol=1e-6)
    np.testing.assert_allclose(fuse(expert, relevance, 0.0), [0.81], rtol=1e-6)
    np.testing.assert_allclose(fuse(expert, relevance, 0.25), [0.16**0.25 * 0.81**0.75], rtol=1e-6)


def test_fuse_clips_and_never_stretches():
    assert fuse(np.array([[2.0, -1.0]]), np.array([[3.0, 0.5]])).tolist() == [1.0, 0.0]
    assert fuse(np.array([[0.01, 0.0]]), np.array([[0.01, 0.0]])).max() == pytest.approx(0.01)
    assert fuse(np.zeros((0, 3)), np.zeros((0, 3))).tolist() == [0.0, 0.0, 0.0]


def test_fuse_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(1, 3\)"):
        fuse(np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="exponent"):
        fuse(np.zeros((1, 2)), np.zeros((1, 2)), 1.5)


def test_tokens_hold_the_mean_of_their_box():
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(to_tokens(values, QUARTERS, (4, 4)), [2.5, 4.5, 10.5, 12.5])


def test_cells_count_by_the_part_that_the_box_covers():
    values = np.array([[1.0, 3.0], [5.0, 7.0]])
    boxes = np.array([[0.5, 0, 2, 1], [0.75, 0.5, 1.25, 2], [0, 0, 2, 2]])
    expected = [(0.5 * 1 + 1 * 3) / 1.5, (0.5 * (1 + 3) / 2 + 1 * (5 + 7) / 2) / 1.5, 4.0]
    np.testing.assert_allclose(to_tokens(values, boxes, (2, 2)), expected, rtol=1e-6)


def test_a_map_of_another_resolution_covers_the_same_image():
    coarse = np.array([[0.0, 1.0]])
    boxes = np.array([[0, 0, 50, 30], [50, 0, 100, 30], [25, 10, 75, 20]])
    np.testing.assert_allclose(to_tokens(coarse, boxes, (100, 30)), [0, 1, 0.5])


def test_outside_does_not_count_and_no_area_is_zero():
    ones = np.ones((3, 3))
    boxes = np.array([[-2, -2, 1, 1], [2, 2, 9, 9], [1, 1, 1, 1], [5, 5, 6, 6], [2, 2, 1, 1]])
    np.testing.assert_allclose(to_tokens(ones, boxes, (3, 3)), [1, 1, 0, 0, 0])


def test_leading_axes_are_kept():
    maps = np.random.default_rng(0).random((2, 3, 5, 7))
    together = to_tokens(maps, QUARTERS, (4, 4))
    assert together.shape == (2, 3, 4)
    np.testing.assert_allclose(together[1, 2], to_tokens(maps[1, 2], QUARTERS, (4, 4)), rtol=1e-6)
