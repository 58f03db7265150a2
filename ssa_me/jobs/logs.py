"""Reads the log of a training run, JSON lines, for people who watch it: curves, how far it is, how long it will take."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NOT_LOSSES = frozenset(
    {"time", "stage", "step", "steps", "samples_per_s", "learning_rate", "seconds_left", "held_out"}
)
_MOST_BYTES = 8 * 2**20
MOST_POINTS = 240


@dataclass(frozen=True)
class Curve:
    """One number over the steps of one stage, as (step, value) in order, at most `MOST_POINTS` of them."""

    stage: str
    name: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class TrainingLog:
    """What a log says by now. stage, step and steps are where it is; seconds_left is of that stage alone; rates are
    samples a second by stage."""

    losses: tuple[Curve, ...] = ()
    held_out: tuple[Curve, ...] = ()
    stage: str | None = None
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    time: float | None = None


def read_log(path: Path) -> TrainingLog:
    """The log in `path`, empty where there is none. A step that was logged twice, as after a resume, counts as it was the
    last time; a line that is damaged or half written is passed over."""
    losses: dict[tuple[str, str], dict[int, float]] = {}
    held_out: dict[tuple[str, str], dict[int, float]] = {}
    rates: dict[str, float] = {}
    last: dict[str, Any] = {}
    for entry in _entries(path):
        stage, step = str(entry["stage"]), int(entry["step"])
        for key, value in entry.items():
            if key not in _NOT_LOSSES and _is_number(value):
                losses.setdefault((stage, key), {})[step] = float(value)
        for key, value in (entry.get("held_out") or {}).items():
            if _is_number(value):
                held_out.setdefault((stage, key), {})[step] = float(value)
        if _is_number(entry.get("samples_per_s")):
            rates[stage] = float(entry["samples_per_s"])
            last = entry
    left: Any = last.get("seconds_left")
    return TrainingLog(
        losses=_curves(losses),
        held_out=_curves(held_out),
        stage=last.get("stage"),
        step=int(last.get("step", 0)),
        steps=int(last.get("steps", 0)),
        seconds_left=float(left) if _is_number(left) else None,
        rates=rates,
        time=last.get("time"),
    )


def tail(path: Path, lines: int = 40) -> list[str]:
    """The last lines of a text file; none where there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 400 * lines))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _MOST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "stage" in entry and isinstance(entry.get("step"), int):
            yield entry


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _curves(found: Mapping[tuple[str, str], Mapping[int, float]]) -> tuple[Curve, ...]:
    return tuple(Curve(stage, name, thinned(sorted(v.items()))) for (stage, name), v in found.items())


def thinned(points: list[tuple[int, float]], most: int = MOST_POINTS) -> tuple[tuple[int, float], ...]:
    """At most `most` of the points, evenly, the last one always among them."""
    every = math.ceil(len(points) / most) if points else 1
    kept = points[::-1][::every][::-1]
    return tuple(kept)
