"""Putting images into the galleries of a workspace: new ones, more images, what was interrupted, vectors of another model.

One such job runs at a time. Imports no gradio; whether a visitor may ask for it is the tab's to say.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import permalink, unfinished
from app.counts import IngestCounts
from app.jobs import Job, JobState
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.gallery.ingest import IngestReport, Progress, Source
    from ssa_me.gallery.store import Gallery
    from ssa_me.gallery.unfinished import Left


class Making:
    """What the Gallery tab asks to be put in. Thread-safe as the workspace is."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._job: Job | None = None
        self._lock = threading.Lock()

    @property
    def job(self) -> Job | None:
        """The job that puts images into a gallery, running or last run."""
        return self._job

    def begin(self, name: str, files: Sequence[Path]) -> Job:
        """Begin to build a gallery from uploaded files (images, zips). Raises InputError where that cannot be."""
        clean = " ".join(name.split())[:60]
        if not clean:
            raise InputError("The new gallery has no name. Give it one.")
        if not files:
            raise InputError("There are no files to make a gallery of. Choose a zip or images first.")
        with self._lock:
            self._check_idle()
            gallery_id = self._free_id(clean)
            self._job = Job(clean, lambda job: self._build(job, gallery_id, clean, files))
            return self._job.start()

    def add(self, gallery_id: object, files: Sequence[Path]) -> Job:
        """Begin to add uploaded files to a gallery that is there. Raises InputError where that cannot be."""
        gallery, name = self._workspace.gallery(gallery_id), permalink.check_gallery_id(gallery_id)
        if not files or not all(file.is_file() for file in files):
            raise InputError("There are no files to add (any more). Choose a zip or images first.")
        with self._lock:
            self._check_idle()
            self._job = Job(gallery.name, lambda job: self._extend(job, name, gallery, files))
            return self._job.start()

    def resume(self, gallery_id: object = None) -> Job:
        """Go on with what was interrupted in a gallery, of None with what was cancelled last. Raises InputError where there is
        nothing left to do."""
        chosen = gallery_id or (self._job.state.result.get("gallery") if self._job else None)
        if chosen is None:
            raise InputError(unfinished.NOTHING)
        gallery, name = self._workspace.gallery(chosen), permalink.check_gallery_id(chosen)
        with self._lock:
            self._check_idle()
            unfinished.check_interrupted(gallery)
            self._job = Job(gallery.name, lambda job: self._extend(job, name, gallery))
            return self._job.start()

    def give_up(self, gallery_id: object) -> None:
        """Leave a gallery whose making was interrupted as it is; one without images that was to hold uploads alone goes. Raises
        InputError where nothing was interrupted."""
        gallery, name = self._workspace.gallery(gallery_id), permalink.check_gallery_id(gallery_id)
        with self._lock:
            self._check_idle()
            if unfinished.give_up(gallery):
                self._workspace.discard(name)

    def refresh(self, gallery_id: object, against: str | None = None) -> Job:
        """Begin to embed those images of a gallery that the loaded model has no vectors of, then those that the version
        `against` has none of. Raises InputError where there is no such gallery or version, or another job runs."""
        gallery, embedder = self._workspace.gallery(gallery_id), self._workspace.embedder()
        models = [embedder] if against is None else [embedder, self._workspace.opponents.model(against)]

        def work(job: Job) -> JobState:
            again, result = 0, {"gallery": gallery_id}
            for model in models:
                report = put(job, gallery, [], model, adopt=model is embedder)
                again += report.again
                if report.cancelled:
                    return JobState(
                        "cancelled", f"Cancelled. {gallery.name} lacks some vectors still.", None, result
                    )
            return JobState("done", f"{gallery.name} is ready: {again:,} images embedded again.", 1.0, result)

        with self._lock:
            self._check_idle()
            self._job = Job(gallery.name, work)
            return self._job.start()

    def _check_idle(self) -> None:
        if self._job and self._job.running:
            raise InputError("Another gallery is being made. Wait for it, or cancel it.")

    def lacking(self, gallery: Gallery, against: str | None) -> int:
        """How many images have no vectors of one of the models that are compared; 0 while none is loaded."""
        from ssa_me.gallery.items import Spaces

        info = self._workspace.model()
        if info is None:
            return 0
        spaces = [Spaces(info.fingerprints)]
        spaces += [self._workspace.opponents.spaces(against)] if against else []
        return max(len(gallery.lacking(needed)) for needed in spaces)

    def _build(self, job: Job, gallery_id: str, name: str, files: Sequence[Path]) -> JobState:
        job.report("Waiting for the model …")
        embedder = self._workspace.embedder()
        with unfinished.making(self._workspace.galleries_folder / gallery_id, name, embedder) as new:
            unfinished.hold(new, files)
        gallery = self._workspace.gallery(gallery_id)
        try:
            counts = self._take(job, gallery, unfinished.left(gallery), embedder)
            return counts.made(name, len(gallery), gallery_id, job.cancelled())
        except InputError as error:
            return JobState("failed", str(error), None, {"gallery": gallery_id} if len(gallery) else {})
        finally:
            if len(gallery) == 0:
                self._workspace.discard(gallery_id)

    def _extend(self, job: Job, gallery_id: str, gallery: Gallery, files: Sequence[Path] = ()) -> JobState:
        job.report("Waiting for the model …")
        left = unfinished.hold(gallery, files) if files else unfinished.left(gallery)
        counts = self._take(job, gallery, left, self._workspace.embedder())
        result = counts.to_json() | {"gallery": gallery_id}
        # what an interrupted ingest of the same files had taken in already is no duplicate
        result["duplicates"] = [pair for pair in result["duplicates"] if pair[0] != pair[1]]
        holds = f"{gallery.name} holds {len(gallery):,} images, {counts.added:,} of them new"
        if job.cancelled():
            return JobState("cancelled", f"Cancelled. {holds}.", None, result)
        return JobState("done", f"{holds}.", 1.0, result)

    def _take(
        self, job: Job, gallery: Gallery, left: Sequence[Left], embedder: SalientEmbedder
    ) -> IngestCounts:
        """Ingest what is left to be put in, one source after another."""
        counts = IngestCounts()
        for part in left:
            counts.add(part.source, partial(put, job, gallery, part.source, embedder, part.copy))
        return counts

    def _free_id(self, name: str) -> str:
        from app.workspace import DEMO

        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "gallery"
        return unfinished.free_id(self._workspace.galleries_folder, stem, DEMO)


def put(
    job: Job,
    gallery: Gallery,
    source: Source,
    embedder: SalientEmbedder,
    copy: bool = False,
    adopt: bool = True,
) -> IngestReport:
    """Ingest a source, telling `job` how far it is and ending where that is cancelled."""
    from ssa_me.gallery.ingest import ingest

    def progress(now: Progress) -> None:
        job.report(f"{gallery.name}: {now}", now.done / max(1, now.total))

    options: dict[str, Any] = {"copy": copy, "adopt": adopt, "cancelled": job.cancelled}
    return ingest(gallery, source, embedder, progress=progress, **options)
