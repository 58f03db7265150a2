"""Puts images into a gallery: reads, recognises duplicates, makes thumbnails, embeds, stores. Knows no page.

Files are read and decoded in threads, ahead of the model. Images are stored a batch at a time, so that
stopping, by `cancelled` or by a crash, keeps all whole batches, and another run goes on from there; until all is in, the
gallery holds a note of what is left, see `unfinished`.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.gallery.items import NewImage, NewVectors, Spaces
from ssa_me.gallery.sources import Source, opened
from ssa_me.gallery.store import Gallery
from ssa_me.gallery.unfinished import working
from ssa_me.images import MAX_PIXELS, content_hash, load_image, thumbnail
from ssa_me.samples import Record, Sample

if TYPE_CHECKING:
    from ssa_me.embedder import Embedded, SalientEmbedder

BATCH = 32
BATCH_PIXELS = 64_000_000
AHEAD_PIXELS = 128_000_000
WORKERS = min(4, os.cpu_count() or 1)

TUNING_TEXTS = 100
"""So many captions, where the data has half of them, stand for what people will type when an index is tuned."""
_PACE = 20


@dataclass(frozen=True)
class Progress:
    """How far an ingest is. stage: "unpacking" (files of the zip), "embedding" (images of the source),
    "embedding again" (images of the gallery that had no vectors of this checkpoint) or "indexing" (percent of a space).
    seconds_left: of this stage, by its pace of late; None until that is known."""

    stage: str
    done: int
    total: int
    added: int = 0
    duplicates: int = 0
    skipped: int = 0
    seconds_left: float | None = None

    def __str__(self) -> str:
        """`embedding, 64 of 1,000, 5 min left`"""
        left = "" if self.seconds_left is None else f", {_duration(self.seconds_left)} left"
        return f"{self.stage}, {self.done:,} of {self.total:,}{left}"


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did. found = added + duplicates + skipped, unless it was cancelled.

    duplicates: (name, name of the image with the same content). skipped: (name, reason). again: images that
    were in the gallery and got vectors of this checkpoint.
    """

    found: int = 0
    added: int = 0
    duplicates: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    again: int = 0
    seconds: float = 0.0
    cancelled: bool = False


