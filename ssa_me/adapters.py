"""LoRA adapters of a backbone's language model in PEFT's format: attach, load, save, switch.

Adapters never touch vision or base weights, so that one vision pass serves all of them, and one language pass too: each
row of a batch can have an adapter of its own. Which are active is shared state: the owner of the backbone holds the lock
around it and the forward pass. It knows nothing of what an adapter was trained for.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssa_me.backbone import Backbone
from ssa_me.errors import InputError
from ssa_me.loading import check_state

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."  # PEFT's own wrapper, so that `PeftModel.from_pretrained` reads the folder too


class Adapters:
    """The adapters attached to one backbone. None stands for the backbone as it is."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._layers: list[BaseTunerLayer] = []
        self._active: str | None = None
        self._names: list[str] = []
        self._mixture: tuple[tuple[str, slice], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def attach(
        self,
        name: str,
        rank: int = 16,
        alpha: int = 32,
        dropout: float = 0.0,
        targets: Sequence[str] = TARGETS,
    ) -> list[nn.Parameter]:
        """A new adapter, the identity and switched off; returns its parameters. `use` makes them trainable.

        targets: names of the language model's linear layers. InputError names one that it does not have.
        """
        layers = {
            key
            for key, _ in self.backbone.model.named_modules()
            if f"{self.backbone.traits.language}." in key
        }
        lacking = [
            t for t in targets if not any(key.endswith((f".{t}", f".{t}.base_layer")) for key in layers)
        ]
        if lacking:
            raise InputError(f"The language model of this backbone has no layer called {', '.join(lacking)}.")
        pattern = (
            rf".*{self.backbone.traits.language}\..*\.({'|'.join(re.escape(target) for target in targets)})"
        )
        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=pattern)
        self._inject(name, config)
        return self.parameters(name)

    def load(self, name: str, folder: Path) -> None:
        """Attach the adapter saved in `folder`. InputError names missing, unexpected or misshapen weights."""
        try:
            config = LoraConfig.from_pretrained(str(folder))
            weights = load_file(folder / WEIGHTS)
            self._inject(name, config)
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise InputError(f"The adapter in {folder} cannot be read: {error}") from error
        state = {key.removeprefix(_PREFIX): value for key, value in weights.items()}
        check_state(folder, self.state(name), state)
        set_peft_model_state_dict(self.backbone.model, state, adapter_name=name)

    def save(self, name: str, folder: Path) -> None:
        """Write the adapter in PEFT's format, in 16 bits."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {_PREFIX + k: v.to(torch.bfloat16).cpu().contiguous() for k, v in self.state(name).items()},
            folder / WEIGHTS,
        )
        config = self.backbone.model.peft_config[name].to_dict()
        plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
        (folder / CONFIG).write_text(
            json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8"
        )

    def state(self, name: str) -> dict[str, Tensor]:
        return get_peft_model_state_dict(self.backbone.model, adapter_name=name)

    def parameters(self, name: str) -> list[nn.Parameter]:
        return [p for key, p in self.backbone.model.named_parameters() if f".{name}." in key]

    def use(self, name: str | None, trainable: bool = False) -> None:
        """Make `name` the active adapter; None switches all of them off."""
        if name is not None and name not in self._names:
            raise KeyError(f"no adapter {name!r}; there are {self._names}")
        if name == self._active and not trainable:
            return
        for layer in self._layers:
            layer.enable_adapters(name is not None)
            if name is not None:
                layer.set_adapter(name, inference_mode=not trainable)
        self._active = name

    @contextmanager
    def mixed(self, names: Sequence[str], rows: int) -> Iterator[None]:
        """For inference: a batch holds `rows` rows for each of `names` in turn. A name that is not attached stands
        for the backbone as it is."""
        self.use(None)
        self._mixture = tuple(
            (name, slice(i * rows, (i + 1) * rows)) for i, name in enumerate(names) if name in self._names
        )
        try:
            yield
        finally:
            self._mixture = ()

    def _add_mixture(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """W x + s·B A x for the rows of each adapter (LoRA, arXiv 2106.09685); a forward hook of every LoRA layer."""
        for name, rows in self._mixture:
            down, up = layer.lora_A[name], layer.lora_B[name]
            update = up(down(inputs[0][rows].to(down.weight.dtype))) * layer.scaling[name]
            output[rows] += update.to(output.dtype)
        return output

    def _inject(self, name: str, config: LoraConfig) -> None:
        if "." in name or name in self._names:
            raise ValueError(f"an adapter's name must be new and without a dot, not {name!r}")
        with warnings.catch_warnings():  # a second adapter beside the first is meant
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            inject_adapter_in_model(config, self.backbone.model, adapter_name=name)
        known = {id(layer) for layer in self._layers}
        self._layers = [m for m in self.backbone.model.modules() if isinstance(m, BaseTunerLayer)]
        for layer in self._layers:
            if id(layer) not in known:
                cast(nn.Module, layer).register_forward_hook(self._add_mixture)
        if not self._layers:
            raise InputError("The adapter matches no layer of this backbone's language model.")
        self.backbone.model.to(self.backbone.device)
        self.backbone.model.requires_grad_(False)
        self._names.append(name)
        self._active = name
        self.use(None)
