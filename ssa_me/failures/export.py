"""Rows of a failure table as CSV and JSON, for other programs. It knows no page.

A cell that a spreadsheet would read as a formula gets an apostrophe in front: queries may come from strangers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ssa_me.failures.table import FailureRow, FailureTable
from ssa_me.tables import harmless

_FIRST = (
    *("query", "kind", "target", "rank_baseline", "rank_ssa_me", "gain", "alignment", "misaligned", "phrase"),
    *("size", "length", "top_baseline", "top_ssa_me"),
)


def rows_json(table: FailureTable, rows: Iterable[int], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """One object a row; images by the names of their ids, where there is one."""
    return [_named(table.row(int(at)), names) for at in rows]


def rows_csv(table: FailureTable, rows: Iterable[int], names: Mapping[int, str]) -> str:
    """The same with a header, free columns after the others."""
    header = [*_FIRST, *(name for name in table.extra if name not in _FIRST)]
    lines = []
    for found in rows_json(table, rows, names):
        flat = {name: value for name, value in found.items() if name != "extra"} | {
            name: value for name, value in found["extra"].items() if name not in _FIRST
        }
        lines.append([flat.get(name) for name in header])
    return csv_text(header, lines)


def csv_text(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A CSV file of `lines`; None is an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(name) for name in header])
    writer.writerows([_cell(value) for value in line] for line in lines)
    return out.getvalue()


def _named(row: FailureRow, names: Mapping[int, str]) -> dict[str, Any]:
    found = row.to_json()
    for column in ("target", "top_baseline", "top_ssa_me"):
        found[column] = names.get(found[column], found[column])
    return found | {"targets": [names.get(id, id) for id in found["targets"]]}


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else harmless(value)
