"""Runs of queries in a workspace: starts them, keeps them, and answers what the Failures tab asks. Knows no page.

    failures/<run>/about.json    what was asked, so that a run that was stopped goes on
    failures/<run>/queries       an uploaded list, until the run is done
    failures/<run>/run.json      the finished run
    failures/votes.sqlite        side-by-side votes on rows of runs

A run's id is made of what it asks: the same queries, gallery and models find the run that is there. Of the runs the newest
`MOST_RUNS` are kept. Whoever calls `start` or `vote` has to see to it that the visitor may.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.failures_open import OpenRun
from app.failures_state import FailuresState, check_run
from app.jobs import Job, JobState
from app.making import put
from app.permalink import check_gallery_id
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.opponents import Opponents
    from ssa_me.failures import QuerySet
    from ssa_me.failures.votes import VoteStore
    from ssa_me.gallery.store import Gallery

MOST_RUNS = 24
OPEN_RUNS = 3
KINDS = {
    "captions": "Captions of the gallery's data",
    "list": "A list of queries",
    "binding": "Binding tasks, drawn anew",
}
ABOUT, LIST = "about.json", "queries"
Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a run asks. kind: of `KINDS`; gallery: an id (binding tasks have one of their own); n: binding queries of each
    of the four kinds; name: of an uploaded list; against: the version in the baseline's place."""

    kind: str
    gallery: str
    ranking: str = "vector"
    n: int = 25
    name: str = ""
    against: str | None = None

    @property
    def title(self) -> str:
        return {"list": self.name, "binding": f"Binding tasks, {self.n} of each kind"}.get(
            self.kind, "Captions"
        )


