"""Which rows of a failure table are shown, in which order, and how a column's values are spread over them.

Numpy columns only, so that 50,000 rows answer at once. It knows no page and no gallery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssa_me.errors import InputError
from ssa_me.failures.slices import Tag, Tags
from ssa_me.failures.table import NUMBERS, OUTCOMES, FailureTable, Outcome

CUTOFFS = (1, 5, 10)
HISTOGRAMS = ("gain", "alignment", "length", "size")
TEXTS = ("query", "kind", "phrase")
_BINS = 20
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


@dataclass(frozen=True)
class Selection:
    """Rows of an outcome at the cut-off k that hold `text`, lie within `ranges` (column → low, high, both included),
    carry all `tags` and have their target among `images` (None: any), sorted by `sort`."""

    outcome: Outcome = "all"
    k: int = 1
    text: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tags: tuple[Tag, ...] = ()
    images: frozenset[int] | None = None
    sort: str = "gain"
    descending: bool = True

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise InputError(f"There is no outcome {self.outcome!r}. Choose one of {', '.join(OUTCOMES)}.")
        if self.k not in CUTOFFS:
            raise InputError(f"The cut-off is {self.k!r}. Choose one of {', '.join(map(str, CUTOFFS))}.")
        unknown = sorted(set(self.ranges) - set(NUMBERS))
        if unknown:
            raise InputError(
                f"There is no column {unknown[0][:40]!r} of numbers. Choose from {', '.join(NUMBERS)}."
            )


def chosen(table: FailureTable, selection: Selection, tags: Tags, *, without: str = "") -> np.ndarray:
    """Which rows (Q,) a selection takes; `without` leaves out the range of that column, for its histogram."""
    mask = table.outcome(selection.outcome, selection.k)
    for name, (low, high) in selection.ranges.items():
        if name != without:
            mask &= (table.numbers[name] >= low) & (table.numbers[name] <= high)
    for tag in selection.tags:
        mask &= tags.holding(tag)
    if selection.images is not None:
        mask &= np.isin(table.numbers["target"], list(selection.images))
    if wanted := selection.text.casefold().strip():
        mask &= np.fromiter((wanted in query for query in table.lowered), dtype=bool, count=len(table))
    return mask


def select(table: FailureTable, selection: Selection, tags: Tags) -> np.ndarray:
    """The numbers (R,) of the rows that a selection takes, in its order; what is not known stands last, equal values in
    the table's order. Raises InputError for a column that is not there."""
    rows = np.flatnonzero(chosen(table, selection, tags))
    if selection.sort in NUMBERS:
        keys = table.numbers[selection.sort][rows]
        keys = np.where(np.isnan(keys), np.inf, -keys if selection.descending else keys)
        return rows[np.argsort(keys, kind="stable")]
    if selection.sort not in TEXTS and selection.sort not in table.extra:
        raise InputError(f"There is no column {selection.sort[:40]!r} to sort by.")
    places = table.text_places(selection.sort)[rows]
    return rows[np.argsort(-places if selection.descending else places, kind="stable")]


@dataclass(frozen=True)
class Histogram:
    """How many of all rows and of the selected ones lie between the `edges` (B + 1,) of each bin; the last edge is part
    of the last bin. unknown: how many selected rows have no value."""

    column: str
    edges: tuple[float, ...]
    total: tuple[int, ...]
    selected: tuple[int, ...]
    unknown: int

    def to_json(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in self.__dict__.items()
        }


def histogram(table: FailureTable, column: str, mask: np.ndarray) -> Histogram:
    """The spread of a column over all rows and over those of `mask` (Q,)."""
    values = table.numbers[column]
    known = values[~np.isnan(values)]
    edges = _edges(column, known)
    inside = values[mask]
    here = inside[~np.isnan(inside)]
    return Histogram(
        column,
        tuple(float(edge) for edge in edges),
        tuple(int(n) for n in np.histogram(known, edges)[0]),
        tuple(int(n) for n in np.histogram(here, edges)[0]),
        len(inside) - len(here),
    )


def _edges(column: str, values: np.ndarray) -> np.ndarray:
    """Ranks gained: steps that widen with their distance from none; words: whole numbers; else equal widths."""
    if len(values) == 0:
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if column == "gain":
        far = max(1.0, -low, high)
        steps = [step for step in _STEPS if step <= far]
        down, up = [0.5 - step for step in reversed(steps)], [step - 0.5 for step in steps]
        return np.array([-far - 0.5, *down, *up, far + 0.5])
    if column == "length":
        width = max(1, int(np.ceil((high - low + 1) / _BINS)))
        return np.arange(low - 0.5, high + width + 0.5, width)
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    return np.linspace(low, high, _BINS + 1)
