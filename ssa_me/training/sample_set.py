"""A small data set that shows the format: generated scenes with captions and subjects, as a zip."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from ssa_me.samples import METADATA, write_metadata
from ssa_me.scenes import write_scenes

NAME = "ssa-me-sample-set.zip"
_SEED = 700_001
_TRAIN, _VALIDATION, _SIZE = 24, 8, 160


def write_sample_set(target: Path) -> Path:
    """Write the zip to `target`, whole or not at all: 24 scenes to train on, 8 to validate with. Returns its path."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        records = write_scenes(folder, _TRAIN + _VALIDATION, _SEED, size=_SIZE, workers=0)
        split = [replace(r, split="train" if n < _TRAIN else "val") for n, r in enumerate(records)]
        write_metadata(folder, split)
        packed = folder / "packed"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in (METADATA, *(record.file_name for record in split)):
                archive.write(folder / file, file)
        packed.replace(target)
    return target
