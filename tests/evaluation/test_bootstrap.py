import time

import numpy as np
import pytest

from ssa_me.evaluation.bootstrap import estimate, interval, mean_draws


def test_draws_take_whole_clusters():
    # Clusters a (0, 0) and b (1): a draw of two clusters is aa, ab, ba or bb, so its mean is 0, 1/3, 1/3 or 1.
    draws = mean_draws(np.array([0.0, 0.0, 1.0]), ["a", "a", "b"], draws=4000, seed=3)
    found, counts = np.unique(draws.round(6), return_counts=True)
    assert found.tolist() == [0.0, 0.333333, 1.0]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_estimate_of_a_known_distribution():
    values = np.tile([0.0, 1.0], 200)
    result = estimate(values, list(range(400)), seed=0)
    assert result.value == 0.5
    # Standard error sqrt(.25 / 400) = .025, so the interval is about .5 -+ 1.96 * .025.
    assert result.interval == pytest.approx((0.451, 0.549), abs=0.005)


def test_clusters_widen_the_interval():
    values = np.repeat(np.tile([0.0, 1.0], 20), 10)
    alone = estimate(values, list(range(400))).interval
    together = estimate(values, np.repeat(np.arange(40), 10).tolist()).interval
    assert together[1] - together[0] > 2.5 * (alone[1] - alone[0])  # sqrt(10) in theory


def test_same_seed_same_interval_other_seed_another():
    values = np.random.default_rng(1).random(50)
    clusters = [f"image {i // 2}" for i in range(50)]
    assert estimate(values, clusters, seed=5) == estimate(values, clusters, seed=5)
    assert estimate(values, clusters, seed=5) != estimate(values, clusters, seed=6)


def test_undefined_values_are_left_out():
    result = estimate(np.array([np.nan, 2.0, 4.0]), ["a", "b", "b"])
    assert (result.value, result.interval) == (3.0, (3.0, 3.0))
    assert estimate(np.array([np.nan]), ["a"]) is None
    assert estimate(np.array([]), []) is None


def test_values_and_clusters_must_pair():
    with pytest.raises(ValueError, match="2 values and 1 clusters"):
        mean_draws(np.array([1.0, 2.0]), ["a"])


def test_interval_is_the_central_95_percent():
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


def test_large_input_is_fast_enough():
    start = time.perf_counter()
    mean_draws(np.ones(20_000), list(range(5_000)) * 4)
    assert time.perf_counter() - start < 5
