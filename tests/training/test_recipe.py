"""Recipes: what a file may say, and a clear answer to everything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ssa_me.errors import InputError
from ssa_me.training.recipe import (
    RECIPES,
    Base,
    DataSet,
    Lora,
    Recipe,
    Regeneration,
    Scenes,
    Scratch,
    explain_recipe,
    load_recipe,
    write_recipe,
)


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_that_comes_along_loads(path):
    recipe = load_recipe(path.stem)
    assert recipe == load_recipe(path)
    assert recipe.name == path.stem and recipe.base.steps + recipe.adapters.steps > 0


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_a_recipe_is_written_as_it_is_read(path, written):
    recipe = replace(load_recipe(path.stem), data=(DataSet('a "set"', 2.5), DataSet("b", on_the_fly=True)))
    assert load_recipe(written(write_recipe(recipe), "another.toml")) == recipe


def test_recipes_explain_themselves():
    said = explain_recipe("fast")
    assert said.startswith("A first look: both adapters for a hundred") and "python" not in said


def test_mini_starts_from_scratch_and_fine_tune_does_not():
    assert load_recipe("mini").scratch is not None and load_recipe("mini").base.steps > 0
    assert load_recipe("fine-tune").scratch is None


def test_a_shortened_recipe_goes_no_further_in_any_stage():
    mini = load_recipe("mini")
    assert list(mini.schedules) == ["sight", "base", "adapters", "salience", "composition", "trust"]
    short = mini.shortened(500)
    assert [one.steps for one in short.schedules.values()] == [500, 500, 400, 500, 500, 500]
    assert short.base == replace(mini.base, steps=500) and short.objectives == mini.objectives
    assert mini.shortened(10**6) == mini


def test_a_file_sets_what_it_names_and_keeps_the_rest(written):
    recipe = load_recipe(
        written(
            "seed = 4\n[regeneration]\nfloor = 1\n[scratch]\nwidth = 48\n[adapters]\nsteps = 7\nlearning_rate = 2\n"
        )
    )
    assert recipe == Recipe(
        name="mine",
        seed=4,
        regeneration=Regeneration(floor=1),
        scratch=Scratch(width=48),
        adapters=Lora(steps=7, learning_rate=2),
    )
    assert (recipe.base, recipe.scenes) == (Base(), Scenes())


def test_sets_with_weights_targets_and_switches(written):
    recipe = load_recipe(
        written(
            "gradient_checkpointing = true\n[[data]]\npath = 'a'\nweight = 3\n[[data]]\npath = 'b'\n"
            "[adapters]\nchunks = 8\ntargets = ['q_proj', 'v_proj']\n"
        )
    )
    assert recipe.gradient_checkpointing is True
    assert recipe.data == (DataSet("a", 3), DataSet("b", 1.0))
    assert recipe.adapters == Lora(chunks=8, targets=("q_proj", "v_proj"))


def test_an_empty_file_is_the_defaults(written):
    assert load_recipe(written("")) == Recipe(name="mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", r"mine.toml: unknown sed\. Known: name, seed"),
        ("[adaptors]\nsteps = 1", r"mine.toml: unknown adaptors"),
        ("[base]\nstep = 1\nbatches = 2", r"mine.toml \[base\]: unknown batches, step\. Known: steps"),
        ("[adapters]\ncaption = 0.1", r"\[adapters\]: unknown caption"),
        ("scratch = 3", r"\[scratch\]: expected a table of settings, not 3"),
        ("[base]\nsteps = 1.5", r"\[base\]: steps is a whole number, not 1.5"),
        ("[base]\nsteps = '5'", r"\[base\]: steps is a whole number, not '5'"),
        ("[base]\nsteps = true", r"\[base\]: steps is a whole number, not True"),
        ("[base]\nlearning_rate = 'high'", r"learning_rate is a number, not 'high'"),
        ("precision = 16", r"precision is a text, not 16"),
        ("[base]\nlearning_rate = -1e-3", r"\[base\]: learning_rate must be at least 0, not -0.001"),
        ("[objectives]\nhead = -1", r"\[objectives\]: head must be at least 0, not -1"),
        ("seed = -1", r"mine.toml: seed must be at least 0, not -1"),
        ("[base]\nlearning_rate = nan", r"learning_rate must be at least 0, not nan"),
        ("[base]\nlearning_rate = inf", r"learning_rate must be at least 0, not inf"),
        ("[adapters]\nbatch = 1", r"batch must be at least 2, not 1"),
        ("[adapters]\nrank = 0", r"rank must be at least 1, not 0"),
        ("save_every = 0", r"save_every must be at least 1, not 0"),
        ("[objectives]\nphrase_share = 1.5", r"phrase_share must be between 0 and 1, not 1.5"),
        ("[regeneration]\nfloor = 0.0", r"floor must be above 0"),
        ("[regeneration]\nfloor = 1.1", r"floor must be between 0 and 1, not 1.1"),
        ("[base]\ntemperature = 0", r"temperature must be between 0.01 and 1, not 0"),
        ("views = 0", r"views must be at least 1, not 0"),
        ("precision = 'fp8'", "precision is auto, fp32 or bf16, not 'fp8'"),
        ("[adapters]\nchunks = 0", r"chunks must be at least 1, not 0"),
        ("[adapters]\ntargets = 'q_proj'", r"\[adapters\]: targets is a list of names, not 'q_proj'"),
        ("[adapters]\ntargets = []", r"targets is a list of names, not \[\]"),
        ("[adapters]\ntargets = ['q_proj', 3]", r"targets is a list of names, not \['q_proj', 3\]"),
        ("gradient_checkpointing = 1", r"gradient_checkpointing is true or false, not 1"),
        (
            "data = 'photographs'",
            r"data is a list of \[\[data\]\] tables with a path each, not 'photographs'",
        ),
        ("data = ['photographs']", r"\[\[data\]\]: expected a table of settings, not 'photographs'"),
        ("[[data]]\nweight = 2", r"\[\[data\]\]: a set needs a path"),
        (
            "[[data]]\npath = 'x'\nweights = 2",
            r"\[\[data\]\]: unknown weights\. Known: path, weight, on_the_fly",
        ),
        ("[[data]]\npath = 'x'\nweight = -1", r"\[\[data\]\]: weight must be at least 0, not -1"),
        (
            "[[data]]\npath = 'x'\nweight = 0",
            r"mine.toml \[\[data\]\] x: a set with the weight 0 is never drawn",
        ),
        ("[scenes]\ncount = 1\nweight = 0", r"mine.toml \[scenes\]: a set with the weight 0 is never drawn"),
        ("seed = ", r"mine.toml cannot be read: "),
    ],
)
def test_what_a_recipe_may_not_say(written, text, message):
    with pytest.raises(InputError, match=message):
        load_recipe(written(text))


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.toml cannot be read"):
        load_recipe(tmp_path / "nowhere.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.toml cannot be read"):
        load_recipe(binary)


@pytest.mark.parametrize("name", ["nope", "", "../mini/x"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(InputError, match=r"no recipe .*Recipes: balanced, fast, fine-tune, full, mini"):
        load_recipe(name)
