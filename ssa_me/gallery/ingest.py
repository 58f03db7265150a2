"""Puts images into a gallery: reads, recognises duplicates, makes thumbnails, embeds, stores. Knows no page.

Files are read and decoded in threads, ahead of the model. Images are stored a batch at a time, so that
stopping, by `cancelled` or by a crash, keeps all whole batches, and another run goes on from there.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ssa_me.archives import unpack
from ssa_me.errors import InputError
from ssa_me.gallery.items import NewImage, NewVectors, Spaces
from ssa_me.gallery.store import DATABASE, Gallery
from ssa_me.images import MAX_PIXELS, content_hash, load_image, thumbnail
from ssa_me.samples import IMAGE_SUFFIXES, Record, Sample, read_image_folder

if TYPE_CHECKING:
    from ssa_me.embedder import Embedded, SalientEmbedder

BATCH = 32
BATCH_PIXELS = 64_000_000
AHEAD_PIXELS = 128_000_000
WORKERS = min(4, os.cpu_count() or 1)

Source = Path | Sequence[tuple[str, Path]]
"""A folder, a zip, one image, or images with the names to show."""


@dataclass(frozen=True)
class Progress:
    """How far an ingest is. stage: "unpacking" (files of the zip), "embedding" (images of the source) or
    "embedding again" (images of the gallery that had no vectors of this checkpoint)."""

    stage: str
    done: int
    total: int
    added: int = 0
    duplicates: int = 0
    skipped: int = 0


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
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> IngestReport:
    """Add the images of `source` that the gallery does not have, with captions and subjects where the data
    has them.

    Images of a folder stay where they are unless `copy`; those of a zip are always re-encoded into the
    gallery. Then all images of the gallery that lack vectors of this checkpoint get them. `progress` is
    called in this thread. Raises InputError where there is no image to read; single bad images are skipped
    and reported.
    """
    started = time.perf_counter()
    run = _Run(gallery, embedder, progress or _silent, cancelled or _never)
    try:
        with _records(gallery, source, run) as (records, leaving):
            run.add(records, copy or leaving)
        run.embed_again()
    except _Cancelled:
        run.was_cancelled = True
    return run.report(time.perf_counter() - started)


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

    def add(self, records: Sequence[Record], copy: bool) -> None:
        self.found += len(records)
        known = self.gallery.known()
        ids = frozenset(known)
        tasks = [partial(_prepare, self.gallery, record, ids, copy) for record in records]
        self._embed(tasks, "embedding", known)

    def embed_again(self) -> None:
        lacking = self.gallery.lacking(Spaces(self.embedder.info.fingerprints))
        tasks = [partial(_reopen, self.gallery, id) for id in lacking]
        self._embed(tasks, "embedding again", {})

    def tell(self, stage: str, done: int, total: int) -> None:
        """Report, then stop if that is wanted."""
        self.progress(Progress(stage, done, total, self.added, len(self.duplicates), len(self.skipped)))
        if self.is_cancelled():
            raise _Cancelled

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

    def _embed(self, tasks: Sequence[Callable[[], _Outcome]], stage: str, known: dict[str, str]) -> None:
        """Run `tasks` ahead and embed in batches what they give. `known`: hash → name, grows."""
        if not tasks:
            return
        self.tell(stage, 0, len(tasks))
        batch: list[_Prepared] = []
        for done, outcome in enumerate(_run_ahead(tasks), start=1):
            prepared = self._sort(outcome, known)
            if prepared is not None:
                batch.append(prepared)
            if len(batch) == BATCH or sum(_pixels(p.image) for p in batch) >= BATCH_PIXELS:
                self._store(batch)
                batch = []
                self.tell(stage, done, len(tasks))
            elif done % BATCH == 0:
                self.tell(stage, done, len(tasks))
        if batch:
            self._store(batch)
        self.tell(stage, len(tasks), len(tasks))

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
        self.gallery.write([prepared.stored for prepared in batch], found, info.checkpoint)
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
    if path.is_file():
        return
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


@contextmanager
def _records(gallery: Gallery, source: Source, run: _Run) -> Iterator[tuple[list[Record], bool]]:
    """The images of `source`, and whether they must be copied because they do not stay where they are."""
    if not isinstance(source, Path):
        yield [Record(path, name) for name, path in source], True
    elif source.is_dir():
        galleries = _galleries_below(source)
        records = read_image_folder(source)
        yield [record for record in records if galleries.isdisjoint(record.path.resolve().parents)], False
    elif source.suffix.lower() in IMAGE_SUFFIXES:
        yield [Record(source, source.name)], False
    elif not source.exists():
        raise InputError(f"{source} does not exist. Give a folder of images, a zip, or an image.")
    else:
        temporary = Path(tempfile.mkdtemp(prefix=".incoming-", dir=gallery.folder))
        try:
            unpacked = unpack(
                source, temporary / "zip", progress=lambda done, of: run.tell("unpacking", done, of)
            )
            run.skipped += unpacked.skipped
            run.found += len(unpacked.skipped)
            yield _read_unpacked(unpacked.folder, source.name), True
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _read_unpacked(folder: Path, archive: str) -> list[Record]:
    try:
        return read_image_folder(folder)
    except InputError as error:
        raise InputError(str(error).replace(str(folder), archive)) from error


def _galleries_below(source: Path) -> frozenset[Path]:
    """Folders of galleries kept among the photographs of `source`: their thumbnails are no photographs."""
    return frozenset(path.parent.resolve() for path in source.rglob(DATABASE)) - {source.resolve()}
