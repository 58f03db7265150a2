"""What an index holds of an image besides its vector, by hand: subjects, ordered pairs of the first, and the ground."""

from __future__ import annotations

import numpy as np
import torch

from ssa_me.composition import RELATED
from ssa_me.explanation import Region
from ssa_me.outputs import VisualBatch
from ssa_me.passes import MOST_SUBJECTS, found_regions, things_of
from ssa_me.salience.regions import TokenRegion

SIZE = (100, 80)


def region(x: float, y: float, width: float, height: float, salience: float) -> TokenRegion:
    return TokenRegion(np.zeros(4, np.float32), (x, y, width, height), salience)


def test_the_things_of_an_image_by_hand():
    left, right, low = region(0, 10, 20, 30, 0.8), region(60, 0, 30, 20, 0.6), region(10, 50, 10, 30, 0.4)
    small, last = region(90, 70, 10, 10, 0.2), region(50, 70, 10, 10, 0.1)
    found = things_of([left, right, low, small, last], SIZE)
    singles = [Region(one.bbox, one.salience) for one in (left, right, low, small, last)]
    assert list(found[:5]) == singles and all(one.single for one in singles)
    # around left and right, low, small; right and left, low, small; low and …; small and …; never the fifth
    boxes = [one.bbox for one in found[5:-1]]
    both, down, all_of = (0, 0, 90, 40), (0, 10, 20, 70), (0, 10, 100, 70)
    across, beside, under = (10, 0, 80, 80), (60, 0, 40, 80), (10, 50, 90, 30)
    assert RELATED == 4
    assert boxes[:6] == [both, down, all_of, both, across, beside]
    assert boxes[6:] == [down, across, under, all_of, beside, under]
    saliences = [one.salience for one in found[5:-1]]
    np.testing.assert_allclose(saliences[:6], [0.7, 0.6, 0.5, 0.7, 0.5, 0.4])
    np.testing.assert_allclose(saliences[6:], [0.6, 0.5, 0.3, 0.5, 0.4, 0.3])
    assert found[-1] == Region((0, 0, 100, 80), 0.0, single=False)
    assert not any(one.single for one in found[5:])


def test_one_subject_stands_in_no_relation_and_none_leaves_no_ground():
    one = region(0, 10, 20, 30, 0.8)
    assert things_of([one], SIZE) == (
        Region((0, 10, 20, 30), 0.8),
        Region((0, 0, 100, 80), 0.0, single=False),
    )
    assert things_of([], SIZE) == ()


def visual(tokens: np.ndarray) -> VisualBatch:
    """One image of 1 × N tokens of 10 × 10 pixels."""
    count = len(tokens)
    boxes = np.array([[10 * n, 0, 10 * n + 10, 10] for n in range(count)], np.float32)[None]
    return VisualBatch(
        tokens=torch.from_numpy(tokens)[None],
        valid=torch.ones(1, count, dtype=torch.bool),
        deep=(),
        grid=torch.tensor([[1, 1, count]]),
        boxes=boxes,
        sizes=((10 * count, 10),),
    )


def test_subjects_on_one_plateau_are_told_apart_by_what_tokens_show_where_that_is_asked_for():
    tokens = np.zeros((6, 2), np.float32)
    tokens[:, 0] = [1, 1, 1, -1, -1, -1]
    salience = torch.full((1, 6), 0.8)
    (alike,) = found_regions(salience, visual(tokens), -1.0, [False]).regions
    assert [one.bbox for one in alike] == [(0, 0, 60, 10)]
    (apart,) = found_regions(salience, visual(tokens), 0.4, [False]).regions
    assert sorted(one.bbox for one in apart) == [(0, 0, 30, 10), (30, 0, 30, 10)]
    stripes = np.repeat(np.eye(8, dtype=np.float32), 2, axis=0)
    (many,) = found_regions(torch.full((1, 16), 0.8), visual(stripes), 0.4, [False]).regions
    assert len(many) == MOST_SUBJECTS == 6
