import numpy as np
import pytest

from ssa_me.evaluation.conditioned import Pointing, point, summarise_pointings

BOXES = np.array([[0, 0, 5, 10], [5, 0, 10, 10]], dtype=float)
LEFT = np.zeros((10, 10), dtype=bool)
LEFT[:, :5] = True


def test_a_map_points_into_its_own_region_or_another():
    assert point(3, np.array([0.9, 0.1]), BOXES, LEFT, ~LEFT) == Pointing(3, 1.0, 0.0, 0)
    assert point(3, np.array([0.1, 0.9]), BOXES, LEFT, ~LEFT) == Pointing(3, 0.0, 1.0, 1)
    assert point(3, np.array([0.5, 0.5]), BOXES, LEFT, ~LEFT) == Pointing(3, 0.0, 0.0, -1)  # nowhere
    nothing = np.zeros_like(LEFT)  # the other region lies all inside of this one
    assert point(3, np.array([0.9, 0.1]), BOXES, LEFT, nothing).other == 0.0


def test_shares_over_phrases_and_images():
    pointings = [
        Pointing(0, 1.0, 0.0, 4), Pointing(0, 1.0, 0.0, 9),  # each its own
        Pointing(1, 1.0, 0.0, 4), Pointing(1, 0.0, 1.0, 4),  # one map for both
        Pointing(2, 0.0, 0.0, 1), Pointing(2, 0.0, 0.0, 2), Pointing(2, 1.0, 0.0, 1),  # beside both
        Pointing(3, 1.0, 0.0, 7),  # alone: no image with several
    ]  # fmt: skip
    assert summarise_pointings(pointings) == {
        "images": 3,
        "phrases": 7,
        "own": pytest.approx(4 / 7),
        "other": pytest.approx(1 / 7),
        "maps_differ": pytest.approx(3 / 5),  # of one, one and three pairs: 1, 0 and 2 differ
        "all_own": pytest.approx(1 / 3),
    }
    assert summarise_pointings(pointings[-1:]) is None
