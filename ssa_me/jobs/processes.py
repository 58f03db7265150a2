"""A process by number and start time, so that another one which got its number later is not taken for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

_CLOCK = 2.0
"""Seconds by which a start time may seem to move when the machine's clock is set."""


@dataclass(frozen=True)
class Process:
    """A process of this machine: its number, and when it started in seconds since 1970."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process of that number; None where there is none."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Process | None:
        return cls(int(value["pid"]), float(value["started"])) if value else None

    def to_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "started": self.started}

    def alive(self) -> bool:
        """Whether it still runs; one that has ended and waits for its parent to notice does not."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _CLOCK
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where the process is gone."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return
