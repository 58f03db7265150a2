"""A file of float32 rows that only grows, read as a memory map. Knows no SQLite, no FAISS and no model.

The file has no header: the gallery's database says how many rows count, and rows are on the disk before it
says so. Whatever lies behind the last row that counts is left from a writer that was stopped, and is
written over.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

_BYTES = 4


def vector_file(folder: Path, space: str) -> Path:
    """Where the gallery in `folder` keeps the rows of a space."""
    return folder / "vectors" / f"{space}.f32"


def whole_rows(path: Path, dimension: int) -> int:
    """How many rows of `dimension` numbers the file holds; a cut last row does not count."""
    return path.stat().st_size // (dimension * _BYTES) if path.is_file() else 0


def append_rows(path: Path, rows: np.ndarray, start: int) -> None:
    """Write `rows` `(n, D)` as row `start` and following, cut what lies behind, and wait for the disk.

    Raises ValueError where the file holds fewer than `start` rows.
    """
    dimension = rows.shape[1]
    if whole_rows(path, dimension) < start:
        raise ValueError(f"{path} holds fewer than {start} rows")
    path.parent.mkdir(parents=True, exist_ok=True)
    if start == 0:  # a reader may still have the rows of a space of that name mapped, which was forgotten
        path.unlink(missing_ok=True)
    with path.open("r+b" if path.exists() else "xb") as file:
        file.truncate(start * dimension * _BYTES)
        file.seek(0, os.SEEK_END)
        file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        file.flush()
        os.fsync(file.fileno())


def map_rows(path: Path, count: int, dimension: int) -> np.ndarray:
    """The first `count` rows, `(count, D)` float32, read-only and mapped rather than read."""
    if count == 0:
        return np.empty((0, dimension), dtype=np.float32)
    return np.memmap(path, dtype="<f4", mode="r", shape=(count, dimension))