def ingest(
    gallery: Gallery,
    source: Source,
    embedder: SalientEmbedder,
    *,
    copy: bool = False,
    adopt: bool = True,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> IngestReport:
    """Add the images of `source` that the gallery does not have, with captions and subjects where the data
    has them.

    Images of a folder stay where they are unless `copy`; those of a zip are always re-encoded into the
    gallery. Then all images of the gallery that lack vectors of this checkpoint get them, spaces that are large get an
    approximate index, and only then the gallery goes by this checkpoint (without `adopt` it stays with its own, and
    has both's vectors). An empty list as `source` does that alone. `progress` is called in this thread. Raises InputError
    where there is no image to read, or the gallery is read-only; single bad images are skipped and reported.
    """
    started = time.perf_counter()
    run = _Run(gallery, embedder, progress or _silent, cancelled or _never)
    try:
        with working(gallery.database, source, copy) as tell_total:
            with opened(source, gallery.folder, partial(run.tell, "unpacking")) as coming:
                tell_total(coming.total)
                run.skipped += coming.skipped
                run.found += len(coming.skipped)
                run.add(coming.parts, coming.total, copy or coming.leaving)
            run.embed_again()
            run.index()
            if adopt:
                gallery.adopt(embedder.info.checkpoint, Spaces(embedder.info.fingerprints))
    except _Cancelled:
        run.was_cancelled = True
    return run.report(time.perf_counter() - started)


def _duration(seconds: float) -> str:
    """`50 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class _Cancelled(Exception):
    """Raised where the caller wants no more."""


def _silent(_: Progress) -> None:
    """No one listens."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class _Prepared:
    """An image on its way into the gallery: new, or (by id) one that is embedded again."""

    image: Image.Image
    stored: NewImage | int


@dataclass(frozen=True)
class _Outcome:
    """What came of one task: an image to embed, the hash of a known one, or why it is skipped."""

    name: str
    prepared: _Prepared | None = None
    known_hash: str | None = None
    reason: str | None = None


@dataclass
class _Run:
    """One ingest: what has been done so far."""

    gallery: Gallery
    embedder: SalientEmbedder
    progress: Callable[[Progress], None]
    is_cancelled: Callable[[], bool]
    found: int = 0
    added: int = 0
    again: int = 0
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    was_cancelled: bool = False
    _pace: deque[tuple[str, int, float]] = field(default_factory=lambda: deque(maxlen=_PACE))

    def add(self, parts: Iterable[Sequence[Record]], total: int, copy: bool) -> None:
        known, done = self.gallery.known(), 0
        for records in parts:
            ids = frozenset(known)
            tasks = [partial(_prepare, self.gallery, record, ids, copy) for record in records]
            self._embed(tasks, "embedding", known, done, total)
            self.found += len(records)
            done += len(records)

    def embed_again(self) -> None:
        lacking = self.gallery.lacking(Spaces(self.embedder.info.fingerprints))
        tasks = [partial(_reopen, self.gallery, id) for id in lacking]
        self._embed(tasks, "embedding again", {}, 0, len(tasks))

    def index(self) -> None:
        """Make the approximate indexes that are due, tuned on captions where the data has enough."""
        spaces = Spaces(self.embedder.info.fingerprints)
        if not self.gallery.is_due(spaces):
            return
        texts = self.gallery.captions(TUNING_TEXTS)
        queries: Mapping[str, np.ndarray] | None = None
        if len(texts) >= TUNING_TEXTS // 2:
            queries = self.embedder.embed([Sample(text) for text in texts]).vectors
        self.gallery.prepare(spaces, queries, lambda done: self.tell("indexing", round(100 * done), 100))

    def tell(self, stage: str, done: int, total: int) -> None:
        """Report, then stop if that is wanted."""
        counts = self.added, len(self.duplicates), len(self.skipped)
        self.progress(Progress(stage, done, total, *counts, self._seconds_left(stage, done, total)))
        if self.is_cancelled():
            raise _Cancelled

    def _seconds_left(self, stage: str, done: int, total: int) -> float | None:
        now = time.perf_counter()
        if self._pace and (self._pace[-1][0] != stage or self._pace[-1][1] > done):
            self._pace.clear()
        self._pace.append((stage, done, now))
        _, first, begun = self._pace[0]
        return (now - begun) / (done - first) * (total - done) if done > first else None

    def report(self, seconds: float) -> IngestReport:
        return IngestReport(
            self.found,
            self.added,
            tuple(self.duplicates),
            tuple(self.skipped),
            self.again,
            seconds,
            self.was_cancelled,
        )

    def _embed(
        self,
        tasks: Sequence[Callable[[], _Outcome]],
        stage: str,
        known: dict[str, str],
        before: int,
        total: int,
    ) -> None:
        """Run `tasks` ahead and embed in batches what they give: those after the first `before` of `total`. `known`: hash
        → name, grows."""
        if not tasks:
            return
        if before == 0:
            self.tell(stage, 0, total)
        batch: list[_Prepared] = []
        told = False
        for done, outcome in enumerate(_run_ahead(tasks), start=before + 1):
            prepared = self._sort(outcome, known)
            if prepared is not None:
                batch.append(prepared)
            told = len(batch) == BATCH or sum(_pixels(p.image) for p in batch) >= BATCH_PIXELS
            if told:
                self._store(batch)
                batch = []
            elif done % BATCH == 0 and done < before + len(tasks):
                told = True
            if told:
                self.tell(stage, done, total)
        if batch:
            self._store(batch)
        if batch or not told:
            self.tell(stage, before + len(tasks), total)

    def _sort(self, outcome: _Outcome, known: dict[str, str]) -> _Prepared | None:
        """The image to embed; None where it is a duplicate or unusable, which is noted."""
        if outcome.reason is not None:
            self.skipped.append((outcome.name, outcome.reason))
            return None
        stored = outcome.prepared.stored if outcome.prepared else None
        hash = stored.hash if isinstance(stored, NewImage) else outcome.known_hash
        if hash is not None and hash in known:
            self.duplicates.append((outcome.name, known[hash]))
            return None
        if hash is not None:
            known[hash] = outcome.name
        return outcome.prepared

    def _store(self, batch: Sequence[_Prepared]) -> None:
        info = self.embedder.info
        versions = tuple(info.fingerprints)
        samples = [Sample(image=prepared.image) for prepared in batch]
        embedded = self.embedder.embed(samples, versions=versions, subjects=True)
        found = _rows(embedded, Spaces(info.fingerprints), versions)
        self.gallery.write([prepared.stored for prepared in batch], found)
        again = sum(isinstance(prepared.stored, int) for prepared in batch)
        self.again += again
        self.added += len(batch) - again


def _rows(embedded: Embedded, spaces: Spaces, versions: Sequence[str]) -> NewVectors:
    rows = {spaces.images(v): [row[None] for row in embedded.vectors[v]] for v in versions}
    rows |= {spaces.subjects(v): list(embedded.subject_vectors[v]) for v in versions}
    return NewVectors(spaces.head, embedded.regions, rows)


def _run_ahead(tasks: Sequence[Callable[[], _Outcome]]) -> Iterator[_Outcome]:
    """Outcomes in order; as many tasks run ahead as keep the decoded images within `AHEAD_PIXELS`."""
    waiting: deque[Future[_Outcome]] = deque()
    largest, submitted = MAX_PIXELS, 0
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="ingest")
    try:
        while submitted < len(tasks) or waiting:
            window = max(WORKERS, min(2 * BATCH, AHEAD_PIXELS // largest))
            while submitted < len(tasks) and len(waiting) < window:
                waiting.append(pool.submit(tasks[submitted]))
                submitted += 1
            outcome = waiting.popleft().result()
            if outcome.prepared:
                # forgets slowly, so that one huge image among small ones does not throttle the rest for good
                largest = max(_pixels(outcome.prepared.image), largest * 7 // 8, 1)
            yield outcome
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pixels(image: Image.Image) -> int:
    return image.width * image.height


def _prepare(gallery: Gallery, record: Record, known: frozenset[str], copy: bool) -> _Outcome:
    """Read one image of the source; runs in a thread."""
    name = record.file_name.encode("utf-8", "replace").decode("utf-8")
    try:
        data = _read(record.path, name)
        hash = content_hash(data)
        if hash in known:
            return _Outcome(name, known_hash=hash)
        image = load_image(data, name)
    except InputError as error:
        return _Outcome(name, reason=_reason(name, error))
    _save_jpeg(thumbnail(image), gallery.thumbnail_path(hash), quality=85)
    path = gallery.copy_path(hash) if copy else record.path
    if copy:
        _save_jpeg(image, path, quality=95)
    extra = dict(record.extra) | ({"split": record.split} if record.split else {})
    stored = NewImage(hash, name, path, image.width, image.height, record.captions, record.subjects, extra)
    return _Outcome(name, _Prepared(image, stored))


def _reopen(gallery: Gallery, id: int) -> _Outcome:
    """Read one image of the gallery again; runs in a thread."""
    name = gallery.item(id).file_name
    try:
        return _Outcome(name, _Prepared(gallery.image(id), id))
    except InputError as error:
        return _Outcome(name, reason=_reason(name, error))


def _read(path: Path, name: str) -> bytes:
    try:
        str(path).encode("utf-8")
        return path.read_bytes()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} has a path that is not valid UTF-8. Rename it.") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from error


def _reason(name: str, error: InputError) -> str:
    """The message without the name that it begins with, since the report names the image already."""
    return str(error).removeprefix(f"{name} ").removeprefix("is ")


def _save_jpeg(image: Image.Image, path: Path, quality: int) -> None:
    """Write the pixels (and nothing else of the file they came from), whole or not at all; once."""
    try:
        os.utime(path)  # it is wanted from now on, in case that it was to be deleted
        return
    except FileNotFoundError:
        pass
    encoded = io.BytesIO()
    image.save(
        encoded,
        format="JPEG",
        quality=quality,
        subsampling=0 if quality > 90 else 2,
        exif=b"",
        icc_profile=b"",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as unfinished:
        unfinished.write(encoded.getvalue())
    os.chmod(unfinished.name, 0o644)
    os.replace(unfinished.name, path)
