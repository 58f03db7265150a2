"""The gallery's SQLite file: its schema and formats, connections, transactions. Knows no image, vector or model.

Every operation opens its own connection, so that threads and processes may share a gallery. A folder that cannot be
written is read all the same; whoever writes to it gets a sentence. What SQLite refuses becomes an `InputError`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from ssa_me.errors import InputError

DATABASE = "gallery.sqlite"
UNFINISHED = f".{DATABASE}.partial"
FORMAT = 3
"""1: no region was a pair. 2: nothing could be removed, saved or searched approximately."""

_SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE images (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, file_name TEXT NOT NULL, path TEXT NOT NULL, width
    INTEGER NOT NULL, height INTEGER NOT NULL, captions TEXT NOT NULL, subjects TEXT NOT NULL, extra TEXT
    NOT NULL
);
CREATE TABLE regions (
    head TEXT NOT NULL, image INTEGER NOT NULL REFERENCES images, number INTEGER NOT NULL, x REAL NOT NULL,
    y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL, salience REAL NOT NULL,
    pair INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (head, image, number)
) WITHOUT ROWID;
CREATE TABLE spaces (
    name TEXT PRIMARY KEY, dimension INTEGER NOT NULL, rows INTEGER NOT NULL, images INTEGER NOT NULL,
    changes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE vectors (
    space TEXT NOT NULL REFERENCES spaces, image INTEGER NOT NULL REFERENCES images,
    start INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (space, image)
) WITHOUT ROWID;
"""
_SINCE_3 = """
CREATE TABLE removed (hash TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE indexes (
    space TEXT PRIMARY KEY REFERENCES spaces, file TEXT NOT NULL, rows INTEGER NOT NULL, trained INTEGER NOT NULL,
    probes INTEGER NOT NULL, recall REAL NOT NULL, seconds REAL NOT NULL
);
CREATE TABLE saved (
    kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (kind, name)
) WITHOUT ROWID;
"""
"""removed: content hashes whose files are still to be deleted. indexes: approximate ones, a file a space. saved:
queries and views by name."""


class Database:
    """The database of the gallery in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / DATABASE

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written into the folder."""
        return not (os.access(self.folder, os.W_OK) and os.access(self.path, os.W_OK))

    def create(self, settings: Mapping[str, str]) -> None:
        """Make the file, whole or not at all."""
        unfinished = self.folder / UNFINISHED
        for left in self.folder.glob(f"{UNFINISHED}*"):  # a journal among them
            left.unlink(missing_ok=True)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as db, _transaction(db):
            for statement in (_SCHEMA + _SINCE_3).split(";")[:-1]:
                db.execute(statement)
            values = {"format": str(FORMAT), "count": "0"} | dict(settings)
            db.executemany("INSERT INTO settings VALUES (?, ?)", values.items())
        unfinished.replace(self.path)
        with self.reading() as db:
            db.execute("PRAGMA journal_mode = WAL")

    def check(self) -> None:
        """Bring an older format up to date. Raises InputError where the file is half-written, damaged, newer than
        this version, or older and cannot be written."""
        with self.reading() as db:
            try:
                row = db.execute("SELECT value FROM settings WHERE key = 'format'").fetchone()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
                row = None
        if row is None:
            raise InputError(f"{self.folder} is half-written. Delete it and index again.")
        found = str(row[0])
        if not found.isdecimal() or int(found) > FORMAT:
            raise InputError(
                f"{self.folder} has format {found}, this version reads up to {FORMAT}. Update SSA-ME studio."
            )
        if int(found) < FORMAT:
            if self.read_only:
                raise InputError(
                    f"{self.folder} is read-only, and its format {found} is an older one. Make it writable, or open "
                    "a copy of it, once."
                )
            self._upgrade()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection whose rows go by name. Raises InputError where the gallery is gone, damaged or cannot be read."""
        if not self.path.is_file():  # SQLite would make a new, empty one
            raise InputError(
                f"The gallery in {self.folder} is no longer there. Choose another, or index again."
            )
        try:
            with closing(self._connect()) as db:
                db.row_factory = sqlite3.Row
                yield db
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise InputError(self._refusal(error)) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its start: all of it, or nothing. Raises InputError where the
        folder is read-only, the disk full, or another program does not let go of the gallery."""
        if self.path.is_file() and self.read_only:
            raise InputError(
                f"The gallery in {self.folder} is read-only. Make its folder writable, or copy it to one that is."
            )
        with self.reading() as db, _transaction(db):
            yield db

    def setting(self, key: str) -> str:
        with self.reading() as db:
            row = db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise InputError(f"{self.folder} is half-written: it lacks its {key}. Delete it and index again.")
        return str(row[0])

    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            return sqlite3.connect(self.path, timeout=60, isolation_level=None)
        log = self.path.with_name(f"{DATABASE}-wal")
        quiet = not log.is_file() or log.stat().st_size == 0
        mode = "mode=ro&immutable=1" if quiet else "mode=ro"
        return sqlite3.connect(f"{self.path.as_uri()}?{mode}", uri=True, isolation_level=None)

    def _refusal(self, error: sqlite3.DatabaseError) -> str:
        reason = str(error)
        if "locked" in reason:
            return (
                f"Another program has been writing to {self.folder} for a minute. Try again when it is done."
            )
        if "full" in reason:
            return f"The disk of {self.folder} is full. Make room; what was in the gallery is still there."
        if "readonly" in reason or "unable to open" in reason:
            return (
                f"The gallery in {self.folder} is read-only ({reason}). Make its folder writable, or copy it."
            )
        return f"{self.folder} is half-written or damaged ({reason}). Delete it and index again."

    def _upgrade(self) -> None:
        with self.writing() as db:
            found = int(db.execute("SELECT value FROM settings WHERE key = 'format'").fetchone()[0])
            if found < 2:
                db.execute("ALTER TABLE regions ADD COLUMN pair INTEGER NOT NULL DEFAULT 0")
            if found < 3:
                db.execute("ALTER TABLE spaces ADD COLUMN changes INTEGER NOT NULL DEFAULT 0")
                for statement in _SINCE_3.split(";")[:-1]:
                    db.execute(statement)
                db.execute("INSERT INTO settings SELECT 'count', count(*) FROM images")
            db.execute("UPDATE settings SET value = ? WHERE key = 'format'", (str(FORMAT),))


def set_setting(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # SQLite rolls back by itself where the disk is full
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
