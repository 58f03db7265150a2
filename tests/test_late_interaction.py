"""Late interaction by hand: each statement takes the nearest row, and their mean is mixed with the image's own cosine."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.late_interaction import SUBJECT_SHARE, agreement, agreements, mix, mixed

ROWS = np.array([[1.0, 0.0], [0.6, 0.8]])
STATED = np.array([[1.0, 0.0], [0.0, 1.0]])


def test_each_statement_takes_the_nearest_row():
    assert agreement(ROWS, STATED) == pytest.approx((1.0 + 0.8) / 2)
    assert agreement(ROWS[:1], STATED) == pytest.approx(0.5)


def test_images_without_rows_have_no_agreement():
    found = agreements([ROWS, ROWS[:0], ROWS[1:]], STATED)
    assert found[[0, 2]] == pytest.approx([0.9, 0.7]) and np.isnan(found[1])
    assert np.isnan(agreements([ROWS[:0]], STATED)).all()


def test_an_image_without_subjects_counts_by_itself():
    assert mix(0.5, 1.0) == pytest.approx(0.5 * (1 - SUBJECT_SHARE) + SUBJECT_SHARE)
    found = mixed(np.array([0.5, 0.4]), np.array([1.0, np.nan]))
    assert found == pytest.approx([mix(0.5, 1.0), 0.4])
