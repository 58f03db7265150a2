"""What an ingest has begun and not finished, kept in the gallery so that another run goes on with it.

    settings, "unfinished"   the sources that are left, how many images they hold, and which process is at it
    .uploads/                files that may be gone later, until all that is left is in

Whoever is killed leaves the note behind, and so does a cancelled ingest. It knows no model and reads no image.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssa_me.errors import InputError
from ssa_me.gallery.database import Database, set_setting
from ssa_me.gallery.hub_data import HubData, parse_hub
from ssa_me.gallery.sources import Source
from ssa_me.jobs.processes import Process

UPLOADS = ".uploads"
_KEY = "unfinished"


@dataclass(frozen=True)
class Left:
    """A source of which not all is in. copy: as `ingest` takes it. total: its images, None until it was opened."""

    source: Source
    copy: bool = False
    total: int | None = None

    def __str__(self) -> str:
        """A path, `hub:USER/NAME`, or how many files."""
        if isinstance(self.source, Path | HubData):
            return str(self.source)
        return f"{len(self.source)} files"


@dataclass(frozen=True)
class Unfinished:
    """left: what to go on with, in order. before: images that were in the gallery when the first of them was begun. through:
    images of sources that are in since. by: the process that is at it, None where it has stopped by itself."""

    left: tuple[Left, ...]
    before: int = 0
    through: int = 0
    by: Process | None = None

    @property
    def at_work(self) -> bool:
        """Whether a process of this machine is putting images in at this moment."""
        return self.by is not None and self.by.alive()

    @property
    def total(self) -> int | None:
        """The images of all sources; None while one of them was never opened."""
        totals = [left.total for left in self.left if left.total is not None]
        return self.through + sum(totals) if len(totals) == len(self.left) else None


def unfinished(database: Database) -> Unfinished | None:
    """What is left to do; None where nothing is, or the note cannot be read."""
    with database.reading() as db:
        return _load(database, db)


@contextmanager
def working(database: Database, source: Source, copy: bool = False) -> Iterator[Callable[[int], None]]:
    """Note that `source` is being put in until all of it is. Gives what to tell the number of its images, once known.

    The note stays where the work ends otherwise. Only a source that could not even be opened is forgotten, if it was begun here
    or lies in the gallery: it will get no better. An empty list of images leaves no note. Raises InputError where the
    gallery is read-only.
    """
    if not isinstance(source, Path | HubData) and not source:
        with database.writing():
            pass  # a gallery that cannot be written says so before anything is embedded
        yield lambda total: None
        return
    note = _Note(database, source, copy)
    known = note.begin()
    try:
        yield note.opened
    except BaseException as error:
        useless = isinstance(error, InputError) and not note.is_open
        with suppress(InputError):
            note.end() if useless and (not known or is_held(database, source)) else note.pause()
        raise
    note.end(through=True)


def hold(database: Database, sources: Sequence[Source]) -> tuple[Left, ...]:
    """Keep files of `sources` in the gallery, by a link where the disk allows it, and note that they are to be put in. Returns
    what was noted. A file that is not there is left to the ingest, which says so. Raises InputError where there is no room.
    """
    with database.writing() as db:
        state = _load(database, db) or Unfinished((), before=_count(db))
        if not state.left:
            shutil.rmtree(database.folder / UPLOADS, ignore_errors=True)
        (database.folder / UPLOADS).mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=database.folder / UPLOADS))
        try:
            kept = [_keep(source, folder / str(n)) for n, source in enumerate(sources)]
            new = tuple(Left(source) for source in kept)
            _save(database, db, replace(state, left=(*state.left, *new)))
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise InputError(
                f"The files cannot be kept in the gallery: {error.strerror}. Make room, and choose them again."
            ) from error
    return new


def is_held(database: Database, source: Source) -> bool:
    """Whether all files of `source` lie among the uploads that are kept in the gallery."""
    if isinstance(source, HubData):
        return False
    paths = [source] if isinstance(source, Path) else [path for _, path in source]
    return all(path.is_relative_to(database.folder / UPLOADS) for path in paths)


def forget(database: Database) -> None:
    """Leave the gallery as it is: nothing is to be gone on with, and uploads that were kept for it are deleted."""
    with database.writing() as db:
        _save(database, db, None)
    sweep(database)


def sweep(database: Database) -> None:
    """Delete kept uploads that nothing is left of. Nothing happens to a read-only gallery."""
    folder = database.folder / UPLOADS
    if not folder.is_dir() or database.read_only:
        return
    with database.writing() as db:  # nobody is about to note what he keeps
        if _load(database, db) is None:
            shutil.rmtree(folder, ignore_errors=True)


class _Note:
    """The note of one source."""

    def __init__(self, database: Database, source: Source, copy: bool) -> None:
        self._database, self._copy = database, copy
        self._source = source.absolute() if isinstance(source, Path) else source
        self._key = _source_json(database, self._source)
        self.is_open = False

    def begin(self) -> bool:
        """Whether it was noted already."""
        database = self._database
        with database.writing() as db:
            state = _load(database, db) or Unfinished((), before=_count(db))
            known = any(self._is(left) for left in state.left)
            left = state.left if known else (*state.left, Left(self._source, self._copy))
            _save(database, db, replace(state, left=left, by=Process.of(os.getpid())))
        return known

    def opened(self, total: int) -> None:
        self.is_open = True
        with self._database.writing() as db:
            state = _load(self._database, db)
            if state is not None:
                left = [replace(left, total=total) if self._is(left) else left for left in state.left]
                _save(self._database, db, replace(state, left=tuple(left)))

    def pause(self) -> None:
        with self._database.writing() as db:
            state = _load(self._database, db)
            if state is not None:
                _save(self._database, db, replace(state, by=None))

    def end(self, through: bool = False) -> None:
        """Take it off the note. through: all of it is in."""
        with self._database.writing() as db:
            state = _load(self._database, db)
            if state is not None:
                mine = sum(left.total or 0 for left in state.left if through and self._is(left))
                rest = tuple(left for left in state.left if not self._is(left))
                _save(self._database, db, replace(state, left=rest, through=state.through + mine, by=None))
        sweep(self._database)

    def _is(self, left: Left) -> bool:
        return _source_json(self._database, left.source) == self._key


def _keep(source: Source, folder: Path) -> Source:
    """The same source with its files in the new `folder`."""
    folder.mkdir()
    if isinstance(source, Path):
        return _keep_file(source, folder / source.name)
    if isinstance(source, HubData):
        return source
    kept = []
    for n, (name, path) in enumerate(source):
        (folder / str(n)).mkdir()
        kept.append((name, _keep_file(path, folder / str(n) / path.name)))
    return kept


def _keep_file(file: Path, place: Path) -> Path:
    try:
        os.link(file, place)
    except OSError:  # another disk, or one that has no links
        with suppress(FileNotFoundError):
            shutil.copyfile(file, place)
    return place


# The note as JSON. Paths inside of the gallery are relative to it, as those of its images are.


def _load(database: Database, db: sqlite3.Connection) -> Unfinished | None:
    row = db.execute("SELECT value FROM settings WHERE key = ?", (_KEY,)).fetchone()
    try:
        state = _parse(database, json.loads(row[0])) if row else None
    except (ValueError, KeyError, TypeError, AttributeError, InputError):
        return None
    return state if state and state.left else None


def _save(database: Database, db: sqlite3.Connection, state: Unfinished | None) -> None:
    if state is None or not state.left:
        db.execute("DELETE FROM settings WHERE key = ?", (_KEY,))
        return
    left = [
        _source_json(database, part.source) | {"copy": part.copy, "total": part.total} for part in state.left
    ]
    by = state.by.to_json() if state.by else None
    value = {"left": left, "before": state.before, "through": state.through, "by": by}
    set_setting(db, _KEY, json.dumps(value))


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT value FROM settings WHERE key = 'count'").fetchone()[0])


def _parse(database: Database, value: Mapping[str, Any]) -> Unfinished:
    left = tuple(
        Left(
            _source(database, part), bool(part["copy"]), None if part["total"] is None else int(part["total"])
        )
        for part in value["left"]
    )
    return Unfinished(left, int(value["before"]), int(value["through"]), Process.from_json(value["by"]))


def _source_json(database: Database, source: Source) -> dict[str, Any]:
    def inside(path: Path) -> str:
        path = path.absolute()
        folder = database.folder
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)

    if isinstance(source, HubData):
        return {"hub": str(source)}
    if isinstance(source, Path):
        return {"path": inside(source)}
    return {"files": [[name, inside(path)] for name, path in source]}


def _source(database: Database, value: Mapping[str, Any]) -> Source:
    if "hub" in value:
        data = parse_hub(value["hub"])
        if data is None:
            raise ValueError("no data set")
        return data
    if "path" in value:
        return database.folder / value["path"]
    return [(str(name), database.folder / path) for name, path in value["files"]]
