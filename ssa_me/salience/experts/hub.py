"""Loads the model of an expert from a folder or the hub, safely: safetensors only, no remote code, every key checked.

It knows nothing of images or phrases.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoTokenizer

from ssa_me.errors import InputError, first_line
from ssa_me.hub import is_id, locate


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode, its image processor, its tokenizer (None where it reads no text), and 12 hex digits
    over all of its files."""

    model: Any
    image_processor: Any
    tokenizer: Any
    fingerprint: str


def load(source: str, kind: Any, device: torch.device, dtype: torch.dtype, *, text: bool = True) -> Loaded:
    """The model of class `kind` at `source`: a folder as transformers saves it, or the id of one on the hub.

    Raises InputError where it is not there, holds no safetensors, or lacks weights.
    """
    folder = _folder(source)
    try:
        # a processor's name in the files may be of a class that needs torchvision: this finds the one that does not
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False) if text else None
        model, info = kind.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{source} cannot be loaded as {kind.__name__}: {first_line(error)}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise InputError(
            f"{source} lacks weights of {kind.__name__}: {', '.join(missing[:4])}. Copy it again."
        )
    return Loaded(model.to(device).eval(), processor, tokenizer, _fingerprint(folder))


def _folder(source: str) -> Path:
    if not Path(source).is_dir() and not is_id(source):
        raise InputError(f"There is no folder {source}. Give a checkpoint's folder, or its id on the hub.")
    return locate(source)


def _fingerprint(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".txt", ".model", ".jinja"):
            with path.open("rb") as file:
                total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:12]
