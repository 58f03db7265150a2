"""What the Failures tab shows, as parameters of the page's address, and back. Knows no page and no model.

    fr=RUN & fo=OUTCOME & fk=CUT-OFF & fq=TEXT & fb=COLUMN:LOW..HIGH,… & ft=COLUMN:VALUE,… & fl=VERSION:METHOD:X,Y,…
    & fs=[-]COLUMN & fp=OFFSET

All but the run are left out where they are as they begin. Values of `ft` are percent-encoded once more, so that they may
hold commas; `fs` begins with a minus where it descends; `fl` is a lasso on the map, in its coordinates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from ssa_me.errors import InputError

MOST_TAGS, MOST_CORNERS, LONGEST = 8, 80, 200
_RUN = re.compile(r"[0-9a-f]{16}")
_VERSIONS = ("baseline", "ssa-me")
_WRONG = "The link to these failures is not whole. Open the run again from the list."


@dataclass(frozen=True)
class Lasso:
    """A closed line on the map of `version` made by `method`; corners (x, y)."""

    version: str
    method: str
    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FailuresState:
    """Which rows of which run are shown. ranges: column → low, high; tags: (column, value)."""

    run: str | None = None
    outcome: str = "all"
    k: int = 1
    text: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tags: tuple[tuple[str, str], ...] = ()
    lasso: Lasso | None = None
    sort: str = "gain"
    descending: bool = True
    offset: int = 0


def check_run(value: object) -> str:
    """`value` as the id of a run; InputError where it cannot be one (it also becomes the name of a folder)."""
    if not isinstance(value, str) or not _RUN.fullmatch(value):
        raise InputError("That is no run of queries. Choose one from the list.")
    return value


def parse(parameters: Mapping[str, Any]) -> FailuresState:
    """The state that parameters describe, others being left alone. InputError where one makes no sense."""
    given = {name: str(value)[:4000] for name, value in parameters.items() if name.startswith("f") and value}
    sort = given.get("fs", "-gain")
    try:
        return FailuresState(
            run=check_run(given["fr"]) if "fr" in given else None,
            outcome=given.get("fo", "all"),
            k=_whole(given.get("fk", "1")),
            text=given.get("fq", "")[:LONGEST],
            ranges=dict(_range(part) for part in _parts(given.get("fb", ""))),
            tags=tuple(_tag(part) for part in _parts(given.get("ft", ""))[:MOST_TAGS]),
            lasso=_lasso(given["fl"]) if "fl" in given else None,
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
            offset=_whole(given.get("fp", "0")),
        )
    except ValueError as error:
        raise InputError(_WRONG) from error


def build(state: FailuresState) -> dict[str, str]:
    """The parameters of a state, without those that are as they begin."""
    begin = FailuresState()
    found = {"fr": state.run or ""}
    if state.outcome != begin.outcome:
        found["fo"] = state.outcome
    if state.k != begin.k:
        found["fk"] = str(state.k)
    found["fq"] = state.text
    found["fb"] = ",".join(f"{name}:{low:.6g}..{high:.6g}" for name, (low, high) in state.ranges.items())
    found["ft"] = ",".join(
        f"{quote(column, safe='')}:{quote(value, safe='')}" for column, value in state.tags
    )
    if state.lasso:
        corners = ",".join(f"{x:.3g},{y:.3g}" for x, y in state.lasso.corners)
        found["fl"] = f"{state.lasso.version}:{state.lasso.method}:{corners}"
    if (state.sort, state.descending) != (begin.sort, begin.descending):
        found["fs"] = f"{'-' if state.descending else ''}{state.sort}"
    if state.offset:
        found["fp"] = str(state.offset)
    return {name: value for name, value in found.items() if value}


def _parts(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _range(part: str) -> tuple[str, tuple[float, float]]:
    name, _, span = part.partition(":")
    low, dots, high = span.partition("..")
    if not dots:
        raise ValueError(part)
    return name, (_number(low), _number(high))


def _tag(part: str) -> tuple[str, str]:
    column, _, value = part.partition(":")
    return unquote(column)[:LONGEST], unquote(value)[:LONGEST]


def _lasso(text: str) -> Lasso:
    version, method, numbers = text.split(":", 2)
    values = [_number(part) for part in _parts(numbers)]
    if version not in _VERSIONS or len(values) % 2 or not 6 <= len(values) <= 2 * MOST_CORNERS:
        raise ValueError(text)
    return Lasso(version, method, tuple(zip(values[::2], values[1::2], strict=True)))
