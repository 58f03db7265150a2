"""Versions in and out: as a checkpoint folder, as a zip of one, and to a hub.

A zip may come from a stranger. Only files that hold data are unpacked, safetensors and settings, never pickles or code;
what is left has to load as a checkpoint, every weight accounted for, before it counts as one.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from ssa_me.adapters import CONFIG
from ssa_me.archives import Limits, Wanted, unpack
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError, disk_trouble, first_line
from ssa_me.hub import is_id
from ssa_me.jobs import read_json

WANTED = Wanted(
    suffixes=(".safetensors", ".json", ".txt", ".jinja", ".model", ".md"),
    names=(),
    what="file of a checkpoint",
    other="not a part of a checkpoint: only safetensors and settings are read, never pickles or code",
)
LIMITS = Limits(entries=500, total_bytes=32 * 2**30, file_bytes=8 * 2**30)
_CODE = (
    "auto_map",
    "auto_mapping",
    "quantization_config",
    "custom_pipelines",
    "megatron_config",
    "kernel_config",
)
"""Settings by which transformers and PEFT find code: in the checkpoint, on a hub, or among what is installed."""
_NOT_SHARED = "training"  # logs, and states of a run that was stopped
_OFFLINE = "The version stays where it is; try again with a network."


def export_folder(checkpoint: Path, out: Path) -> Path:
    """Copy a checkpoint to the new folder `out`, in the format that every command takes. InputError where that exists."""
    if out.exists():
        raise InputError(f"{out} exists already. Give a new folder.")
    try:
        shutil.copytree(checkpoint, out, ignore=shutil.ignore_patterns(_NOT_SHARED))
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise disk_trouble(error, "the checkpoint folder") from error
    return out


def export_zip(checkpoint: Path, target: Path, folder: str) -> Path:
    """Write a checkpoint as a zip that holds one folder named `folder`, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:  # weights do not shrink
            for path in _files(checkpoint):
                archive.write(path, f"{folder}/{path.relative_to(checkpoint).as_posix()}")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_trouble(error, "the zip") from error
    return target


def import_checkpoint(source: Path, out: Path, limits: Limits = LIMITS) -> Path:
    """Bring a checkpoint, a zip or a folder of one, to the new folder `out`, and load it once to see that it is whole.

    Raises InputError where the zip is refused, holds no checkpoint or one that adapts another model, or where a weight
    is missing, unexpected or of another shape; then `out` does not exist.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".import-", dir=out.parent) as name:
            taken = Path(name) / "taken"
            if source.is_dir():
                _copy_wanted(source, taken)
            else:
                unpack(source, taken, limits, wanted=WANTED)
            checkpoint = _root(taken, source.name)
            check_checkpoint(checkpoint, source.name)
            checkpoint.rename(out)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise disk_trouble(error, "the checkpoint") from error
    return out


def check_checkpoint(checkpoint: Path, name: str) -> None:
    """Load a checkpoint on the CPU. InputError, which calls it `name`, where it is not whole, or where its settings would
    have a library run code from elsewhere."""
    for path in checkpoint.rglob("*.json"):
        if path.name != "tokenizer.json":
            refused = _refused(read_json(path))
            if refused:
                raise InputError(
                    f"{name}: {path.name} has {refused}, which can run code that is not here. Remove it from the file."
                )
    try:
        SalientEmbedder.load(checkpoint, "cpu")
    except InputError as error:
        raise InputError(str(error).replace(str(checkpoint), name)) from error


def push(checkpoint: Path, repository: str, private: bool = True, api: Callable[[], HfApi] = HfApi) -> str:
    """Upload a checkpoint to a hub as OWNER/NAME, made where it is not there yet; returns its address.

    Raises InputError, saying what is missing, offline, without a login, or where the hub refuses.
    """
    if not is_id(repository):
        raise InputError(f"{repository!r} is no name on a hub. Give OWNER/NAME.")
    try:
        hub = api()
        hub.create_repo(repository, private=private, exist_ok=True)
        found = hub.upload_folder(
            repo_id=repository,
            folder_path=checkpoint,
            ignore_patterns=[f"{_NOT_SHARED}/*"],
            commit_message="A version trained with SSA-ME studio",
        )
    except OfflineModeIsEnabled as error:
        raise InputError(
            f"The hub cannot be reached: offline mode is on (HF_HUB_OFFLINE=1). Unset it. {_OFFLINE}"
        ) from error
    except LocalTokenNotFoundError as error:
        raise InputError("The hub wants a login. Run `hf auth login` once, then push again.") from error
    except HfHubHTTPError as error:
        raise InputError(
            f"The hub refused {repository}: {first_line(error).rstrip('.')}. Check name and login."
        ) from error
    except (OSError, ConnectionError, RuntimeError) as error:  # what each of its network libraries raises
        raise InputError(f"The hub cannot be reached: {first_line(error).rstrip('.')}. {_OFFLINE}") from error
    return str(found.commit_url)


def _refused(value: Any) -> str | None:
    """A setting anywhere in `value` that leads to code elsewhere; None where there is none."""
    if isinstance(value, list):
        return next(filter(None, map(_refused, value)), None)
    if not isinstance(value, dict):
        return None
    for key, inner in value.items():
        if inner and (key in _CODE or ("attn_implementation" in key and "/" in str(inner))):
            return str(key)
    return _refused(list(value.values()))


def _files(checkpoint: Path) -> Iterator[Path]:
    for path in sorted(checkpoint.rglob("*")):
        parts = path.relative_to(checkpoint).parts
        if path.is_file() and parts[0] != _NOT_SHARED and not path.name.startswith("."):
            yield path


def _copy_wanted(source: Path, to: Path) -> None:
    for path in _files(source):
        if path.suffix in WANTED.suffixes and not path.is_symlink():
            target = to / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def _root(folder: Path, name: str) -> Path:
    """The checkpoint in what was unpacked: the folder itself, or the only one in it."""
    below = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    for candidate in (folder, *below[:1]):
        if (candidate / "config.json").is_file():
            if (candidate / CONFIG).is_file():
                raise InputError(f"{name} adapts a model that is elsewhere. Give a whole checkpoint.")
            return candidate
    raise InputError(f"{name} holds no checkpoint: there is no config.json in it.")
