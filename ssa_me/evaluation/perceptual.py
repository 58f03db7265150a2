"""Modality neglect: does a joint embedding of image and text follow both of them?

The measures take scores and say nothing of where they are from. A query is an image with a text, `scores` `(Q, C)` those
of its candidates, column 0 the right one; `roles` `(Q, C)` say what each wrong one ignores (`ssa_me.scenes.neglect`).
Ties are misses. All intervals are bootstrap intervals clustered by group, and differences between models are paired.

The perceptual score of a modality is (accuracy - accuracy with that modality permuted across queries) / accuracy: Gat,
Schwartz and Schwing, "Perceptual Score: What Data Modalities Does Your Model Perceive?", 2021 (arXiv 2110.14375), with
the model's own accuracy as the normaliser. 1: nothing is left without the modality; 0: it is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ssa_me.evaluation.bootstrap import Estimate, interval, mean_draws
from ssa_me.evaluation.retrieval import TIE

RIGHT, IMAGE, TEXT, NEITHER = "right", "image", "text", "neither"
"""Roles of candidates. `image`: right for this text with another image; `text`: right for this image with another text."""

IMBALANCE = "imbalance"
_ERRORS = {IMAGE: "ignores_image", TEXT: "ignores_text", NEITHER: "neither"}


@dataclass(frozen=True)
class Outcomes:
    """Values per query `(Q,)`: hits among all candidates, hits against one role alone, and what a miss took.

    An error is shared among the wrong candidates that tie for the best; for a hit all its shares are 0.
    """

    hit: np.ndarray
    hit_image: np.ndarray
    hit_text: np.ndarray
    errors: dict[str, np.ndarray]


def outcomes(scores: np.ndarray, roles: np.ndarray) -> Outcomes:
    """What a model chose: `scores` `(Q, C)`, `roles` `(Q, C)` of strings, `right` in column 0 and nowhere else."""
    right = scores[:, :1]

    def beats(which: np.ndarray) -> np.ndarray:
        best = np.where(which, scores, -np.inf).max(axis=1, keepdims=True)
        return ((right - best) > TIE)[:, 0].astype(np.float64)

    wrong = roles != RIGHT
    hit = beats(wrong)
    masked = np.where(wrong, scores, -np.inf)
    taken = wrong & (masked >= masked.max(axis=1, keepdims=True) - TIE)
    share = taken / taken.sum(axis=1, keepdims=True) * (1 - hit)[:, None]
    errors = {name: np.where(roles == role, share, 0).sum(axis=1) for role, name in _ERRORS.items()}
    return Outcomes(hit, beats(roles == IMAGE), beats(roles == TEXT), errors)


@dataclass(frozen=True)
class Statistic:
    """A value with its bootstrap draws `(D,)`; draws of two models are of the same clusters, so they may be subtracted."""

    value: float
    draws: np.ndarray

    def minus(self, other: Statistic) -> Statistic:
        return Statistic(self.value - other.value, self.draws - other.draws)

    def estimate(self) -> Estimate | None:
        """With its interval; None where the value is undefined. Undefined draws are left out of the interval."""
        kept = self.draws[np.isfinite(self.draws)]
        if not np.isfinite(self.value) or len(kept) == 0:
            return None
        return Estimate(self.value, interval(kept))


@dataclass(frozen=True)
class Measured:
    """One model: its outcomes, hits `(Q,)` with the image or the text permuted, and attention on the image `(Q,)`."""

    outcomes: Outcomes
    without_image: np.ndarray
    without_text: np.ndarray
    attention: np.ndarray


def statistics(measured: Measured, groups: Sequence[int], seed: int = 0) -> dict[str, Statistic]:
    """All measures of one model by name; `groups[i]` is the cluster of query i."""

    def mean(values: np.ndarray) -> Statistic:
        return Statistic(float(values.mean()), mean_draws(values, groups, seed=seed))

    found = measured.outcomes
    hit = mean(found.hit)
    missed = mean(1 - found.hit)
    score_image = _combined(_perceptual, hit, mean(measured.without_image))
    score_text = _combined(_perceptual, hit, mean(measured.without_text))
    return {
        "hit@1": hit,
        "hit@1_image": mean(found.hit_image),
        "hit@1_text": mean(found.hit_text),
        **{f"errors.{name}": _combined(_ratio, mean(v), missed) for name, v in found.errors.items()},
        "perceptual_score.image": score_image,
        "perceptual_score.text": score_text,
        "balance": score_image.minus(score_text),
        IMBALANCE: _combined(lambda a, b: np.abs(a - b), score_image, score_text),
        "image_share": _combined(share, score_image, score_text),
        "attention_on_image": mean(measured.attention),
    }


def _combined(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray], a: Statistic, b: Statistic
) -> Statistic:
    return Statistic(float(function(np.array(a.value), np.array(b.value))), function(a.draws, b.draws))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is not positive."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _perceptual(accuracy: np.ndarray, permuted: np.ndarray) -> np.ndarray:
    return _ratio(accuracy - permuted, accuracy)


def share(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """The image's part of both perceptual scores; a negative score counts as 0."""
    image, text = np.clip(image, 0, None), np.clip(text, 0, None)
    return _ratio(image, image + text)


def permuted(groups: Sequence[int], seed: int) -> np.ndarray:
    """For each query another one `(Q,)`, each taken once, never of the same group, where no group holds more than half.

    Queries are put in order of shuffled groups and moved along by the size of the largest group. Raises ValueError where
    one group holds more than half of them.
    """
    names, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    largest = int(counts.max())
    if 2 * largest > len(inverse):
        raise ValueError(f"one group holds {largest} of {len(inverse)} queries")
    rng = np.random.default_rng([seed, 77])
    place = rng.permutation(len(names))[inverse]
    order = np.lexsort((rng.permutation(len(inverse)), place))
    result = np.empty(len(inverse), dtype=int)
    result[order] = np.roll(order, -largest)
    return result
