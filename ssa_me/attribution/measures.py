"""Measures of how well a map says what a score depends on, and the verdict over them. Numbers in, numbers out.

A map is one value a cell, (N,). Scores of sets of kept cells come from outside; nothing here knows models or images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from captum.metrics import infidelity as captum_infidelity

from ssa_me.attribution.captum_runs import KeptSets

Level = Literal["high", "medium", "low", "undefined"]
Mark = Literal["good", "fair", "poor"]

FORMULAS: Mapping[str, str] = {
    "score": "F = cos(e(image), e(text)), or under the difference cos of SSA-ME − cos of the baseline",
    "contribution": "Σ of a cell's contributions; those of a complete method add up to F(input) − F(baseline)",
    "convergence": "|Σ contributions − (F(input) − F(baseline))| ÷ |F(input) − F(baseline)|; good up to 0.05, fair to 0.20",
    "deletion_auc": "mean F while cells are blurred in falling order of the map, in ten equal steps from none to all "
    "(trapezoid); lower is better; good where it lies below a random order by a tenth of the range of F",
    "insertion_auc": "mean F while cells appear on the blurred image in falling order of the map, in ten equal steps; "
    "higher is better; good where it lies above a random order by a tenth of the range of F",
    "random_auc": "the same mean for three random orders: what a map that knows nothing gets",
    "infidelity": "mean of (Σ_removed contributions − (F(image) − F(image without them)))² over random sets of cells; maps "
    "that do not promise to add up are first scaled to fit best",
    "infidelity_ratio": "infidelity ÷ that of a map of zeros; below 1 the map foretells more than nothing; "
    "good up to 0.5, fair up to 1",
    "pointing_game": "1 where the centre of the strongest cell lies in the region, else 0; the mean over ties",
    "energy_pointing_game": "Σ of the positive part inside the region ÷ Σ of the positive part",
    "sanity": "Spearman's ρ of |map| with the |map| of the same model with shuffled weights; a map that explains the model "
    "falls below 0.5 once all of them are",
}
"""What each number is, as text for tooltips. The thresholds are this project's."""

_GOOD_CONVERGENCE, _FAIR_CONVERGENCE = 0.05, 0.20
_GOOD_GAIN = 0.10
_GOOD_INFIDELITY = 0.5
_NOTHING = 1e-6


@dataclass(frozen=True)
class Curve:
    """F (S + 1,) after each `fractions` (S + 1,) of the cells was removed, or inserted, from 0 to 1."""

    fractions: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def auc(self) -> float:
        """The area under it, by trapezoids: the mean of F on the way."""
        return float(np.trapezoid(self.scores, self.fractions))


@dataclass(frozen=True)
class Check:
    """One measure's part in the verdict: its name in FORMULAS, its mark, and the reason with its numbers."""

    name: str
    mark: Mark
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Can the map be trusted? high: all checks are good. low: convergence is poor, or two checks are. medium: in between.
    undefined: nothing could be checked, for the `reason`."""

    level: Level
    reason: str
    checks: tuple[Check, ...] = ()


def cut_points(cells: int, steps: int) -> list[int]:
    """How many cells are gone after each of up to `steps` equal steps, from 0 to all."""
    return sorted({round(cells * s / steps) for s in range(steps + 1)})


def deletion_sets(order: np.ndarray, steps: int) -> np.ndarray:
    """(S + 1, N) bool: which cells are kept while they are removed in `order` (N,)."""
    rows = [np.ones(len(order), dtype=bool) for _ in cut_points(len(order), steps)]
    for row, cut in zip(rows, cut_points(len(order), steps), strict=True):
        row[order[:cut]] = False
    return np.stack(rows)


def curve(score: KeptSets, kept: np.ndarray) -> Curve:
    """F along sets of kept cells (S + 1, N), which differ from step to step by some cells."""
    changed = (kept != kept[0]).mean(1)
    return Curve(
        tuple(float(f) for f in changed), tuple(float(s) for s in score(torch.from_numpy(kept).double()))
    )


def deletion(score: KeptSets, order: np.ndarray, steps: int = 10) -> Curve:
    """RISE's deletion curve (Petsiuk et al., 2018, arXiv 1806.07421): cells removed in `order` (N,)."""
    return curve(score, deletion_sets(order, steps))


