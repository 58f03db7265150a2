"""Measures and verdicts with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssa_me.attribution import measures
from ssa_me.attribution.captum_runs import KeptSets
from ssa_me.attribution.measures import FORMULAS, Check, Curve, verdict

WORTH = np.array([4.0, 1.0, 3.0, 2.0])


def score() -> KeptSets:
    return KeptSets(lambda kept: (kept @ WORTH).tolist())


def test_curves_of_a_sum():
    """Removing 4, 3, 2, 1 in turn leaves 10, 6, 3, 1, 0 at 0, ¼, ½, ¾, 1: the mean is 3.75; the other way round 6.25."""
    order = measures.falling(WORTH)
    assert order.tolist() == [0, 2, 3, 1]
    removed = measures.deletion(score(), order, steps=4)
    assert removed.fractions == (0, 0.25, 0.5, 0.75, 1) and removed.scores == (10, 6, 3, 1, 0)
    assert removed.auc == pytest.approx((5 + 6 + 3 + 1 + 0) / 4)
    inserted = measures.insertion(score(), order, steps=4)
    assert inserted.fractions == removed.fractions and inserted.scores == (0, 4, 7, 9, 10)
    assert inserted.auc == pytest.approx(6.25)


def test_steps_are_no_more_than_cells():
    assert measures.cut_points(3, 10) == [0, 1, 2, 3]
    assert measures.cut_points(1, 10) == [0, 1]
    assert measures.cut_points(100, 4) == [0, 25, 50, 75, 100]


def test_infidelity_of_the_truth_is_zero_and_of_zeros_one():
    error, ratio = measures.infidelity(score(), WORTH, 40, 0)
    assert error == pytest.approx(0) and ratio == pytest.approx(0)
    error, ratio = measures.infidelity(score(), np.zeros(4), 40, 0)
    assert error > 1 and ratio == pytest.approx(1)
    error, ratio = measures.infidelity(score(), -WORTH, 40, 0)
    assert ratio == pytest.approx(4), "twice as far off as saying nothing, squared"
    _, ratio = measures.infidelity(score(), 100 * WORTH, 40, 0, scaled=True)
    assert ratio == pytest.approx(0, abs=1e-6)
    assert measures.infidelity(KeptSets(lambda kept: [1.0] * len(kept)), WORTH, 8, 0)[1] is None


def test_infidelity_by_hand():
    """One set: cells 0 and 3 are gone, F falls by 6; a map that gives them 1 and 2 is off by 3."""
    rng = np.random.default_rng(0)
    removed = rng.random((1, 4)) < rng.uniform(0.1, 0.9, (1, 1))
    error, _ = measures.infidelity(score(), np.array([1.0, 1.0, 1.0, 2.0]), 1, 0)
    assert error == pytest.approx(float((removed[0] @ (np.array([1.0, 1.0, 1.0, 2.0]) - WORTH)) ** 2))


def test_rank_correlation_by_hand():
    """Ranks 1, 2.5, 2.5, 4 and 4, 2.5, 2.5, 1."""
    assert measures.rank_correlation(np.array([1.0, 5, 5, 9]), np.array([7.0, 2, 2, -3])) == pytest.approx(-1)
    assert measures.rank_correlation(np.array([1.0, 2, 3]), np.array([1.0, 100, 101])) == pytest.approx(1)
    assert measures.rank_correlation(np.ones(3), np.arange(3.0)) is None
    assert measures.rank_correlation(np.ones(1), np.ones(1)) is None


@pytest.mark.parametrize(("value", "mark"), [(0.0, "good"), (0.05, "good"), (0.1, "fair"), (0.5, "poor")])
def test_convergence_is_marked(value, mark):
    check = measures.convergence_check(value)
    assert check.mark == mark and f"{value:.1%}" in check.reason


@pytest.mark.parametrize(
    ("name", "auc", "mark", "how"),
    [
        ("deletion_auc", 0.3, "good", "lowers the score sooner"),
        ("deletion_auc", 0.45, "fair", "about as soon"),
        ("deletion_auc", 0.6, "poor", "later than a random order: AUC 0.600 against 0.500"),
        ("insertion_auc", 0.7, "good", "raises the score sooner"),
        ("insertion_auc", 0.4, "poor", "later"),
    ],
)
def test_curves_are_held_against_a_random_order(name, auc, mark, how):
    check = measures.curve_check(name, auc, 0.5, span=1.0)
    assert check.mark == mark and how in check.reason


@pytest.mark.parametrize(("ratio", "mark"), [(0.2, "good"), (0.9, "fair"), (1.4, "poor")])
def test_infidelity_is_marked(ratio, mark):
    assert measures.infidelity_check(ratio).mark == mark


def marks(**given: str) -> list[Check]:
    return [Check(name, mark, f"{name} is {mark}") for name, mark in given.items()]


@pytest.mark.parametrize(
    ("checks", "level", "reason"),
    [
        ([], "undefined", "could be checked"),
        (marks(convergence="good", deletion_auc="good"), "high", "good"),
        (marks(convergence="good", deletion_auc="fair"), "medium", "deletion_auc is fair"),
        (
            marks(convergence="good", deletion_auc="poor", insertion_auc="fair"),
            "medium",
            "deletion_auc is poor",
        ),
        (marks(deletion_auc="poor", insertion_auc="poor"), "low", "deletion_auc is poor"),
        (marks(convergence="poor", deletion_auc="good"), "low", "convergence is poor"),
    ],
)
def test_the_verdict_gives_its_reason(checks, level, reason):
    found = verdict(checks)
    assert found.level == level and reason in found.reason


def test_every_check_has_a_formula():
    names = {
        measures.convergence_check(0).name,
        measures.infidelity_check(0).name,
        measures.curve_check("deletion_auc", 0, 0, 1).name,
        measures.curve_check("insertion_auc", 0, 0, 1).name,
    }
    assert names <= set(FORMULAS) and all(text for text in FORMULAS.values())


def test_a_curve_of_two_points():
    assert Curve((0.0, 1.0), (1.0, 0.0)).auc == 0.5
    assert torch.is_tensor(score()(torch.ones(1, 4)))
