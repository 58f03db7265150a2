"""Merges a checkpoint that is only a LoRA adapter into the model that it was trained on.

Such adapters name layers as the transformers of their day did; each is found by the longest end of its name that
exactly one layer of the model has. It knows nothing of the adapters that this project trains.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssa_me.errors import InputError

_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def merge_lora(model: Any, folder: Path) -> Any:
    """The model with the adapter's update in its weights (W + s·B A, DoRA too), and no trace of the adapter.

    InputError names a layer that the model lacks, or weights that do not fit.
    """
    try:
        config = LoraConfig.from_pretrained(str(folder))
        state = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise InputError(f"The adapter in {folder} cannot be read: {error}") from error
    names = [name for name, _ in model.named_modules()]
    renamed = _renamed(state, names, folder)
    config.target_modules = sorted({key.partition(".lora_")[0] for key in renamed})
    config.exclude_modules = None
    with warnings.catch_warnings():  # peft still asks for a name that transformers has replaced
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
        wrapped = get_peft_model(model, config)
    expected = get_peft_model_state_dict(wrapped)
    found = {f"{_PREFIX}{key}": value for key, value in renamed.items()}
    wrong = sorted(set(expected) ^ set(found)) or sorted(
        key for key, value in expected.items() if value.shape != found[key].shape
    )
    if wrong:
        raise InputError(f"The adapter in {folder} does not fit its model: {', '.join(wrong[:4])}.")
    set_peft_model_state_dict(wrapped, found)
    merged = wrapped.merge_and_unload()
    return merged.eval()


def _renamed(state: Mapping[str, Tensor], names: Iterable[str], folder: Path) -> dict[str, Tensor]:
    """The adapter's weights under the model's names for its layers."""
    by_tail: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        for start in range(len(parts)):
            by_tail.setdefault(".".join(parts[start:]), []).append(name)
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        layer, _, rest = key.removeprefix(_PREFIX).partition(".lora_")
        renamed[f"{_match(layer, by_tail, folder)}.lora_{rest}"] = value
    return renamed


def _match(layer: str, by_tail: Mapping[str, list[str]], folder: Path) -> str:
    parts = layer.split(".")
    for start in range(len(parts) - 1):
        found = by_tail.get(".".join(parts[start:]), [])
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise InputError(f"The adapter in {folder} changes a layer {layer} that its model does not have.")
