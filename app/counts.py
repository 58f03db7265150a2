"""What several ingests into one gallery came to, as the page tells it. Knows no gallery and runs no job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.jobs import JobState
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.gallery.ingest import IngestReport, Source


class IngestCounts:
    """What several ingests into one gallery came to."""

    def __init__(self) -> None:
        self.found = self.added = 0
        self.seconds = 0.0
        self.duplicates: list[tuple[str, str]] = []
        self.skipped: list[tuple[str, str]] = []

    def add(self, source: Source, run: Callable[[], IngestReport]) -> None:
        """Add what `run` reports; an archive that cannot be used at all counts as one file that was skipped."""
        try:
            report = run()
        except InputError as error:
            if not isinstance(source, Path):
                raise
            self.found += 1
            self.skipped.append(
                (source.name, str(error).removeprefix(f"{source} ").replace(str(source), source.name))
            )
            return
        self.found += report.found
        self.added += report.added
        self.seconds += report.seconds
        self.duplicates += report.duplicates
        self.skipped += report.skipped

    def to_json(self) -> dict[str, Any]:
        pairs = {"duplicates": [list(p) for p in self.duplicates], "skipped": [list(p) for p in self.skipped]}
        return {"found": self.found, "added": self.added, "seconds": round(self.seconds, 2)} | pairs

    def made(self, name: str, count: int, gallery_id: str, cancelled: bool) -> JobState:
        """How the making of a gallery ended that holds `count` images now; without any it is none."""
        result = self.to_json()
        if count == 0 and cancelled:
            said = "Cancelled before the first images were in; no gallery was made."
            return JobState("cancelled", said, None, result)
        if count == 0:
            return JobState("failed", "None of the files could be used; no gallery was made.", None, result)
        result["gallery"] = gallery_id
        holds = f"{count:,} image{'' if count == 1 else 's'}"
        if cancelled:
            said = f"Cancelled. {name} holds the {holds} that were in by then."
            return JobState("cancelled", said, None, result)
        return JobState("done", f"{name} is ready with {holds}.", 1.0, result)
