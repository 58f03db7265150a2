"""Time and memory before a run, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from ssa_me.training.estimate import FLOPS, estimate
from ssa_me.training.recipe import Base, Composition, Lora, Recipe, Trust, load_recipe

NONE, BLIND = Composition(steps=0), Trust(steps=0)
RECIPE = Recipe("r", adapters=Lora(steps=100, batch=10), composition=NONE, trust=BLIND)


def test_by_measured_rates() -> None:
    found = estimate(RECIPE, 800, 10**6, "cpu", 2, rates={"baseline": 50.0, "ssa-me": 25.0})
    assert found.stages == {"baseline": 20.0, "ssa-me": 40.0} and found.measured
    assert found.seconds == pytest.approx(15 + 800 / 80 + 60)
    assert found.memory_gb is None


def test_by_the_models_size_as_a_guess() -> None:
    found = estimate(RECIPE, 0, 10**6, "cpu", 2, tokens=100)
    # 2 · 10⁶ weights · 100 tokens · 4 passes = 8e8 a sample
    assert found.stages["baseline"] == pytest.approx(1000 * 8e8 / (2 * FLOPS["cpu"]))
    assert found.stages["ssa-me"] == pytest.approx(1000 * 1.1e9 / (2 * FLOPS["cpu"])) and not found.measured
    assert estimate(RECIPE, 0, 10**6, "cuda:0", 2, tokens=100).seconds < found.seconds
    assert not estimate(RECIPE, 0, 10**6, "cpu", 2, rates={"baseline": 5.0}).measured


def test_a_new_backbone_and_the_larger_memory() -> None:
    recipe = Recipe(
        "r", base=Base(steps=10, batch=10), adapters=Lora(steps=1, batch=10), composition=NONE, trust=BLIND
    )
    memory = {"baseline": {"memory_gb": {"total": 1.25}}, "ssa-me": {"memory_gb": {"total": 2.5}}}
    found = estimate(recipe, 0, 10**6, "cpu", 1, rates={"base": 4.0}, memory=memory)
    assert found.stages["base"] == 25.0 and found.memory_gb == 2.5
    assert set(found.to_json()) == {"seconds", "stages", "measured", "memory_gb"}


def test_what_composes_subjects_is_ten_times_as_fast_as_the_adapter_or_as_it_was() -> None:
    recipe = dataclasses.replace(RECIPE, composition=Composition(steps=50, batch=20, scenes=400))
    recipe = dataclasses.replace(recipe, trust=Trust(steps=25, batch=20, scenes=80))
    rates = {"baseline": 50.0, "ssa-me": 25.0}
    found = estimate(recipe, 800, 10**6, "cpu", 2, rates=rates)
    assert found.stages["composition"] == 4.0 and found.stages["trust"] == 2.0
    assert found.seconds == pytest.approx(15 + 1280 / 80 + 66)
    again = estimate(recipe, 800, 10**6, "cpu", 2, rates=rates | {"composition": 500.0})
    assert again.stages["composition"] == 2.0


def test_every_stage_of_a_recipe_takes_its_time() -> None:
    recipe = load_recipe("mini")
    found = estimate(recipe, 0, 10**6, "cpu", 1, rates={"sight": 100.0, "base": 64.0, "salience": 1000.0})
    assert list(found.stages) == ["sight", "base", "baseline", "ssa-me", "salience", "composition", "trust"]
    assert found.stages["sight"] == recipe.sight.steps * recipe.sight.batch / 100
    assert found.stages["salience"] == 384.0
    assert all(seconds > 0 for seconds in found.stages.values())
