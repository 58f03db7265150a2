"""Work that outlives a request: building a gallery in a thread of its own. Knows no page and no model.

A page that was closed and opened again finds the job where it is; `cancel` ends it at the next image.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any

from ssa_me.errors import InputError

log = logging.getLogger(__name__)
CALM = "Something went wrong on our side. Nothing was lost; please try again."
"""What the page says of an error that is a bug; the log has the details."""


@dataclass(frozen=True)
class JobState:
    """A moment of a job. `phase` is running, done, cancelled or failed; `fraction` is in [0, 1] or None if unknown."""

    phase: str = "running"
    message: str = "Starting …"
    fraction: float | None = None
    result: dict[str, Any] = field(default_factory=dict)


class Job:
    """One piece of work. `work(report, cancelled)` gets a function to report with and one that says whether to stop. It runs
    in the context of whoever made the job, to whom a GPU that is lent for it is counted."""

    def __init__(self, name: str, work: Callable[[Job], JobState]) -> None:
        self.name, self._work = name, work
        self.started = time.monotonic()
        self._state, self._lock = JobState(), threading.Lock()
        self._cancel = threading.Event()
        run = copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name=f"job {name}", daemon=True)

    def start(self) -> Job:
        self._thread.start()
        return self

    @property
    def state(self) -> JobState:
        with self._lock:
            return self._state

    @property
    def running(self) -> bool:
        return self.state.phase == "running"

    def report(self, message: str, fraction: float | None = None) -> None:
        with self._lock:
            self._state = replace(self._state, message=message, fraction=fraction)

    def cancel(self) -> None:
        self._cancel.set()

    def cancelled(self) -> bool:
        return self._cancel.is_set()

    def wait(self, timeout: float | None = None) -> JobState:
        """The state once the work has ended, or after `timeout` seconds."""
        self._thread.join(timeout)
        return self.state

    def _run(self) -> None:
        try:
            state = self._work(self)
        except InputError as error:
            state = JobState("failed", str(error))
        except Exception:
            log.exception("The job %r failed", self.name)
            state = JobState("failed", CALM)
        with self._lock:
            self._state = state
