import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from ssa_me.evaluation.localisation import (
    RegionScore,
    average_precision,
    cell_areas,
    centre_prior,
    chance_score,
    coverage,
    energy_pointing_game,
    is_defined,
    pointing_game,
    score_region,
    summarise,
)
from ssa_me.samples import Subject, encode_mask


def grid(columns: int, rows: int, side: float) -> np.ndarray:
    return np.array(
        [(x * side, y * side, (x + 1) * side, (y + 1) * side) for y in range(rows) for x in range(columns)],
        dtype=float,
    )


BOXES = grid(4, 4, 8.0)  # of a 32 x 32 image
LEFT_TOP = np.zeros((32, 32), dtype=bool)
LEFT_TOP[:16, :16] = True


def one_hot(*cells: int) -> np.ndarray:
    values = np.zeros(16)
    values[list(cells)] = 1
    return values


def test_pointing_game_takes_the_centre_of_the_best_cell():
    assert pointing_game(one_hot(5), BOXES, LEFT_TOP) == 1
    assert pointing_game(one_hot(6), BOXES, LEFT_TOP) == 0
    narrow = np.zeros((32, 32), dtype=bool)
    narrow[:, :4] = True  # columns 0 to 3; the centre of the first cell is at 4
    assert pointing_game(one_hot(0), BOXES, narrow) == 0
    narrow[:, 4] = True
    assert pointing_game(one_hot(0), BOXES, narrow) == 1


def test_x_is_the_column_and_y_the_row():
    wide = np.zeros((10, 40), dtype=bool)
    wide[0:5, 30:40] = True
    boxes = np.array([[0, 0, 20, 10], [30, 0, 40, 5.0]])
    assert pointing_game(np.array([0.0, 1.0]), boxes, wide) == 1
    assert pointing_game(np.array([1.0, 0.0]), boxes, wide) == 0


def test_ties_give_the_expected_value():
    assert pointing_game(one_hot(0, 1, 2, 15), BOXES, LEFT_TOP) == pytest.approx(0.5)


@pytest.mark.parametrize("values", [np.zeros(16), np.full(16, 0.3), np.full(16, np.nan)])
def test_constant_maps_have_no_score(values):
    assert np.isnan(pointing_game(values, BOXES, LEFT_TOP))
    assert not score_region(values, BOXES, LEFT_TOP).defined


def test_empty_maps_and_regions_have_no_score():
    assert not is_defined(np.zeros(0), LEFT_TOP)
    assert not is_defined(one_hot(1), np.zeros((32, 32), dtype=bool))
    assert not score_region(np.zeros(0), np.zeros((0, 4)), LEFT_TOP).defined
    outside = Subject("kite", bbox=(40.0, 40.0, 5.0, 5.0)).mask(32, 32)
    assert not score_region(one_hot(1), BOXES, outside).defined


def test_mask_goes_before_box():
    mask = np.zeros((32, 32), dtype=bool)
    mask[24:, 24:] = True
    subject = Subject("kite", bbox=(0.0, 0.0, 32.0, 32.0), segmentation=encode_mask(mask))
    region = subject.mask(32, 32)
    assert pointing_game(one_hot(0), BOXES, region) == 0
    assert pointing_game(one_hot(15), BOXES, region) == 1


def test_coverage_between_pixels():
    mask = np.zeros((4, 4), dtype=bool)
    mask[:, 2:] = True
    boxes = np.array(
        [[0, 0, 2, 2], [1, 0, 3, 4], [1.5, 0, 2.5, 1], [1.5, 0.25, 2.25, 0.75], [3, 3, 3, 3]], dtype=float
    )
    assert coverage(boxes, mask) == pytest.approx([0, 0.5, 0.5, 1 / 3, 0])


def test_coverage_of_a_box_over_the_edge_counts_the_whole_box():
    assert coverage(np.array([[-2.0, 0, 2, 4]]), np.ones((4, 4), dtype=bool)) == pytest.approx([0.5])


def test_energy_by_hand():
    values = np.array([3.0, 1.0, -5.0])
    assert energy_pointing_game(values, np.array([0.5, 1.0, 1.0])) == pytest.approx((1.5 + 1) / 4)
    assert np.isnan(energy_pointing_game(np.array([-1.0, -2.0]), np.ones(2)))


def test_average_precision_by_hand():
    # Best cell right, second wrong, third right: precision 1 at recall 1/2, 2/3 at recall 1.
    values, covered = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])
    assert average_precision(values, covered, np.ones(4)) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision(np.ones(4), covered, np.ones(4)) == pytest.approx(
        0.5
    )  # all tied: the prevalence


def test_average_precision_equals_that_of_painted_pixels():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, 16).astype(float)
    mask = np.zeros((32, 32), dtype=bool)
    mask[5:21, 3:17] = True
    painted = np.kron(values.reshape(4, 4), np.ones((8, 8)))
    expected = average_precision_score(mask.ravel(), painted.ravel())
    assert average_precision(values, coverage(BOXES, mask), cell_areas(BOXES)) == pytest.approx(expected)


def test_a_perfect_map_has_full_marks():
    score = score_region(coverage(BOXES, LEFT_TOP), BOXES, LEFT_TOP)
    assert score == RegionScore(1, 1, 1, 0.25)
    assert score.size == "large"


def test_summary_counts_only_what_is_defined():
    scores = [
        RegionScore(1, 0.5, 0.5, 0.01),
        RegionScore(0, 0.3, 0.1, 0.05),
        RegionScore(0.5, 0.1, 0.3, 1.0),
        RegionScore(np.nan, np.nan, np.nan, 0.3),
    ]
    summary = summarise(scores)
    assert summary["regions"] == 3
    assert summary["pointing_game"] == pytest.approx(0.5)
    assert summary["energy_pointing_game"] == pytest.approx(0.3)
    assert {size: part["regions"] for size, part in summary["by_size"].items()} == {
        "small": 1,
        "medium": 1,
        "large": 1,
    }
    assert summary["by_size"]["medium"]["area"] == [0.05, 0.2]
    assert summarise(scores[3:]) is None
    assert summarise([]) is None


def test_chance_is_the_regions_share():
    boxes = np.array([[0, 0, 5, 10], [5, 0, 10, 10]], dtype=float)
    region = np.zeros((10, 10), dtype=bool)
    region[:, :6] = True  # all of the left cell, a fifth of the right one; the centre of the left one alone
    score = chance_score(boxes, region)
    assert (score.pointing_game, score.area) == (0.5, 0.6)
    assert score.energy_pointing_game == score.average_precision == pytest.approx(0.6)
    assert not chance_score(boxes, np.zeros((10, 10), dtype=bool)).defined


def test_the_centre_prior_is_a_bell_over_the_middle():
    boxes = np.array([[40, 40, 60, 60], [0, 40, 10, 60], [40, 0, 60, 10]], dtype=float)
    middle, left, top = centre_prior(boxes, (100, 100))
    assert middle == 1.0
    assert left == top == pytest.approx(np.exp(-(0.45**2) / 0.125))