def insertion(score: KeptSets, order: np.ndarray, steps: int = 10) -> Curve:
    """RISE's insertion curve: cells of `order` (N,) put back, from none to all."""
    return curve(score, ~deletion_sets(order, steps))


def falling(values: np.ndarray) -> np.ndarray:
    """The order (N,) of cells by falling value; ties in the cells' own order."""
    return np.argsort(-values, kind="stable")


def infidelity(
    score: KeptSets, values: np.ndarray, samples: int, seed: int, scaled: bool = False
) -> tuple[float, float | None]:
    """Infidelity (Yeh et al., 2019, arXiv 1901.09392) of contributions (N,), by Captum, over random sets of removed cells
    whose share is itself random; and its ratio to that of a map of zeros, None where nothing changes the score.

    scaled: the map is first multiplied by the factor that fits best, where it promises no scale of its own.
    """
    rng = np.random.default_rng(seed)
    removed = rng.random((samples, len(values))) < rng.uniform(0.1, 0.9, (samples, 1))
    gone = torch.from_numpy(removed).double()

    def of(contributions: np.ndarray, fitted: bool) -> float:
        found = captum_infidelity(
            score,
            lambda inputs: (gone, inputs - gone),
            torch.ones(1, len(values), dtype=torch.float64),
            torch.from_numpy(contributions)[None],
            n_perturb_samples=samples,
            normalize=fitted,
        )
        return float(found[0])

    own = of(np.asarray(values, dtype=np.float64), scaled)
    nothing = of(np.zeros(len(values)), False)
    return own, own / nothing if nothing > _NOTHING**2 else None


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's ρ of two maps (N,), ties sharing their mean rank; None where one of them is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: np.ndarray = last - (counts - 1) / 2
    return mean[inverse]


# --- the verdict -----------------------------------------------------------------------------------------------------


def convergence_check(convergence: float) -> Check:
    """Do the contributions add up?"""
    mark = _mark(convergence <= _GOOD_CONVERGENCE, convergence <= _FAIR_CONVERGENCE)
    return Check("convergence", mark, f"Contributions miss the change of the score by {convergence:.1%}.")


def curve_check(name: str, auc: float, random: float, span: float) -> Check:
    """Does the score fall (deletion) or rise (insertion) sooner than by chance? span: the range of F on all curves."""
    gain = (random - auc if name == "deletion_auc" else auc - random) / span
    done = "Blurring" if name == "deletion_auc" else "Showing"
    moves = "lowers" if name == "deletion_auc" else "raises"
    how = "sooner than" if gain >= _GOOD_GAIN else "about as soon as" if gain >= 0 else "later than"
    return Check(
        name,
        _mark(gain >= _GOOD_GAIN, gain >= 0),
        f"{done} what it marks {moves} the score {how} a random order: AUC {auc:.3f} against {random:.3f}.",
    )


def infidelity_check(ratio: float) -> Check:
    """Do contributions foretell what taking cells away costs?"""
    how = (
        "well"
        if ratio <= _GOOD_INFIDELITY
        else "a little"
        if ratio <= 1
        else "worse than a map of zeros would"
    )
    return Check(
        "infidelity_ratio",
        _mark(ratio <= _GOOD_INFIDELITY, ratio <= 1),
        f"It foretells {how} what taking cells away does: {ratio:.2f} of the error of a map of zeros.",
    )


def verdict(checks: Sequence[Check]) -> Verdict:
    """The level over all checks; see Verdict."""
    if not checks:
        return Verdict("undefined", "Nothing about this map could be checked.")
    poor = [check for check in checks if check.mark == "poor"]
    if len(poor) > 1 or any(check.name == "convergence" for check in poor):
        return Verdict("low", poor[0].reason, tuple(checks))
    if all(check.mark == "good" for check in checks):
        return Verdict("high", "Every check is good.", tuple(checks))
    weakest = (poor or [check for check in checks if check.mark == "fair"])[0]
    return Verdict("medium", weakest.reason, tuple(checks))


def _mark(good: bool, fair: bool) -> Mark:
    return "good" if good else "fair" if fair else "poor"
