"""A run of training as a form asks for it: checked, within quotas, and the recipe that it comes to. It starts nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.datasets import DataSet
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.shelf import ModelVersion
    from ssa_me.training.recipe import Recipe

RECIPES = ("fast", "balanced", "full")
WEIGHTS = ("attention", "subject", "misalignment", "head")
_ADJUSTED = {"steps": int, "batch": int, "chunks": int} | dict.fromkeys(WEIGHTS, float)


@dataclass(frozen=True)
class Quotas:
    """What one run may ask for, and how many may wait."""

    steps: int = 20_000
    batch: int = 2_048
    waiting: int = 10


@dataclass(frozen=True)
class Plan:
    """A run that is asked for, checked: its data, recipe as adjusted, and the version that it starts from."""

    data: DataSet
    recipe: Recipe
    start: ModelVersion
    name: str


def adjusted(recipe: Recipe, sent: Mapping[str, Any], quotas: Quotas) -> Recipe:
    """The recipe with the steps, batch and weights that a form asks for, within the quotas."""
    wanted: dict[str, Any] = {}
    for key, kind in _ADJUSTED.items():
        if sent.get(key) in (None, ""):
            continue
        try:
            number = float(sent[key])
            value = kind(number)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{key} is {str(sent[key])[:20]!r}; give a number.") from None
        if value != number or not 0 <= number < float("inf"):
            raise InputError(
                f"{key} is {number:g}; give a {'whole ' if kind is int else ''}number of 0 or more."
            )
        wanted[key] = value
    steps, batch = wanted.get("steps", recipe.adapters.steps), wanted.get("batch", recipe.adapters.batch)
    if not 1 <= steps <= quotas.steps:
        raise InputError(f"Give between 1 and {quotas.steps:,} steps, not {steps:,}.")
    if not 2 <= batch <= quotas.batch:
        raise InputError(f"Give a batch between 2 and {quotas.batch:,} images, not {batch:,}.")
    chunks = wanted.get("chunks", recipe.adapters.chunks)
    if not 1 <= chunks <= batch:
        raise InputError(f"A batch of {batch} is cut into 1 to {batch} chunks, not {chunks}.")
    given = {"steps": steps, "batch": batch, "chunks": chunks}
    lora = dataclasses.replace(recipe.adapters, warmup=min(recipe.adapters.warmup, steps // 10 + 1), **given)
    base = recipe.base if not recipe.base.steps else dataclasses.replace(recipe.base, **given)
    every = max(1, min(recipe.held_out.every, steps // 5 or 1))
    return dataclasses.replace(
        recipe,
        adapters=lora,
        base=base,
        save_every=max(1, min(recipe.save_every, steps // 4 or 1)),
        objectives=dataclasses.replace(
            recipe.objectives, **{k: v for k, v in wanted.items() if k in WEIGHTS}
        ),
        held_out=dataclasses.replace(recipe.held_out, every=every),
    )
