"""The index by hand: order, ties, several rows an image."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.gallery.index import VectorIndex

E = np.eye(3, dtype=np.float32)


def test_best_is_ordered_by_score_and_ties_by_id():
    index = VectorIndex(E[[0, 1, 1, 1]], [(9, 0, 1), (8, 1, 1), (3, 2, 1), (5, 3, 1)])
    found = index.best(np.array([0.1, 0.9, 0], np.float32), 4)
    assert found.ids.tolist() == [3, 5, 8, 9]
    assert found.scores.tolist() == pytest.approx([0.9, 0.9, 0.9, 0.1])
    assert found.bound == -np.inf


def test_ties_at_the_cut_are_all_in():
    index = VectorIndex(E[[0, 1, 1, 1, 2]], [(n, n, 1) for n in range(5)])
    found = index.best(np.array([0.0, 1.0, 0.5], np.float32), 2)
    assert found.ids[:3].tolist() == [1, 2, 3]


def test_the_bound_holds_for_everything_left_out():
    vectors = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    index = VectorIndex(vectors, [(n, n, 1) for n in range(200)])
    query = np.array([1, 2, 3], np.float32)
    found = index.best(query, 10)
    left = np.setdiff1d(np.arange(200), found.ids)
    assert len(found.ids) >= 10
    assert (vectors[left] @ query).max() <= found.bound


def test_an_image_counts_once_by_its_best_row_and_one_without_rows_not_at_all():
    index = VectorIndex(E[[0, 1, 2]], [(7, 0, 2), (4, 2, 0), (6, 2, 1)])
    found = index.best(np.array([0.2, 0.7, 0.5], np.float32), 3)
    assert found.ids.tolist() == [7, 6]
    assert found.scores.tolist() == pytest.approx([0.7, 0.5])
    assert (len(index), 4 in index, 5 in index, index.of(4).shape) == (3, True, False, (0, 3))


def test_a_space_without_rows_finds_nothing():
    index = VectorIndex(E[:0], [(1, 0, 0)])
    assert index.best(E[0], 5).ids.tolist() == []
