"""Progress of a long attribution, and its end on request. It knows nothing of what is computed."""

from __future__ import annotations

from collections.abc import Callable

from ssa_me.errors import InputError

Progress = Callable[[int, int], None]
"""Called with the number of images and texts that were scored, and how many there will be, about."""


class Cancelled(InputError):
    """The attribution was stopped on request; nothing of it is kept."""

    def __init__(self) -> None:
        super().__init__("The attribution was cancelled.")


class Watch:
    """Counts what was scored, reports it, and raises Cancelled once `cancelled` says so."""

    def __init__(
        self, total: int, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
    ) -> None:
        self.total, self.done = max(1, total), 0
        self._progress, self._cancelled = progress, cancelled

    def tick(self, count: int) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled
        self.done += count
        self.total = max(self.total, self.done)
        if self._progress is not None:
            self._progress(self.done, self.total)

    def finish(self) -> None:
        """Say that all is done, however few it took."""
        if self._progress is not None:
            self._progress(self.total, self.total)
