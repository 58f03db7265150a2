"""From what a user names a checkpoint by to a folder on this machine: a folder as it is, a hub's id downloaded once.

Only files that hold data are fetched: no pickles, no code. It knows nothing of what is in them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from ssa_me.checkpoints import CHECKPOINTS
from ssa_me.errors import InputError, first_line

FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")
"""What a checkpoint is made of. Pickled weights and Python files stay where they are."""

ADAPTER = "adapter_config.json"
_ID = re.compile(r"[\w.-]+/[\w.-]+")
_OFFLINE = "Offline, the embedded mini model and any checkpoint folder work."


def is_id(name: str) -> bool:
    """Whether `name` looks like the id of a hub, OWNER/NAME, and is no folder here."""
    return _ID.fullmatch(name) is not None and not name.startswith(".") and not Path(name).exists()


def locate(checkpoint: Path | str) -> Path:
    """The folder of a checkpoint. A hub's id is downloaded where it is not here yet, with a progress bar on stderr.

    InputError says what is missing where there is neither.
    """
    name = str(checkpoint)
    if Path(name).is_dir():
        return Path(name)
    if not is_id(name):
        raise InputError(
            f"There is no checkpoint folder {name}. Give the folder of a checkpoint (config.json, *.safetensors, "
            f"tokenizer, preprocessor_config.json), a hub's id such as {CHECKPOINTS[0].id}, or leave --checkpoint out."
        )
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except RepositoryNotFoundError as error:
        raise InputError(f"The hub has no checkpoint {name}, or it needs a login. {_OFFLINE}") from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"The checkpoint {name} is not on this machine, and there is no network to download it. Connect once and "
            f"run the command again, or give the folder of a copy. {_OFFLINE}"
        ) from error
    except Exception as error:  # of the hub, the network or the disk
        raise InputError(
            f"{name} cannot be downloaded: {first_line(error).rstrip('.')}. {_OFFLINE}"
        ) from error


def adapter_base(folder: Path) -> Path | None:
    """The folder of the model that a LoRA adapter in `folder` belongs to; None where it holds a whole model."""
    if not (folder / ADAPTER).is_file() or any(folder.glob("model*.safetensors")):
        return None
    try:
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / ADAPTER} cannot be read: {error}") from error
    if not base:
        raise InputError(f"{folder / ADAPTER} does not say which model it adapts (base_model_name_or_path).")
    beside = folder / base
    return beside if beside.is_dir() else locate(base)