class FailureRuns:
    """The runs of the workspace `folder`. `gallery` opens a gallery by id; `opponents` give the models, waited for."""

    def __init__(self, folder: Path, gallery: Callable[[object], Gallery], opponents: Opponents) -> None:
        self._folder, self._galleries = folder / "failures", folder / "galleries"
        self._gallery, self._opponents = gallery, opponents
        self._job: Job | None = None
        self._open: OrderedDict[str, OpenRun] = OrderedDict()
        self._lock = threading.RLock()

    # Running

    @property
    def job(self) -> Job | None:
        """The run that goes on, or went on last."""
        return self._job

    def start(self, asked: Asked, data: bytes | None = None) -> Job:
        """Begin a run, or go on with it where it was stopped. data: of an uploaded list. Raises InputError where that
        cannot be."""
        if asked.kind not in KINDS:
            raise InputError(f"There are no queries of the kind {asked.kind[:20]!r}. Choose from the list.")
        if asked.kind == "list" and data is None:
            raise InputError("There is no list of queries. Choose a .txt, .csv or .jsonl file first.")
        if asked.kind != "binding":
            self._gallery(asked.gallery)
        with self._lock:
            if self._job is not None and self._job.running:
                raise InputError("Queries are running already. Wait for them, or stop them.")
            self._job = Job(asked.title, lambda job: self._work(job, asked, data))
            return self._job.start()

    def resume(self, run: object) -> Job:
        """Go on with a run that was stopped. Raises InputError where there is none."""
        folder = self._folder / check_run(run)
        asked = _asked(folder)
        return self.start(asked, (folder / LIST).read_bytes() if (folder / LIST).is_file() else None)

    def _work(self, job: Job, asked: Asked, data: bytes | None) -> JobState:
        from ssa_me.failures import mine, run_id
        from ssa_me.gallery.items import Spaces

        job.report("Waiting for the model …")
        embedder = self._opponents.embedder(asked.against)
        stopped = JobState("cancelled", "Stopped. What was done is kept: run the same again to go on.")
        gallery = self._binding(job, asked) if asked.kind == "binding" else self._gallery(asked.gallery)
        if gallery is None or not self._embedded(job, gallery, asked.against):
            return stopped
        queries = _queries(asked, data, gallery)
        run = run_id(queries, gallery, Spaces.of(embedder.info), asked.ranking)
        folder = self._folder / run
        self._begin(folder, replace(asked, gallery=gallery.folder.name), data)
        found = mine(
            gallery,
            embedder,
            queries,
            folder,
            ranking=asked.ranking,
            progress=job.report,
            cancelled=job.cancelled,
        )
        if found is None:
            return stopped
        (folder / LIST).unlink(missing_ok=True)
        with self._lock:
            self._open.pop(run, None)
            self._trim()
        skipped = f" {len(found.skipped):,} could not be ranked." if found.skipped else ""
        return JobState(
            "done", f"{len(found.table):,} queries on {found.images:,} images.{skipped}", 1.0, {"run": run}
        )

    def _embedded(self, job: Job, gallery: Gallery, against: str | None) -> bool:
        """Embed what the gallery lacks of the version `against`; whether that was done."""
        if against is None or not gallery.lacking(self._opponents.spaces(against)):
            return True
        return not put(job, gallery, [], self._opponents.model(against), adopt=False).cancelled

    def _binding(self, job: Job, asked: Asked) -> Gallery | None:
        """The gallery of binding tasks, made in a hidden folder that stays where it is stopped."""
        from ssa_me.failures.binding import binding_gallery

        name = f"binding-{asked.n}"
        if not (self._galleries / name).is_dir():
            hidden = self._galleries / f".{name}"
            embedder, _ = self._opponents.side(None, "ssa-me")
            made = binding_gallery(hidden, asked.n, embedder, progress=job.report, cancelled=job.cancelled)
            if made is None:
                return None
            hidden.rename(self._galleries / name)
        return self._gallery(name)

    def _begin(self, folder: Path, asked: Asked, data: bytes | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if data is not None:
            (folder / LIST).write_bytes(data)
        (folder / ABOUT).write_text(json.dumps(asdict(asked)), encoding="utf-8")

    def _trim(self) -> None:
        folders = sorted(self._folders(), key=lambda folder: (folder / ABOUT).stat().st_mtime)
        for folder in folders[:-MOST_RUNS]:
            shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return [path.parent for path in self._folder.glob(f"*/{ABOUT}")]

    # Kept runs

    def kept(self) -> list[Json]:
        """All runs, the newest first: id, title, gallery, ranking, and whether they are done."""
        from ssa_me.failures.mining import RUN

        runs = []
        for folder in sorted(self._folders(), key=lambda f: (f / ABOUT).stat().st_mtime, reverse=True):
            try:
                asked = _asked(folder)
            except InputError:
                continue
            runs.append(
                {
                    "id": folder.name,
                    "title": asked.title,
                    "gallery": asked.gallery,
                    "ranking": asked.ranking,
                    "against": self._opponents.name(asked.against),
                    "done": (folder / RUN).is_file(),
                }
            )
        return runs

    def open(self, run: object) -> OpenRun:
        """A finished run, of which the last `OPEN_RUNS` stay in memory. Raises InputError where it is not there."""
        from ssa_me.failures import load_run

        name = check_run(run)
        with self._lock:
            if name not in self._open:
                folder = self._folder / name
                asked = _asked(folder)
                self._open[name] = OpenRun(
                    name, asked.gallery, load_run(folder), self._gallery, self._opponents, asked.against
                )
            self._open.move_to_end(name)
            while len(self._open) > OPEN_RUNS:
                self._open.popitem(last=False)
            return self._open[name]

    def shown(self, state: FailuresState) -> OpenRun:
        """The run of a state. Raises InputError where it names none."""
        if state.run is None:
            raise InputError("No run is open. Run some queries first.")
        return self.open(state.run)

    @property
    def votes(self) -> VoteStore:
        from ssa_me.failures.votes import VoteStore

        return VoteStore(self._folder / "votes.sqlite")


def _asked(folder: Path) -> Asked:
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return Asked(**(found | {"gallery": check_gallery_id(found["gallery"])}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("This run is no longer here. Run the queries again.") from error


def _queries(asked: Asked, data: bytes | None, gallery: Gallery) -> QuerySet:
    from ssa_me.failures import caption_queries, listed_queries
    from ssa_me.failures.binding import binding_queries

    items = gallery.items(0, len(gallery))
    if asked.kind == "binding":
        return binding_queries(gallery, items)
    if data is not None:
        return listed_queries(data, asked.name, items)
    return caption_queries(items)
