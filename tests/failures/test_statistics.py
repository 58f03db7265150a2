"""The exact test against values worked out by hand and against SciPy; the correction against the published example."""

import numpy as np
import pytest

from ssa_me.failures.statistics import adjusted, upper_tail


def test_by_hand():
    # 10 queries, 4 fail, 3 say "red". All three fail in C(4,3)·C(6,0) = 4 of C(10,3) = 120 ways, two in C(4,2)·C(6,1) = 36.
    p = upper_tail(np.array([3, 2, 1, 0]), np.array([3, 3, 3, 3]), 4, 10)
    assert p == pytest.approx([4 / 120, 40 / 120, 100 / 120, 1.0])


def test_what_cannot_be_otherwise_is_no_surprise():
    # 9 of 10 fail: of 3 queries at least 2 must.
    assert upper_tail(np.array([2, 3]), np.array([3, 3]), 9, 10) == pytest.approx([1.0, 84 / 120])
    assert upper_tail(np.array([0]), np.array([0]), 4, 10) == pytest.approx([1.0])


def test_like_scipy():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    total, marked = 5000, 700
    drawn = random.integers(1, 900, 60)
    hits = np.array([random.integers(0, min(n, marked) + 1) if n < 40 else int(n * 0.2) for n in drawn])
    expected = stats.hypergeom.sf(hits - 1, total, marked, drawn)
    assert upper_tail(hits, drawn, marked, total) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_correction_by_hand():
    # q = p·m/rank, made monotone from the largest p down: .01·4/1, .02·4/2, .03·4/3, .5·4/4
    assert adjusted(np.array([0.03, 0.01, 0.5, 0.02])) == pytest.approx([0.04, 0.04, 0.5, 0.04])
    # 15 p-values of Benjamini and Hochberg (1995), section 3.2: four are kept at 5 %
    p = np.array(
        [
            *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240),
            *(0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
        ]
    )
    assert int((adjusted(p) <= 0.05).sum()) == 4


def test_correction_like_scipy():
    stats = pytest.importorskip("scipy.stats")
    p = np.random.default_rng(1).random(50) ** 3
    assert adjusted(p) == pytest.approx(stats.false_discovery_control(p))
