"""Maps between token grids, by hand: shares keep their sum, levels their mean, and equal grids leave everything as it is."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.regridding import moved_level, moved_mass

WHOLE = np.array([[0, 0, 4, 4]], float)
HALVES = np.array([[0, 0, 2, 4], [2, 0, 4, 4]], float)
THIRDS = np.array([[0, 0, 1, 4], [1, 0, 3, 4], [3, 0, 4, 4]], float)
NOWHERE = np.zeros((1, 4))


def test_shares_are_spread_by_area_and_keep_their_sum():
    moved = moved_mass(np.array([0.2, 0.6]), HALVES, THIRDS)
    assert moved.tolist() == pytest.approx([0.1, 0.1 + 0.3, 0.3])
    assert moved_mass(moved, THIRDS, WHOLE).tolist() == pytest.approx([0.8])


def test_levels_are_means_over_the_area():
    moved = moved_level(np.array([[0.2, 0.6], [1.0, 1.0]]), HALVES, THIRDS)
    assert moved[0].tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert moved[1].tolist() == pytest.approx([1, 1, 1])


def test_a_token_without_a_place_neither_gives_nor_takes():
    with_none = np.concatenate([HALVES, NOWHERE])
    assert moved_mass(np.array([0.2, 0.6, 0.9]), with_none, WHOLE).tolist() == pytest.approx([0.8])
    assert moved_level(np.array([0.5]), WHOLE, with_none).tolist() == pytest.approx([0.5, 0.5, 0])


def test_equal_grids_leave_a_map_as_it_is():
    values = np.random.default_rng(0).random((2, 3), np.float32)
    assert moved_mass(values, THIRDS, THIRDS.copy()) is values
    assert moved_level(values, THIRDS, THIRDS.copy()) is values


def test_what_lies_outside_is_lost():
    assert moved_mass(np.array([0.2, 0.6]), HALVES, HALVES[:1]).tolist() == pytest.approx([0.2])
