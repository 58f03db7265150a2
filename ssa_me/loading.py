"""Reads a checkpoint folder: model, tokenizer and image processor, in silence, and every weight accounted for.

It knows files and what transformers makes of them; it runs no model and knows no prompts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from ssa_me.checkpoints import Reading, reading_of
from ssa_me.errors import InputError, first_line
from ssa_me.families import family_of
from ssa_me.hub import adapter_base
from ssa_me.merging import merge_lora

_NEEDED = {
    "tokenizer": ("tokenizer.json", "vocab.json"),
    "image processor": ("preprocessor_config.json", "processor_config.json"),
}
_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint folder holds, as transformers reads it, and how the folder is to be read."""

    model: Any
    tokenizer: Any
    image_processor: Any
    reading: Reading


def load_checkpoint(checkpoint: Path, dtype: torch.dtype) -> Loaded:
    """A checkpoint folder as transformers saves it, or one with a LoRA adapter alone, which is merged into its model.
    On the CPU. InputError names what is missing or does not fit."""
    base = adapter_base(checkpoint) or checkpoint
    if not (base / "config.json").is_file():
        raise InputError(f"{base} is not a checkpoint folder: it holds no config.json.")
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        family_of(config.model_type, str(base))
        reading = reading_of(checkpoint)
        tokenizer, image_processor = _load_inputs(checkpoint, base, reading)
        model, info = _load_model(base, dtype)
    except InputError:
        raise
    except (
        Exception
    ) as error:  # the loaders raise OSError, ValueError, RuntimeError, SafetensorError, KeyError …
        raise InputError(f"{checkpoint} cannot be loaded: {first_line(error)}") from error
    mismatched = [key for key, *_ in info["mismatched_keys"]]
    lent = {_HEAD} if reading.headless else set()
    check_keys(base, set(info["missing_keys"]) - lent, info["unexpected_keys"], mismatched)
    if base != checkpoint:
        model = merge_lora(model, checkpoint)
    return Loaded(model, tokenizer, image_processor, reading)


def check_keys(source: Path, missing: Any, unexpected: Any, mismatched: Any = ()) -> None:
    """Raise InputError naming every missing, unexpected or misshapen weight of `source`: nothing loads in silence."""
    parts = [
        f"{name} {', '.join(sorted(str(key) for key in keys)[:4])}{' …' if len(keys) > 4 else ''}"
        for name, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched))
        if keys
    ]
    if parts:
        raise InputError(
            f"{source} does not fit its model: weights {'; '.join(parts)}. Save the checkpoint again."
        )


def check_state(source: Path, expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """`check_keys` for the weights `state` that `source` holds against those of the module that takes them."""
    shared = set(expected) & set(state)
    mismatched = {key for key in shared if expected[key].shape != state[key].shape}
    check_keys(source, set(expected) - shared, set(state) - shared, mismatched)


def _load_model(folder: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """The model, and what transformers says of keys that are missing, unexpected or of another shape."""
    loader: Any = AutoModelForImageTextToText
    with _Quiet():
        model, info = loader.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # the caller names them, with what is missing
            output_loading_info=True,
        )
    return model, info


class _Quiet:
    """Holds back transformers' loading report and progress bar; the caller checks the keys itself."""

    def __enter__(self) -> None:
        self.verbosity = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        transformers.logging.set_verbosity(self.verbosity)


def _load_inputs(checkpoint: Path, base: Path, reading: Reading) -> tuple[Any, Any]:
    """Tokenizer and image processor, each from the checkpoint or else from the model that it adapts."""
    tokenizer = AutoTokenizer.from_pretrained(_holder("tokenizer", checkpoint, base), trust_remote_code=False)
    if not tokenizer.chat_template:
        tokenizer.chat_template = _chat_template(base)
    size = {}
    if reading.pixels is not None:
        size = {"size": {"shortest_edge": reading.pixels[0], "longest_edge": reading.pixels[1]}}
    folder = _holder("image processor", checkpoint, base)
    return tokenizer, AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, **size)


def _chat_template(folder: Path) -> str | None:
    """The processor's template, which older checkpoints keep in a file of its own."""
    path = folder / "chat_template.json"
    if not path.is_file():
        return None
    template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
    return template if isinstance(template, str) else None


def _holder(what: str, checkpoint: Path, base: Path) -> Path:
    """The folder that holds the tokenizer or the image processor: their loaders do not say which file is missing."""
    names = _NEEDED[what]
    for folder in (checkpoint, base):
        if any((folder / name).is_file() for name in names):
            return folder
    raise InputError(f"{checkpoint} lacks its {what} ({' or '.join(names)}). Copy the whole folder.")
