"""Subject regions from a map over tokens: peaks told apart, dark maps without any, coverage and overlap by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.salience.regions import coverage, grow, iou, peaks


def grid(rows: int, columns: int, side: float = 10) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns] * side
    return np.stack([x, y, x + side, y + side], -1).reshape(-1, 4).astype(float)


def test_separate_subjects_in_order_of_mass():
    salience = np.zeros((4, 6), np.float32)
    salience[0, 0] = 0.9
    salience[2:4, 3:6] = 0.8
    large, small = peaks(salience.ravel(), grid(4, 6))
    assert large.bbox == (30, 20, 30, 20)
    assert small.bbox == (0, 0, 10, 10)
    assert large.salience == pytest.approx(0.8) and small.salience == pytest.approx(0.9)
    np.testing.assert_allclose(large.weights.reshape(4, 6)[2:4, 3:6], 0.8)
    assert large.weights.sum() == pytest.approx(4.8)


def test_touching_subjects_are_split_at_the_saddle():
    salience = np.array([0.6, 0.9, 0.5, 0.7, 0.8])
    left, right = sorted(peaks(salience, grid(1, 5)), key=lambda region: region.bbox[0])
    np.testing.assert_allclose(left.weights, [0.6, 0.9, 0.5, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(right.weights, [0, 0, 0, 0.7, 0.8], rtol=1e-6)


def test_a_shallow_saddle_does_not_split():
    (whole,) = peaks(np.array([0.9, 0.72, 0.8]), grid(1, 3))
    assert whole.bbox == (0, 0, 30, 10)
    assert len(peaks(np.array([0.9, 0.72, 0.8]), grid(1, 3), prominence=0.05)) == 2


def test_a_dim_subject_beside_a_bright_one_is_kept_and_tails_are_cut():
    salience = np.array([0.2, 0.9, 0.3, 0.0, 0.3, 0.2])
    bright, dim = peaks(salience, grid(1, 6))
    np.testing.assert_allclose(bright.weights, [0, 0.9, 0, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(dim.weights, [0, 0, 0, 0, 0.3, 0.2], rtol=1e-6)


def test_corners_touch():
    assert len(peaks(np.array([0.9, 0.0, 0.0, 0.85]), grid(2, 2))) == 1


def test_dark_maps_have_no_region_and_bright_constant_ones_a_single_one():
    boxes = grid(5, 5)
    assert peaks(np.zeros(25), boxes) == ()
    assert peaks(np.full(25, 0.1), boxes) == ()
    (whole,) = peaks(np.full(25, 0.7), boxes)
    assert whole.bbox == (0, 0, 50, 50)
    assert whole.salience == pytest.approx(0.7)


def test_a_large_grid_is_read_in_parts_without_seams():
    salience = np.zeros((40, 40))
    salience[3:37, 20] = 0.9
    salience[12, 2:5] = 0.6
    tall, wide = peaks(salience.ravel(), grid(40, 40))
    assert tall.bbox == (200, 30, 10, 340)
    assert wide.bbox == (20, 120, 30, 10)


def test_at_most_so_many():
    salience = np.zeros((9, 9))
    salience[::2, ::2] = np.linspace(0.5, 0.9, 25).reshape(5, 5)
    regions = peaks(salience.ravel(), grid(9, 9))
    assert [round(region.salience, 3) for region in regions] == [0.9, 0.883, 0.867, 0.85, 0.833, 0.817]
    assert len(peaks(salience.ravel(), grid(9, 9), most=2)) == 2


def test_any_order_and_layout_of_boxes():
    boxes, salience = grid(3, 4, side=7.3), np.array([0.9, 0.6, 0, 0, 0.7, 0, 0, 0.8, 0, 0, 0.6, 0.7])
    order = np.random.default_rng(3).permutation(12)
    shuffled = peaks(salience[order], boxes[order])
    for expected, region in zip(peaks(salience, boxes), shuffled, strict=True):
        np.testing.assert_array_equal(expected.weights[order], region.weights)
        assert expected.bbox == region.bbox


def test_tokens_without_a_place_belong_to_no_region():
    boxes = np.vstack([grid(1, 3), [[0, 0, 0, 0]]])
    (region,) = peaks(np.array([0.5, 0.5, 0, 1.0]), boxes)
    assert region.bbox == (0, 0, 20, 10)
    assert region.weights[3] == 0


def test_nothing_overlaps_and_all_weights_are_salience():
    salience = np.random.default_rng(0).random(64)
    regions = peaks(salience, grid(8, 8), prominence=0.1)
    weights = np.array([region.weights for region in regions])
    assert len(regions) >= 2
    assert ((weights > 0).sum(axis=0) <= 1).all()
    np.testing.assert_allclose(
        weights[weights > 0], np.tile(salience, (len(weights), 1))[weights > 0], rtol=1e-6
    )


def test_intersection_over_union():
    assert iou((0, 0, 2, 2), (1, 1, 2, 2)) == pytest.approx(1 / 7)
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert iou((0, 0, 2, 2), (2, 0, 2, 2)) == 0
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0


def test_subjects_that_touch_are_told_apart_by_what_they_show():
    """One plateau of salience over a row of four tokens; the left two show one thing, the right two another."""
    boxes = np.array([[10 * i, 0, 10 * (i + 1), 10] for i in range(4)], np.float32)
    salience = np.array([0.9, 0.9, 0.9, 0.9], np.float32)
    shown = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    assert [r.bbox for r in peaks(salience, boxes)] == [(0, 0, 40, 10)]
    apart = grow(salience, boxes, shown, 0.3)
    assert sorted(r.bbox for r in apart) == [(0, 0, 20, 10), (20, 0, 20, 10)]


def test_a_splinter_joins_the_region_that_it_touches():
    boxes = np.array([[10 * i, 0, 10 * (i + 1), 10] for i in range(3)], np.float32)
    salience = np.array([0.9, 0.9, 0.6], np.float32)
    shown = np.array([[1.0, 0], [1, 0.1], [0, 1]], np.float32)
    (only,) = grow(salience, boxes, shown, 0.3)
    assert only.bbox == (0, 0, 30, 10)
    first, second = grow(salience, boxes, shown, 0.3, least=0.5)
    assert (first.bbox, second.bbox) == ((0, 0, 20, 10), (20, 0, 10, 10))
    assert len(grow(np.array([0.0, 0.0, 0.6], np.float32), boxes, shown, 0.3)) == 1


def test_a_token_between_two_subjects_goes_to_the_one_that_it_is_most_like():
    """The seed's likeness alone would give the middle one to the left, which grows first."""
    boxes = np.array([[10 * i, 0, 10 * (i + 1), 10] for i in range(5)], np.float32)
    shown = np.array([[1.0, 0], [1, 0], [0.5, 0.6], [0, 1], [0, 1]], np.float32)
    salience = np.array([0.9, 0.9, 0.8, 0.7, 0.7], np.float32)
    left, right = grow(salience, boxes, shown, -1.0)[:1], grow(salience, boxes, shown, 0.3)
    assert left[0].bbox == (0, 0, 50, 10), "without likeness there is one"
    assert [region.bbox for region in right] == [(20, 0, 30, 10), (0, 0, 20, 10)]


