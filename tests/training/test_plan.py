"""The plan of a run: layers by name, parameters and memory worked out by hand."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from ssa_me.adapters import TARGETS, Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import Parts, Settings
from ssa_me.errors import InputError
from ssa_me.training.plan import (
    Step,
    activation_bytes,
    config_of,
    count,
    lora_parameters,
    memory,
    meta_model,
    parts_parameters,
    plan,
    target_layers,
)
from ssa_me.training.recipe import RECIPES, load_recipe

QWEN2_VL_2B = RECIPES / "qwen2-vl-2b-mmeb.json"


@pytest.fixture(scope="module")
def two_billion():
    return meta_model(QWEN2_VL_2B)


def test_the_published_number_of_parameters(two_billion):
    assert count(two_billion) == 2_208_985_600
    assert all(parameter.is_meta for parameter in two_billion.parameters())


def test_trainable_parameters_by_hand(two_billion):
    """28 layers of width 1536, keys of 2 × 128, an MLP of 8960, rank 16."""
    found = target_layers(two_billion, TARGETS)
    assert {target: len(layers) for target, layers in found.items()} == dict.fromkeys(TARGETS, 28)
    one = 2 * (1536 + 1536) + 2 * (1536 + 256) + 3 * (1536 + 8960)
    layers = {name: layer for group in found.values() for name, layer in group.items()}
    assert lora_parameters(layers, 16) == 28 * 16 * one == 18_464_768
    assert all(".language_model.layers." in name for name in layers)


def test_a_target_that_matches_nothing_is_named(two_billion):
    with pytest.raises(InputError, match=r"qkv, fc1 match no layer .* down_proj, gate_proj, k_proj, o_proj"):
        target_layers(two_billion, ["q_proj", "qkv", "fc1"])


def test_the_plan_counts_what_training_makes(checkpoint_of):
    backbone = Backbone.load(checkpoint_of("qwen2_vl"), torch.device("cpu"), torch.float32)
    made = sum(p.numel() for p in Adapters(backbone).attach("x", rank=4))
    model = meta_model(checkpoint_of("qwen2_vl") / "config.json")
    found = target_layers(model, TARGETS)
    assert lora_parameters({n: m for group in found.values() for n, m in group.items()}, 4) == made
    assert parts_parameters(32) == sum(p.numel() for p in Parts(32, Settings()).parameters())


def test_tokens_of_a_step_by_hand():
    assert Step(batch=8, image_tokens=100, text_tokens=10).tokens == 8 * 120
    assert Step(batch=8, chunks=4, image_tokens=100, text_tokens=10).tokens == 2 * 120
    assert Step(batch=8, chunks=3, image_tokens=100, text_tokens=10).tokens == 3 * 120
    salient = Step(batch=2, image_tokens=100, text_tokens=10, phrases=2, phrase_share=0.5)
    assert salient.tokens == 2 * (110 + 30 + 110)


def test_memory_by_hand(two_billion):
    step = Step(batch=1, image_tokens=80, text_tokens=10)
    whole = 8 * 1536 + 4 * 256 + 4 * 8960
    assert activation_bytes(two_billion.config, step) == 100 * 28 * whole * 2
    kept = Step(batch=1, image_tokens=80, text_tokens=10, checkpointing=True)
    assert activation_bytes(two_billion.config, kept) == 100 * (28 * 1536 + whole) * 2
    needed = memory(1000, 10, 50.0)
    assert (needed.weights, needed.gradients, needed.optimizer, needed.total) == (2040, 40, 80, 2210)
    assert memory(1000, 10, 0.0, weight_bytes=4).weights == 4040


def test_a_whole_plan():
    steps = {
        "baseline": Step(batch=1024, chunks=64, checkpointing=True),
        "ssa-me": Step(batch=1024, chunks=64, checkpointing=True, phrases=2, phrase_share=0.25),
    }
    report = plan(QWEN2_VL_2B, TARGETS, 16, steps)
    assert json.loads(json.dumps(report)) == report
    assert report["parameters"] == 2_208_985_600 and report["layers"] == 28 * 7
    baseline, salient = report["versions"]["baseline"], report["versions"]["ssa-me"]
    assert baseline["trainable"] == 18_464_768 and baseline["share"] == pytest.approx(0.00829, abs=1e-5)
    assert salient["trainable"] == 18_464_768 + parts_parameters(1536)
    assert baseline["memory_gb"]["weights"] == pytest.approx(2 * 2.209 + 4 * 0.0185, abs=0.01)
    assert baseline["activations_gb"]["checkpointed"] < 0.1 * baseline["activations_gb"]["kept"]
    assert salient["memory_gb"]["total"] > baseline["memory_gb"]["total"]


def test_the_recipe_is_read_and_has_its_config():
    recipe = load_recipe("qwen2-vl-2b-mmeb")
    lora = recipe.adapters
    assert (lora.rank, lora.batch, lora.chunks, recipe.precision) == (16, 1024, 64, "bf16")
    assert recipe.gradient_checkpointing and lora.targets == TARGETS
    assert config_of(recipe.name, None, RECIPES) == QWEN2_VL_2B
    assert config_of("fine-tune", None, RECIPES) is None


def test_a_checkpoint_brings_its_own_config(checkpoint_of):
    folder = checkpoint_of("qwen2_vl")
    assert config_of("qwen2-vl-2b-mmeb", folder, RECIPES) == folder / "config.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "No model can be built"), ('{"model_type": "bert"}', "'bert'"), ('{"model_type": "qwen2_vl", "hidden_size": 7}', "No model|match no layer")],
)  # fmt: skip
def test_a_config_of_no_use_is_bad_input(text, message, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        target_layers(meta_model(tmp_path / "config.json"), ["none"])


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_other_families(family, checkpoint_of, tmp_path):
    shutil.copy(checkpoint_of(family) / "config.json", tmp_path / "config.json")
    report = plan(tmp_path / "config.json", TARGETS, 2, {"baseline": Step(batch=4)})
    assert report["layers"] == 3 * 7
