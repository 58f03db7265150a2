"""Adapters: the identity at first, switched without a trace, saved as PEFT's own, and loaded whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from ssa_me.adapters import CONFIG, TARGETS, WEIGHTS, Adapters
from ssa_me.backbone import Backbone
from ssa_me.errors import InputError

CPU = torch.device("cpu")
TEXTS = ["a red bird", "tree ."]


@pytest.fixture
def backbone(checkpoint_of) -> Backbone:
    return Backbone.load(checkpoint_of("qwen2_vl"), CPU, torch.float32)


@pytest.fixture
def saved(trained_checkpoint, tmp_path) -> Path:
    """A copy of a trained adapter's folder, to damage."""
    return Path(shutil.copytree(trained_checkpoint / "baseline", tmp_path / "baseline"))


def vectors(backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        return backbone.language_pass(TEXTS).last


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_a_new_adapter_is_the_identity_and_touches_the_language_layers_alone(family, checkpoint_of):
    backbone = Backbone.load(checkpoint_of(family), CPU, torch.float32)
    before = vectors(backbone)
    adapters = Adapters(backbone)
    parameters = adapters.attach("fresh", rank=2)
    adapters.use("fresh")
    torch.testing.assert_close(vectors(backbone), before)
    assert len(parameters) == 2 * len(TARGETS) * backbone.layers
    names = [name for name, _ in backbone.model.named_parameters() if ".fresh." in name]
    assert all("language_model" in name for name in names)


def test_only_the_adapter_in_use_is_trained(backbone):
    adapters = Adapters(backbone)
    first, second = adapters.attach("first", rank=2), adapters.attach("second", rank=2)

    def trained() -> set[int]:
        return {id(p) for p in backbone.model.parameters() if p.requires_grad}

    assert trained() == set()
    adapters.use("first", trainable=True)
    assert trained() == {id(p) for p in first}
    adapters.use("second", trainable=True)
    assert trained() == {id(p) for p in second}
    backbone.language_pass(TEXTS).last.sum().backward()
    assert all(p.grad is not None for p in second) and all(p.grad is None for p in first)
    adapters.use(None)
    assert trained() == set()


def test_switching_leaves_no_trace(backbone, trained_checkpoint):
    bare = vectors(backbone)
    adapters = Adapters(backbone)
    adapters.load("baseline", trained_checkpoint / "baseline")
    adapters.load("ssa-me", trained_checkpoint / "ssa-me")
    assert adapters.names == ("baseline", "ssa-me")
    assert torch.equal(vectors(backbone), bare), "loading must not switch an adapter on"
    seen = {}
    for name in ("baseline", "ssa-me", None, "ssa-me", "baseline", "baseline", None):
        adapters.use(name)
        got = vectors(backbone)
        torch.testing.assert_close(got, seen.setdefault(name, got), atol=0, rtol=0)
    assert torch.equal(seen[None], bare)
    for a, b in (("baseline", "ssa-me"), ("baseline", None), ("ssa-me", None)):
        assert (seen[a] - seen[b]).abs().max() > 1e-2


def test_the_vision_pass_is_the_same_under_every_adapter(backbone, trained_checkpoint, picture):
    adapters = Adapters(backbone)
    adapters.load("ssa-me", trained_checkpoint / "ssa-me")
    with torch.no_grad():
        plain = backbone.vision_pass([picture()]).tokens
        adapters.use("ssa-me")
        assert torch.equal(backbone.vision_pass([picture()]).tokens, plain)


def test_save_and_load(backbone, checkpoint_of, tmp_path):
    adapters = Adapters(backbone)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in adapters.attach("baseline", rank=3, alpha=9):
            parameter.copy_(torch.randn_like(parameter).bfloat16())
    adapters.save("baseline", tmp_path / "new" / "folder")
    adapters.use("baseline")
    other = Backbone.load(checkpoint_of("qwen2_vl"), CPU, torch.float32)
    others = Adapters(other)
    others.load("again", tmp_path / "new" / "folder")
    others.use("again")
    assert torch.equal(vectors(other), vectors(backbone))
    assert {w.dtype for w in load_file(tmp_path / "new" / "folder" / WEIGHTS).values()} == {torch.bfloat16}
    config = json.loads((tmp_path / "new" / "folder" / CONFIG).read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 3, 9)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("version", ["baseline", "ssa-me"])
def test_peft_loads_what_is_saved(version, backbone, trained_checkpoint):
    base = AutoModelForImageTextToText.from_pretrained(trained_checkpoint, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, trained_checkpoint / version).eval()
    adapters = Adapters(backbone)
    adapters.load(version, trained_checkpoint / version)
    adapters.use(version)
    ids, mask = backbone.tokenize(TEXTS)
    with torch.no_grad():
        states = model.base_model.model.model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(vectors(backbone), states[[0, 1], mask.sum(1) - 1], atol=1e-5, rtol=1e-5)


KEY = "base_model.model.model.language_model.layers.0.mlp.down_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop(KEY), "missing .*layers.0.mlp.down_proj.lora_A"),
        (lambda state: state.update(strange=torch.zeros(2)), "unexpected strange"),
        (
            lambda state: state.update({KEY: torch.zeros(7, 7)}),
            "of another shape .*layers.0.mlp.down_proj.lora_A",
        ),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_wrong_weights_are_named(change, message, backbone, saved):
    state = load_file(saved / WEIGHTS)
    change(state)
    save_file(state, saved / WEIGHTS)
    with pytest.raises(InputError, match=message):
        Adapters(backbone).load("baseline", saved)


def test_an_adapter_of_another_model_is_bad_input(checkpoint_of, saved):
    other = Backbone.load(checkpoint_of("qwen3_vl"), CPU, torch.float32)
    other.model.model.language_model.layers = other.model.model.language_model.layers[:2]
    with pytest.raises(InputError, match=r"unexpected .*layers\.2"):
        Adapters(other).load("baseline", saved)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100]),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / CONFIG).write_text("{"),
        lambda folder: (folder / CONFIG).write_text("[]"),
        lambda folder: (folder / CONFIG).write_text("{}"),
        lambda folder: (folder / CONFIG).write_text((folder / CONFIG).read_text().replace('"LORA"', '"IA3"')),
        lambda folder: (folder / CONFIG).write_text(
            (folder / CONFIG).read_text().replace('"r": 2', '"r": 0')
        ),
        lambda folder: (folder / CONFIG).write_text(
            (folder / CONFIG).read_text().replace("language_model", "none")
        ),
    ],
    ids=["truncated", "no weights", "no json", "a list", "empty", "another method", "rank 0", "no layer"],
)
@pytest.mark.filterwarnings("ignore:Unexpected keyword arguments:UserWarning")
def test_a_damaged_adapter_is_bad_input(damage, backbone, saved):
    damage(saved)
    with pytest.raises(InputError, match=str(saved)):
        Adapters(backbone).load("baseline", saved)


def test_names(backbone):
    adapters = Adapters(backbone)
    adapters.attach("one", rank=1)
    with pytest.raises(ValueError, match="new"):
        adapters.attach("one")
    with pytest.raises(ValueError, match="dot"):
        adapters.attach("a.b")
    with pytest.raises(KeyError, match="two"):
        adapters.use("two")