def test_a_dim_map_grows_from_half_of_its_maximum_and_a_dark_one_not_at_all():
    boxes = np.array([[10 * i, 0, 10 * (i + 1), 10] for i in range(3)], np.float32)
    shown = np.array([[1.0, 0], [1, 0.1], [0, 1]], np.float32)
    (found,) = grow(np.array([0.2, 0.15, 0.05], np.float32), boxes, shown, 0.3)
    assert found.bbox == (0, 0, 20, 10)
    assert grow(np.array([0.09, 0.05, 0.0], np.float32), boxes, shown, 0.3) == ()


def test_grown_regions_share_no_token_and_are_at_most_so_many():
    rng = np.random.default_rng(0)
    boxes = np.array(
        [[10 * (i % 7), 10 * (i // 7), 10 * (i % 7 + 1), 10 * (i // 7 + 1)] for i in range(49)], np.float32
    )
    found = grow(
        rng.random(49).astype(np.float32), boxes, rng.normal(size=(49, 4)).astype(np.float32), 0.5, most=3
    )
    assert 0 < len(found) <= 3
    assert (np.stack([region.weights > 0 for region in found]).sum(0) <= 1).all()
    totals = [float(region.weights.sum()) for region in found]
    assert totals == sorted(totals, reverse=True)


def test_a_token_without_a_place_belongs_to_nothing():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 0, 0], [10, 0, 20, 10]], np.float32)
    (found,) = grow(np.array([0.5, 1.0, 0.5], np.float32), boxes, np.eye(3, dtype=np.float32), -0.9)
    assert found.weights.tolist() == [0.5, 0.0, 0.5]


def test_coverage_is_the_share_of_each_token_inside_the_box():
    boxes = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [5, 5, 5, 9]], np.float32)
    assert coverage(boxes, (5, 0, 10, 20)).tolist() == [0.5, 0.5, 0.5, 0]
    assert coverage(boxes, (0, 0, 10, 2.5)).tolist() == [0.25, 0, 0, 0]
    assert coverage(boxes, (-9, -9, 5, 5)).tolist() == [0, 0, 0, 0]
