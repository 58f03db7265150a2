"""Each variant changes in the recipe what it says, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ssa_me.ablation.variants import EQUAL_TIME, FULL, PLAIN, VARIANTS, longer, of_steps
from ssa_me.training.recipe import Lora, Recipe, load_recipe

NO_REGIONS = {
    "objectives.attention": 0.0,
    "objectives.subject": 0.0,
    "objectives.misalignment": 0.0,
    "objectives.head": 0.0,
    "salience.steps": 0,
    "composition.steps": 0,
}
CHANGES: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "baseline, phrases as texts": {"adapters.named": 0.5},
    EQUAL_TIME: {},  # its steps come from the measured time
    FULL: {},
    "no salience": {
        "regeneration.floor": 1.0,
        "regeneration.enhance": False,
        "composition.steps": 0,
        "trust.steps": 0,
        "objectives.head": 0.0,
        "salience.steps": 0,
    },
    "implicit salience": {"regeneration.implicit": True, "regeneration.free_floor": 0.1} | NO_REGIONS,
    "without the head's own stage": {"salience.steps": 0},
    "without L_attn": {"objectives.attention": 0.0},
    "without L_subject": {"objectives.subject": 0.0},
    "without L_mis": {"objectives.misalignment": 0.0},
    "without suppression": {"regeneration.floor": 1.0},
    "suppression unasked": {"regeneration.free_floor": 0.1},
    "without enhancement": {"regeneration.enhance": False},
    "without codes": {"composition.steps": 0},
    "without composition": {"composition.steps": 0, "trust.steps": 0},
    "training-free": {},
}


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """`section.key` → value."""
    found = {}
    for key, value in dataclasses.asdict(recipe).items():
        inner = value if isinstance(value, dict) else {"": value}
        found |= {f"{key}.{name}".rstrip("."): one for name, one in inner.items()}
    return found


def test_every_variant_is_told_here():
    assert [variant.name for variant in VARIANTS] == list(CHANGES)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_changes_what_it_says_and_nothing_else(variant):
    before = load_recipe("mini")
    old, new = settings_of(before), settings_of(variant.change(before))
    assert {key: value for key, value in new.items() if value != old[key]} == CHANGES[variant.name]


def test_the_recipe_of_the_mini_model_has_on_what_variants_turn_off():
    settings = settings_of(load_recipe("mini"))
    for changes in CHANGES.values():
        assert all(settings[key] != value for key, value in changes.items())


@pytest.mark.parametrize(("factor", "steps"), [(1.36, 136), (0.001, 1)])
def test_a_longer_run_has_as_many_steps_as_take_the_time(factor, steps):
    recipe = Recipe("any", adapters=Lora(steps=100))
    assert longer(factor)(recipe) == of_steps(recipe, steps) == Recipe("any", adapters=Lora(steps=steps))
