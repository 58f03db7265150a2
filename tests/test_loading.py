"""Loading a checkpoint folder: it says nothing, and what is missing, damaged or does not fit is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssa_me.backbone import Backbone
from ssa_me.errors import InputError

CPU = torch.device("cpu")


def copy(checkpoint: Path, to: Path) -> Path:
    return Path(shutil.copytree(checkpoint, to / "copy"))


def rewrite(folder: Path, change) -> None:
    """Apply `change` to the dictionary of the checkpoint's weights."""
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


LAYER = "layers.1.mlp.up_proj.weight"


def named(state) -> str:
    return next(key for key in state if key.endswith(LAYER))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop(named(state)), f"missing .*{LAYER}"),
        (lambda state: state.update({"strange.weight": torch.zeros(3)}), "unexpected strange.weight"),
        (lambda state: state.update({named(state): torch.zeros(3, 4)}), f"of another shape .*{LAYER}"),
    ],
    ids=["missing", "unexpected", "shape"],
)
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl"])
def test_wrong_weights_are_named(family, change, message, checkpoint_of, tmp_path):
    folder = copy(checkpoint_of(family), tmp_path)
    rewrite(folder, change)
    with pytest.raises(InputError, match=message):
        Backbone.load(folder, CPU, torch.float32)


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def set_config(text: str):
    return lambda folder: (folder / "config.json").write_text(text)


def remove(*names: str):
    return lambda folder: [(folder / name).unlink() for name in names]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "cannot be loaded"),
        (remove("model.safetensors"), r"model\.safetensors"),
        (remove("tokenizer.json"), r"lacks its tokenizer \(tokenizer\.json or vocab\.json\)"),
        (remove("tokenizer.json", "tokenizer_config.json"), "tokenizer"),
        (remove("preprocessor_config.json"), r"lacks its image processor \(preprocessor_config\.json"),
        (remove("config.json"), "not a checkpoint folder: it holds no config.json"),
        (set_config("{"), "not a valid JSON"),
        (set_config("{}"), "model_type"),
        (set_config('{"model_type": "bert"}'), r"'bert'. Supported: qwen2_vl, qwen2_5_vl, qwen3_vl"),
        (set_config('{"model_type": "nonesuch"}'), "nonesuch"),
        (set_config('{"model_type": "x", "auto_map": {"AutoConfig": "evil.Config"}}'), "custom code"),
    ],
)
def test_a_damaged_checkpoint_is_bad_input(damage, message, checkpoint_of, tmp_path):
    folder = copy(checkpoint_of("qwen2_vl"), tmp_path)
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        Backbone.load(folder, CPU, torch.float32)
    assert "\n" not in str(caught.value)


def test_loading_says_nothing(checkpoint_of, capfd):
    Backbone.load(checkpoint_of("qwen2_vl"), CPU, torch.float32)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
