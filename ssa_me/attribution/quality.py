"""`assess`: how far an attribution of an image can be trusted, by what the model does when parts of the image go.

Every changed image is read anew, with its own salience and regions, whatever the attribution held fixed. The measures
themselves are in `measures.py`; what is on the map's words is judged by its convergence alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ssa_me.attribution import measures
from ssa_me.attribution.absence import absent, cell_labels
from ssa_me.attribution.captum_runs import KeptSets
from ssa_me.attribution.measures import Check, Curve, Verdict
from ssa_me.attribution.result import Attribution
from ssa_me.attribution.scores import ImageScores
from ssa_me.attribution.settings import METHODS, weights_of
from ssa_me.attribution.watching import Progress, Watch
from ssa_me.errors import InputError
from ssa_me.evaluation.localisation import score_region

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

STEPS, ORDERS, SAMPLES = 10, 3, 24
FILL = "blur"
"""What removed cells show in deletion and insertion: it takes a thing away and puts no edge in its place."""


@dataclass(frozen=True)
class Quality:
    """The numbers beside a map; None where one is undefined, for a reason that `notes` give.

    convergence: of the image's contributions; words_convergence: of the text's. deletion, insertion: curves of F. random:
    the mean curve of removal in random orders. infidelity, and its ratio to that of a map of zeros. pointing_game, energy:
    of the map in the region that was given.
    """

    convergence: float | None
    words_convergence: float | None
    deletion: Curve | None
    insertion: Curve | None
    random: Curve | None
    infidelity: float | None
    infidelity_ratio: float | None
    pointing_game: float | None
    energy: float | None
    verdict: Verdict
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "convergence": self.convergence,
            "words_convergence": self.words_convergence,
            "deletion_auc": None if self.deletion is None else self.deletion.auc,
            "insertion_auc": None if self.insertion is None else self.insertion.auc,
            "random_auc": None if self.random is None else self.random.auc,
            "infidelity": self.infidelity,
            "infidelity_ratio": self.infidelity_ratio,
            "pointing_game": self.pointing_game,
            "energy_pointing_game": self.energy,
            "curves": {
                name: _curve_json(curve)
                for name, curve in (
                    ("deletion", self.deletion),
                    ("insertion", self.insertion),
                    ("random", self.random),
                )
                if curve is not None
            },
            "verdict": {
                "level": self.verdict.level,
                "reason": self.verdict.reason,
                "checks": [
                    {"name": check.name, "mark": check.mark, "reason": check.reason}
                    for check in self.verdict.checks
                ],
            },
            "notes": list(self.notes),
        }


def _curve_json(curve: Curve) -> Mapping[str, list[float]]:
    return {"fractions": list(curve.fractions), "scores": list(curve.scores)}


def assess(
    embedder: SalientEmbedder,
    image: Image.Image,
    attribution: Attribution,
    *,
    region: np.ndarray | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Quality:
    """Measure an attribution that was made of this very `image`.

    region (H, W) bool in pixels of the image: where the subject is, if that is known; a mask without a pixel has no
    pointing game. Raises InputError where image or region do not belong to the attribution, Cancelled where stopped.
    """
    if image.size != attribution.image_size:
        raise InputError("This attribution is of another image: attribute the image first.")
    if region is not None and region.shape != (image.height, image.width):
        raise InputError(
            f"The region is {region.shape[1]} × {region.shape[0]} pixels, the image {image.width} × {image.height}."
        )
    notes: list[str] = []
    pointing, energy = _pointing(attribution, region, notes)
    balance, words = attribution.image, attribution.words_balance
    if attribution.constant:
        reason = "The map is the same everywhere, so that there is nothing to check."
        unsure = Verdict("undefined", reason)
        return Quality(
            balance.convergence,
            words.convergence,
            None,
            None,
            None,
            None,
            None,
            pointing,
            energy,
            unsure,
            (*notes, reason),
        )
    watch = Watch(STEPS * (2 + ORDERS) + SAMPLES, progress, cancelled)
    settings = attribution.settings
    weights = weights_of(attribution.method, attribution.target, attribution.version)
    scores = ImageScores(embedder.exact, image, attribution.text, weights, watch)
    labels = cell_labels(*scores.tokens, scores.pixels.shape[:2])
    blurred = KeptSets(scores.of_kept(labels, absent(scores.pixels, FILL, settings.seed)))
    order = measures.falling(attribution.values)
    removed = measures.deletion(blurred, order, STEPS)
    inserted = measures.insertion(blurred, order, STEPS)
    random = _random_curve(blurred, len(order), settings.seed)
    own = blurred
    if settings.baseline != FILL:
        own = KeptSets(scores.of_kept(labels, absent(scores.pixels, settings.baseline, settings.seed)))
    method, error, ratio = METHODS[attribution.method], None, None
    if method.signed:
        error, ratio = measures.infidelity(
            own, attribution.values, SAMPLES, settings.seed, scaled=not method.complete
        )
    else:
        notes.append("Infidelity asks for contributions with a sign, which this method has not.")
    checks = _checks(balance.convergence, removed, inserted, random, ratio)
    watch.finish()
    return Quality(
        balance.convergence,
        words.convergence,
        removed,
        inserted,
        random,
        error,
        ratio,
        pointing,
        energy,
        measures.verdict(checks),
        tuple(notes),
    )


def _pointing(
    attribution: Attribution, region: np.ndarray | None, notes: list[str]
) -> tuple[float | None, float | None]:
    if region is None:
        return None, None
    if not region.any():
        notes.append("The region holds no pixel, so that nothing can lie in it.")
        return None, None
    found = score_region(attribution.values, attribution.boxes, region.astype(bool))
    if not found.defined:
        notes.append("A map that is the same everywhere points nowhere.")
    pointing, energy = found.pointing_game, found.energy_pointing_game
    return None if np.isnan(pointing) else pointing, None if np.isnan(energy) else energy


def _random_curve(score: KeptSets, cells: int, seed: int) -> Curve:
    rng = np.random.default_rng(seed)
    curves = [measures.deletion(score, rng.permutation(cells), STEPS) for _ in range(ORDERS)]
    mean = np.mean([curve.scores for curve in curves], axis=0)
    return Curve(curves[0].fractions, tuple(float(value) for value in mean))


def _checks(
    convergence: float | None, removed: Curve, inserted: Curve, random: Curve, ratio: float | None
) -> list[Check]:
    checks = [] if convergence is None else [measures.convergence_check(convergence)]
    span = float(np.ptp([*removed.scores, *inserted.scores, *random.scores]))
    if span > 1e-6:
        checks.append(measures.curve_check("deletion_auc", removed.auc, random.auc, span))
        checks.append(measures.curve_check("insertion_auc", inserted.auc, random.auc, span))
    if ratio is not None:
        checks.append(measures.infidelity_check(ratio))
    return checks
