"""A checkpoint folder: backbone, the two adapters, SSA-ME's trained parts, and their fingerprints.

It reads and writes files and checks every key; it runs no model. The layout is the one that the README describes:
the backbone as transformers saves it, `baseline/` and `ssa-me/` with a PEFT adapter each, and in `ssa-me/` also
`regeneration.safetensors` and `ssa_me.json`. A folder without adapters is a bare backbone and works as well.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ssa_me.adapters import CONFIG, WEIGHTS
from ssa_me.checkpoints import Reading, reading_of
from ssa_me.composition import SubjectComposition
from ssa_me.errors import InputError, first_line
from ssa_me.loading import check_state
from ssa_me.regeneration import FeatureRegeneration
from ssa_me.salience.head import SalienceHead

BASELINE = "baseline"
SSA_ME = "ssa-me"
VERSIONS = (BASELINE, SSA_ME)
PARTS = "regeneration.safetensors"
SETTINGS = "ssa_me.json"
MINI = Path(__file__).parent.parent / "assets" / "mini"
_COMPUTATION = 7
"""Raised whenever the same weights come to give other vectors, so that galleries notice."""


@dataclass(frozen=True)
class Settings:
    """What `ssa_me.json` holds. floor: f of the regeneration where a phrase is asked for; free_floor: where none is.
    likeness: neighbouring image tokens of one subject are at least so alike (cosine less the image's mean; −1: any). layers: language layers whose attention is read (None:
    the second half). claims: both versions learned to read an image with a caption that may be false, so that a re-ranking
    reads candidates with the text. description: one plain sentence on what the checkpoint knows, shown on the page."""

    floor: float = 0.5
    free_floor: float = 0.5
    inner: int = 64
    hidden: int = 128
    composition: int = 256
    likeness: float = -1.0
    layers: tuple[int, ...] | None = None
    claims: bool = False
    description: str = ""


class Parts(nn.Module):
    """SSA-ME's trained parts beside its adapter. Freshly made, head aside, they change nothing but suppression."""

    def __init__(self, width: int, settings: Settings) -> None:
        super().__init__()
        self.head = SalienceHead(width, settings.hidden)
        self.regeneration = FeatureRegeneration(width, settings.floor, settings.inner, settings.free_floor)
        self.composition = SubjectComposition(width, settings.composition)


def has_adapter(checkpoint: Path, version: str) -> bool:
    """Whether `checkpoint` holds a trained `version`. InputError where it holds half of one."""
    folder = checkpoint / version
    wanted = [CONFIG, WEIGHTS] + ([PARTS, SETTINGS] if version == SSA_ME else [])
    there = [name for name in wanted if (folder / name).is_file()]
    if there and len(there) < len(wanted):
        missing = ", ".join(name for name in wanted if name not in there)
        raise InputError(f"{folder} is incomplete: it lacks {missing}. Copy the whole folder, or remove it.")
    return bool(there)


def save_parts(folder: Path, parts: Parts, settings: Settings) -> None:
    """Write the parts in 16 bits and their settings."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        key: value.detach().to(torch.bfloat16).cpu().contiguous() for key, value in parts.state_dict().items()
    }
    save_file(state, folder / PARTS)
    text = json.dumps(dataclasses.asdict(settings), indent=2) + "\n"
    (folder / SETTINGS).write_text(text, encoding="utf-8")


def load_parts(folder: Path, width: int) -> tuple[Parts, Settings]:
    """Read what `save_parts` wrote; raises InputError naming missing or unexpected weights or settings."""
    try:
        table = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if not isinstance(table, dict):
            raise TypeError(f"{SETTINGS} holds no JSON object")
        settings = Settings(**table | {"layers": tuple(table["layers"]) if table.get("layers") else None})
        state = load_file(folder / PARTS)
        parts = Parts(width, settings)
        check_state(folder / PARTS, parts.state_dict(), state)
        parts.load_state_dict(state)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder} cannot be read as SSA-ME's parts: {first_line(error)}") from error
    return parts.eval(), settings


def write_layers(folder: Path, layers: Sequence[int]) -> None:
    """Change the layers whose attention is read in the settings that `folder` (`ssa-me/`) holds."""
    file = folder / SETTINGS
    table = json.loads(file.read_text(encoding="utf-8")) | {"layers": list(layers)}
    part = file.with_suffix(".part")
    part.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    part.replace(file)


def fingerprints(checkpoint: Path) -> dict[str, str]:
    """Version → 12 hex digits over everything that its vectors depend on: backbone, adapter, parts, settings."""
    backbone = _digest(
        p for p in checkpoint.iterdir() if p.suffix in (".safetensors", ".json", ".jinja", ".txt")
    )
    reading = reading_of(checkpoint)
    read = "" if reading == Reading() else f" {reading}"
    result = {}
    for version in VERSIONS:
        own = _digest((checkpoint / version).glob("*")) if has_adapter(checkpoint, version) else "none"
        text = f"{_COMPUTATION} {version} {backbone} {own}{read}"
        result[version] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return result


def _digest(files: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(files):
        if path.is_file() and path.suffix != ".md":
            with path.open("rb") as file:
                total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
