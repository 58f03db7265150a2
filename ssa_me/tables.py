"""Rows of data sets in `.jsonl` and `.parquet` files, the image placeholders that their texts carry, and cells of tables that
are written.

It knows nothing of what the columns mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from ssa_me.errors import InputError

SUFFIXES = (".jsonl", ".parquet")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula begins with one of these (OWASP, CSV injection)."""
_PLACEHOLDER = re.compile(r"(<\|image_\d+\|>|<image>|<\|vision_start\|><\|image_pad\|><\|vision_end\|>)\s*")


def read_rows(path: Path) -> Iterable[tuple[int, Any]]:
    """The rows of a `.jsonl` or `.parquet` file with their numbers from 1. InputError where it cannot be read."""
    return _parquet_rows(path) if path.suffix == ".parquet" else _jsonl_rows(path)


def harmless(cell: Any) -> Any:
    """A cell of a CSV file: a text that would be a formula gets an apostrophe in front."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def without_placeholders(text: Any) -> str:
    """A text without image placeholders, which a backbone sets itself; "" for None."""
    return _PLACEHOLDER.sub("", str(text)).strip() if text else ""


def relative_path(path: Any) -> str:
    """An image path below the data's folder, "" where there is none. ValueError where it points elsewhere."""
    found = str(path or "").strip()
    if found and (PurePosixPath(found).is_absolute() or ".." in PurePosixPath(found).parts):
        raise ValueError(f"the image path {found!r} is not relative to the data's folder")
    return found


def columns(row: Any) -> Mapping[str, Any]:
    """A row as a mapping. TypeError where it is none."""
    if not isinstance(row, Mapping):
        raise TypeError("not a JSON object")
    return row


def row_error(path: Path, number: int, error: Exception) -> InputError:
    """What is wrong with a row, with the file and the row named."""
    reason = f"it has no key {error}" if isinstance(error, KeyError) else str(error)
    return InputError(f"{path}, row {number}: {reason}. Correct the row, or remove it.")


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise InputError(f"{path}, row {number}: not a JSON object ({error}).") from error


def _parquet_rows(path: Path) -> Iterable[tuple[int, Any]]:
    if find_spec("pyarrow") is None:
        raise InputError(
            f"Reading {path.name} needs pyarrow: pip install pyarrow, or give the subset as .jsonl."
        )
    import pandas  # type: ignore[import-untyped]

    try:
        table = pandas.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as parquet: {error}") from error
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return enumerate(rows, start=1)
