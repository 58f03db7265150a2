"""Automatic slices: which words, colours, subjects, sizes or metadata are more frequent among failures than by chance.

A query carries tags: (column, value). Each tag is tested by Fisher's exact test and corrected by Benjamini and Hochberg
over all tags that were tested. It knows no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssa_me.failures.statistics import adjusted, upper_tail
from ssa_me.failures.table import FailureTable
from ssa_me.failures.words import colours_of, words_of

Tag = tuple[str, str]
"""A column of `COLUMNS` or of the data, and a value of it."""
COLUMNS = ("kind", "subject", "colour", "word", "size", "length", "aligned")
SIZES = ((0.05, "below 5 %"), (0.15, "5 to 15 %"), (0.35, "15 to 35 %"), (float("inf"), "above 35 %"))
LENGTHS = ((3, "up to 3"), (6, "4 to 6"), (10, "7 to 10"), (float("inf"), "over 10"))
ALIGNED = {0.0: "aligned", 1.0: "misaligned"}
LEAST = 5
MOST_VALUES = 60
KEPT_Q = 0.05


@dataclass(frozen=True)
class Slice:
    """A tag that failures carry more often. count: queries that carry it, failed of which `failures` did; expected: so
    many would have by chance; lift: their ratio. p: Fisher's exact test, one-sided; q: corrected for all tags tested."""

    column: str
    value: str
    count: int
    failures: int
    expected: float
    lift: float
    p: float
    q: float

    def to_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Tags:
    """All tags of a table of `total` queries: occurrence i is tag number `numbers[i]` (O,) of query `rows[i]` (O,), each
    tag once a query."""

    names: tuple[Tag, ...]
    rows: np.ndarray
    numbers: np.ndarray
    total: int

    def holding(self, tag: Tag) -> np.ndarray:
        """Which queries (Q,) carry `tag`; none where nobody does."""
        mask = np.zeros(self.total, dtype=bool)
        if tag in self.names:
            mask[self.rows[self.numbers == self.names.index(tag)]] = True
        return mask


def tags_of(table: FailureTable) -> Tags:
    """The tags of every query: its kind, its weakest phrase, colours and words, size of the subject, length, whether it
    is misaligned, and columns of the data that have few values."""
    names: dict[Tag, int] = {}
    rows: list[int] = []
    numbers: list[int] = []
    free = [name for name, values in table.extra.items() if 1 < len(set(values)) <= MOST_VALUES]
    for at in range(len(table)):
        for tag in dict.fromkeys(_tags(table, at, free)):
            rows.append(at)
            numbers.append(names.setdefault(tag, len(names)))
    return Tags(tuple(names), np.array(rows, dtype=np.int64), np.array(numbers, dtype=np.int64), len(table))


def over_represented(tags: Tags, failed: np.ndarray, among: np.ndarray | None = None) -> list[Slice]:
    """Tags with q ≤ `KEPT_Q` among the `failed` (Q,) queries of `among` (Q,; default: all), the surest first.

    Only tags of at least `LEAST` queries, and not of all, are tested. Of tags that the very same queries carry, one is
    kept: a colour before its word.
    """
    inside = np.ones(tags.total, dtype=bool) if among is None else among
    failed = failed & inside
    total, marked = int(inside.sum()), int(failed.sum())
    if not 0 < marked < total:
        return []
    size = len(tags.names)
    count = np.bincount(tags.numbers[inside[tags.rows]], minlength=size)
    hits = np.bincount(tags.numbers[failed[tags.rows]], minlength=size)
    tested = np.flatnonzero((count >= LEAST) & (count < total))
    if len(tested) == 0:
        return []
    p = upper_tail(hits[tested], count[tested], marked, total)
    found = [
        _slice(tags.names[at], int(count[at]), int(hits[at]), marked / total, float(p_value), float(q_value))
        for at, p_value, q_value in zip(tested, p, adjusted(p), strict=True)
        if q_value <= KEPT_Q
    ]
    found.sort(key=lambda s: (s.p, -s.lift, _order(s.column), s.value))
    return list(_distinct(found, tags))


def _slice(tag: Tag, count: int, failures: int, rate: float, p: float, q: float) -> Slice:
    expected = count * rate
    return Slice(*tag, count, failures, expected, failures / expected, p, q)


def _order(column: str) -> int:
    return COLUMNS.index(column) if column in COLUMNS else len(COLUMNS)


def _distinct(slices: Iterable[Slice], tags: Tags) -> Iterator[Slice]:
    seen: set[bytes] = set()
    for found in slices:
        carriers = tags.holding((found.column, found.value)).tobytes()
        if carriers not in seen:
            seen.add(carriers)
            yield found


def _tags(table: FailureTable, at: int, free: Iterable[str]) -> Iterator[Tag]:
    text = table.queries[at]
    yield "kind", table.kinds[at]
    if table.phrases[at]:
        yield "subject", table.phrases[at]
    colours = colours_of(text)
    yield from (("colour", colour) for colour in colours)
    yield from (("word", word) for word in words_of(text) if word not in colours)
    if (size := _bucket(float(table.numbers["size"][at]), SIZES)) is not None:
        yield "size", size
    if (length := _bucket(float(table.numbers["length"][at]), LENGTHS)) is not None:
        yield "length", length
    if (aligned := ALIGNED.get(float(table.numbers["misaligned"][at]))) is not None:
        yield "aligned", aligned
    yield from ((name, table.extra[name][at]) for name in free if table.extra[name][at])


def _bucket(value: float, buckets: tuple[tuple[float, str], ...]) -> str | None:
    return None if np.isnan(value) else next(name for most, name in buckets if value <= most)
