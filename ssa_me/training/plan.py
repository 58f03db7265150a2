"""What a run would need, from a model's config alone: which layers train, how many parameters, how much memory.

The model is built on the meta device, so nothing is downloaded and no weight takes space. It knows no recipe and no
data: everything comes as arguments.

Sizes are in bytes until they are reported, in 10⁹ bytes. B samples of a step, T tokens, h the language model's width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText

from ssa_me.checkpoint import Parts, Settings
from ssa_me.errors import InputError
from ssa_me.families import family_of


@dataclass(frozen=True)
class Step:
    """What one optimisation step holds at a time.

    batch: samples of the step on one device. chunks: parts that it is cut into (GradCache). image_tokens, text_tokens:
    of a sample. phrases: subject phrases read beside its image and text, and phrase_share of them once more after the
    image (SSA-ME; both 0 for the baseline). checkpointing: layers are computed again in the backward pass.
    """

    batch: int
    chunks: int = 1
    image_tokens: int = 256
    text_tokens: int = 48
    phrases: float = 0.0
    phrase_share: float = 0.0
    checkpointing: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of the language passes whose activations are kept at the same time."""
        with_image = self.image_tokens + self.text_tokens
        sample = (
            with_image + self.text_tokens * (1 + self.phrases) + with_image * self.phrases * self.phrase_share
        )
        return math.ceil(math.ceil(self.batch / self.chunks) * sample)


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations

    def in_gb(self) -> dict[str, float]:
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "activations": self.activations,
            "total": self.total,
        }
        return {name: round(size / 1e9, 2) for name, size in parts.items()}


def meta_model(config: Path) -> Any:
    """The model that a `config.json` describes, without weights. InputError where it cannot be built."""
    try:
        read = AutoConfig.from_pretrained(config, trust_remote_code=False)
        family_of(read.model_type, str(config))
        builder: Any = AutoModelForImageTextToText
        with torch.device("meta"):
            return builder.from_config(read, trust_remote_code=False)
    except InputError:
        raise
    except Exception as error:  # OSError, ValueError, KeyError, and what a config's own checks raise
        raise InputError(f"No model can be built from {config}: {str(error).splitlines()[0]}") from error


def target_layers(model: Any, targets: Sequence[str]) -> dict[str, dict[str, nn.Linear]]:
    """Target → the language model's linear layers of that name, by their full names. InputError names a target that
    matches nothing."""
    language = f".{family_of(model.config.model_type).language}."
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and language in f".{name}"
    }
    found = {
        target: {name: m for name, m in linear.items() if f".{name}".endswith(f".{target}")}
        for target in targets
    }
    nothing = [target for target, layers in found.items() if not layers]
    if nothing:
        known = sorted({name.rpartition(".")[2] for name in linear})
        raise InputError(
            f"The targets {', '.join(nothing)} match no layer of the language model. Its linear layers: "
            f"{', '.join(known)}."
        )
    return found


def lora_parameters(layers: Mapping[str, nn.Linear], rank: int) -> int:
    """r·(in + out) of each layer: the two factors of its update."""
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers.values())


def parts_parameters(width: int, settings: Settings | None = None) -> int:
    """Of SSA-ME's own parts beside its adapter: head, regeneration, projection."""
    with torch.device("meta"):
        return count(Parts(width, settings or Settings()))


def count(model: nn.Module) -> int:
    """Parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def activation_bytes(config: Any, step: Step, bytes_each: int = 2) -> float:
    """An estimate of what the language layers keep for the backward pass.

    A layer keeps for each token about 8 vectors of width h (inputs and outputs of the norms, queries before and after
    rotation, attention's output, the residual), 4 of the keys' width, and 4 of the MLP's. With checkpointing it keeps
    its input, and one layer at a time all of it. Attention's own matrix is never kept (SDPA). The vision tower is
    frozen and keeps nothing.
    """
    text = config.get_text_config()
    heads = text.num_attention_heads
    keys = text.num_key_value_heads * (text.hidden_size // heads)
    whole = 8 * text.hidden_size + 4 * keys + 4 * text.intermediate_size
    layers = text.num_hidden_layers
    kept = layers * text.hidden_size + whole if step.checkpointing else layers * whole
    return float(step.tokens * kept * bytes_each)


def memory(parameters: int, trainable: int, activations: float, weight_bytes: int = 2) -> Memory:
    """Frozen weights in `weight_bytes` each; gradients and AdamW's two moments of what trains in 32 bits."""
    return Memory(
        weights=float(parameters * weight_bytes + trainable * 4),
        gradients=float(trainable * 4),
        optimizer=float(trainable * 8),
        activations=activations,
    )


def plan(
    config: Path, targets: Sequence[str], rank: int, steps: Mapping[str, Step], weight_bytes: int = 2
) -> dict[str, Any]:
    """A report fit for JSON: layers that each target matches, parameters, what trains, memory of each version's step.

    steps: version → its step; a version with phrases has SSA-ME's parts too. Raises InputError as `meta_model` and
    `target_layers` do.
    """
    model = meta_model(config)
    matched = target_layers(model, targets)
    layers = {name: layer for group in matched.values() for name, layer in group.items()}
    parameters, adapter = count(model), lora_parameters(layers, rank)
    versions = {}
    for version, step in steps.items():
        own = parts_parameters(model.config.get_text_config().hidden_size) if step.phrases else 0
        trainable = adapter + own
        kept = {
            name: activation_bytes(model.config, Step(**vars(step) | {"checkpointing": on}))
            for name, on in (("kept", False), ("checkpointed", True))
        }
        used = kept["checkpointed" if step.checkpointing else "kept"]
        versions[version] = {
            "trainable": trainable,
            "share": round(trainable / (parameters + trainable), 5),
            "tokens_at_once": step.tokens,
            "memory_gb": memory(parameters, trainable, used, weight_bytes).in_gb(),
            "activations_gb": {name: round(size / 1e9, 2) for name, size in kept.items()},
        }
    return {
        "model": model.config.model_type,
        "parameters": parameters,
        "targets": {target: len(group) for target, group in matched.items()},
        "layers": len(layers),
        "versions": versions,
    }


def config_of(recipe_name: str, checkpoint: Path | None, recipes: Path) -> Path | None:
    """The config to plan with: the checkpoint's own, else the one that lies beside the recipe, else None."""
    if checkpoint is not None and (checkpoint / "config.json").is_file():
        return checkpoint / "config.json"
    beside = recipes / f"{recipe_name}.json"
    return beside if beside.is_file() else None
