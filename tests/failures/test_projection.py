"""Points on a line and a plane, where the components are plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.failures.projection import available_methods, inside, project


def test_the_first_component_is_the_long_side_of_a_rectangle():
    corners = np.array([[3.0, 0, 1], [3, 0, -1], [-3, 0, 1], [-3, 0, -1]])
    (found,) = project([corners])
    assert found.points * 3 == pytest.approx(corners[:, [0, 2]])
    assert found.explained == pytest.approx(1.0)


def test_the_share_of_the_variance_by_hand():
    cross = np.array([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    assert project([cross])[0].explained == pytest.approx((8 + 2) / 12)


def test_the_second_model_is_turned_towards_the_first():
    random = np.random.default_rng(0)
    plane = np.pad(random.normal(0, (3, 1), (50, 2)), ((0, 0), (0, 6)))
    turn = np.linalg.qr(random.normal(size=(8, 8)))[0]
    first, second = project([plane, plane @ turn])
    assert second.points == pytest.approx(first.points, abs=1e-6)


def test_equal_vectors_one_image_and_one_dimension_are_no_trouble():
    for rows in (np.ones((4, 3)), np.ones((1, 3)), np.array([[1.0], [2.0]])):
        (found,) = project([rows])
        assert found.points.shape == (len(rows), 2) and np.isfinite(found.points).all()


def test_only_what_is_installed():
    assert available_methods()[0] == "pca"
    with pytest.raises(InputError, match="no projection 'tsne'"):
        project([np.ones((2, 2))], "tsne")


def test_inside_a_lasso():
    points = np.array([[0.5, 0.5], [1.5, 0.5], [0.3, 0.9], [0.7, 0.9]])
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    assert inside(points, square).tolist() == [True, False, True, True]
    notched = np.array([[0, 0], [1, 0], [1, 1], [0.5, 0.6], [0, 1]])
    assert inside(points, notched).tolist() == [True, False, False, False]
    assert not inside(points, square[:2]).any()
