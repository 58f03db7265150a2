"""The variants of an ablation: each a name and a change of the recipe. They know nothing of how they are trained.

A variant differs from the whole method, or from the baseline, in one thing. Data, order, steps and seed stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from ssa_me.checkpoint import BASELINE, SSA_ME
from ssa_me.training.recipe import Recipe

FULL = "ssa-me"
PLAIN = "baseline"
EQUAL_TIME = "baseline, equal time"


@dataclass(frozen=True)
class Variant:
    """name: its row. says: what is different, in words. version: whose adapter is trained; None for none at all."""

    name: str
    says: str
    version: str | None
    change: Callable[[Recipe], Recipe] = lambda recipe: recipe


def _weigh(**weights: float) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, objectives=replace(recipe.objectives, **weights))


def _regenerate(**steps: Any) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, regeneration=replace(recipe.regeneration, **steps))


def _suppress_unasked(recipe: Recipe) -> Recipe:
    return _regenerate(free_floor=recipe.regeneration.floor)(recipe)


def _all(*changes: Callable[[Recipe], Recipe]) -> Callable[[Recipe], Recipe]:
    return lambda recipe: reduce(lambda changed, change: change(changed), changes, recipe)


def _name_phrases(recipe: Recipe) -> Recipe:
    return replace(recipe, adapters=replace(recipe.adapters, named=0.5))


def _code_nothing(recipe: Recipe) -> Recipe:
    return replace(recipe, composition=replace(recipe.composition, steps=0))


def _compose_nothing(recipe: Recipe) -> Recipe:
    return replace(_code_nothing(recipe), trust=replace(recipe.trust, steps=0))


def _find_nothing(recipe: Recipe) -> Recipe:
    return replace(recipe, salience=replace(recipe.salience, steps=0))


def of_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with `steps` steps of each adapter, at least one."""
    return replace(recipe, adapters=replace(recipe.adapters, steps=max(1, steps)))


def longer(factor: float) -> Callable[[Recipe], Recipe]:
    """As many steps as take `factor` times as long: what a dearer step would have bought."""
    return lambda recipe: of_steps(recipe, round(recipe.adapters.steps * factor))


_NO_SUPPRESSION = _regenerate(floor=1.0, free_floor=1.0)
_NO_HEAD = _all(_weigh(head=0.0), _find_nothing)
_NO_REGIONS = _all(_weigh(attention=0.0, subject=0.0, misalignment=0.0), _NO_HEAD, _code_nothing)

VARIANTS: tuple[Variant, ...] = (
    Variant(PLAIN, "L_nce alone", BASELINE),
    Variant(
        "baseline, phrases as texts",
        "phrases of subjects as further texts, no regions",
        BASELINE,
        _name_phrases,
    ),
    Variant(EQUAL_TIME, "as many steps as SSA-ME's time allows", BASELINE),
    Variant(FULL, "all objectives, all steps of regeneration", SSA_ME),
    Variant(
        "no salience",
        "no head, no regeneration, no subjects in the vector; L_attn, L_subject and L_mis stay",
        SSA_ME,
        _all(_regenerate(enhance=False), _NO_SUPPRESSION, _NO_HEAD, _compose_nothing),
    ),
    Variant(
        "implicit salience",
        "salience learns from L_nce alone, through the regeneration of every image; no region is ever seen",
        SSA_ME,
        _all(_regenerate(implicit=True), _suppress_unasked, _NO_REGIONS),
    ),
    Variant(
        "without the head's own stage", "salience learns beside the adapter alone", SSA_ME, _find_nothing
    ),
    Variant("without L_attn", "λ_a = 0", SSA_ME, _weigh(attention=0.0)),
    Variant("without L_subject", "λ_s = 0", SSA_ME, _weigh(subject=0.0)),
    Variant("without L_mis", "λ_m = 0", SSA_ME, _weigh(misalignment=0.0)),
    Variant("without suppression", "f = 1: tokens and attention stay as they are", SSA_ME, _NO_SUPPRESSION),
    Variant(
        "suppression unasked",
        "what is not salient is suppressed in every image, not only where a phrase is asked for",
        SSA_ME,
        _suppress_unasked,
    ),
    Variant(
        "without enhancement", "no cross-attention to aggregated subjects", SSA_ME, _regenerate(enhance=False)
    ),
    Variant(
        "without codes",
        "subjects in the one vector as they are read in their regions, no code, no relation",
        SSA_ME,
        _code_nothing,
    ),
    Variant("without composition", "no subjects in the one vector", SSA_ME, _compose_nothing),
    Variant("training-free", "no adapter: OpenCV's salience, suppression only", None),
)
"""In the order of the table. `EQUAL_TIME` gets its factor from the measured time of a step."""
