"""What is known of a job, and how the end of its command is read. It starts nothing.

waiting → running → done | failed | interrupted
waiting, running → paused, stopped (asked for) → waiting (resumed)
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ssa_me.jobs.processes import Process

Phase = Literal["waiting", "running", "paused", "stopped", "interrupted", "failed", "done"]
Wish = Literal["pause", "stop"]
PHASES: tuple[Phase, ...] = get_args(Phase)
ENDED: tuple[Phase, ...] = ("stopped", "interrupted", "failed", "done")
RESUMABLE: tuple[Phase, ...] = ("paused", "stopped", "interrupted", "failed")

_GONE = "It ended without a word: the machine or its session went down. What was saved by then is kept; resume goes on there."
_KILLED = (
    "The system killed it, most likely because memory ran out. What was saved by then is kept: resume with a smaller "
    "batch or more chunks, or on a machine with more memory."
)
_MEMORY = "It ran out of memory. Take a smaller batch or more chunks; what was saved by then is kept."
_DISK = "The disk is full. Free some space and resume: it goes on from the last state that was saved."
_READ_ONLY = "Its folder cannot be written. Allow writing there and resume."
_OUTSIDE = "It was told to stop from outside. Resume goes on where it was."


@dataclass(frozen=True)
class Job:
    """One command of `python -m ssa_me` with its state. `arguments` may hold {folder}, the job's own folder; times are
    seconds since 1970; `wish` is what the running command was told; `details` are its owner's."""

    id: str
    kind: str
    name: str
    arguments: tuple[str, ...]
    created: float
    folder: Path
    details: Mapping[str, Any] = field(default_factory=dict)
    phase: Phase = "waiting"
    wish: Wish | None = None
    reason: str = ""
    started: float | None = None
    ended: float | None = None
    process: Process | None = None

    def to_json(self) -> dict[str, Any]:
        table = {key: value for key, value in vars(self).items() if key != "folder"}
        return table | {"process": self.process.to_json() if self.process else None}

    @classmethod
    def from_json(cls, folder: Path, table: Mapping[str, Any]) -> Job:
        """The job of `folder`. ValueError, KeyError or TypeError where the table is no job's."""
        if table["phase"] not in PHASES:
            raise ValueError(f"no phase {table['phase']!r}")
        process = Process.from_json(table.get("process"))
        known = {f.name for f in dataclasses.fields(cls)} - {"folder", "process", "arguments"}
        values = {key: value for key, value in table.items() if key in known}
        return cls(**values, folder=folder, process=process, arguments=tuple(table["arguments"]))

    def command(self) -> list[str]:
        """The arguments with the job's folder filled in."""
        return [argument.replace("{folder}", str(self.folder)) for argument in self.arguments]


def ending(wish: Wish | None, code: int | None, stderr: str, answered: bool) -> tuple[Phase, str]:
    """Phase and reason of a command that has ended. `code` None: nobody saw it end; negative: killed by that signal;
    `answered`: it came to its own end, done or not, and printed its summary."""
    if code == 0:
        return "done", ""
    if wish is not None:
        return ("paused" if wish == "pause" else "stopped"), ""
    if code is None:
        return "interrupted", known_trouble(stderr) or _GONE
    if code == -signal.SIGTERM or answered:
        return "interrupted", _OUTSIDE
    if code == -signal.SIGKILL:
        return "failed", _KILLED
    return "failed", known_trouble(stderr) or last_words(stderr) or f"It ended with exit code {code}."


def known_trouble(stderr: str) -> str:
    """A sentence for what happens to programs anywhere: memory, disk, folders; "" where it is something else."""
    text = stderr[-4000:].lower()
    if "out of memory" in text or "can't allocate memory" in text or "memoryerror" in text:
        return _MEMORY
    if "no space left on device" in text or "disk quota exceeded" in text:
        return _DISK
    if "read-only file system" in text or "permission denied" in text:
        return _READ_ONLY
    return ""


def last_words(stderr: str) -> str:
    """The last line that says something: an error of the command line without its mark, or the exception."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ")[:500] if lines else ""
