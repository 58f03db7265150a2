"""The SQLite file behind the annotations: schema, connections, one transaction at a time, and rows as data.

The log (`decisions`) is only ever appended to; what stands, who judged and each item's status are derived from it in
the same transaction. Knows no queue and no rules of judging.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ssa_me.annotation.records import Decision, Item, Picture, Proposal, Scores, Truth
from ssa_me.errors import InputError
from ssa_me.samples import Subject

FORMAT = "1"
KEPT_OPEN = 8
PATIENCE = 60.0
"""Seconds that a writer waits for another process's transaction."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY, file_name TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    captions TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY, image INTEGER NOT NULL REFERENCES images, identity TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL, phrase TEXT NOT NULL, source TEXT NOT NULL, fingerprint TEXT, creator TEXT,
    created REAL NOT NULL, uncertainty REAL NOT NULL, misalignment REAL NOT NULL, disagreement REAL NOT NULL,
    margin REAL, shuffled INTEGER NOT NULL, truth TEXT, status TEXT NOT NULL DEFAULT 'pending',
    judges INTEGER NOT NULL DEFAULT 0, result TEXT
);
CREATE INDEX IF NOT EXISTS items_of_image ON items (image);
CREATE INDEX IF NOT EXISTS items_by_status ON items (status) WHERE truth IS NULL;
CREATE INDEX IF NOT EXISTS items_judged ON items (id) WHERE judges > 1;
CREATE INDEX IF NOT EXISTS items_known ON items (shuffled, id) WHERE truth IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_uncertainty ON items (uncertainty DESC, shuffled, id) WHERE truth IS NULL;
CREATE INDEX IF NOT EXISTS by_misalignment ON items (misalignment DESC, shuffled, id) WHERE truth IS NULL;
CREATE INDEX IF NOT EXISTS by_disagreement ON items (disagreement DESC, shuffled, id) WHERE truth IS NULL;
CREATE INDEX IF NOT EXISTS by_chance ON items (shuffled, id) WHERE truth IS NULL;
CREATE INDEX IF NOT EXISTS by_image ON items (image, id) WHERE truth IS NULL;
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL REFERENCES items, annotator TEXT NOT NULL,
    kind TEXT NOT NULL, subject TEXT NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL, parent INTEGER,
    previous INTEGER, target INTEGER, token TEXT NOT NULL UNIQUE
);
CREATE INDEX IF NOT EXISTS decisions_of ON decisions (annotator, id);
CREATE INDEX IF NOT EXISTS decisions_on ON decisions (item, id);
CREATE TABLE IF NOT EXISTS standing (
    item INTEGER NOT NULL, annotator TEXT NOT NULL, decision INTEGER NOT NULL, verdict TEXT NOT NULL,
    PRIMARY KEY (item, annotator)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS standing_of ON standing (annotator);
CREATE TABLE IF NOT EXISTS leases (
    item INTEGER NOT NULL, annotator TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (item, annotator)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (annotator TEXT PRIMARY KEY, item INTEGER NOT NULL) WITHOUT ROWID;
"""


class Database:
    """One file, shared between threads and processes. Each operation has a connection to itself, of a few that stay open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = threading.Lock()
        self._idle: list[sqlite3.Connection] = []

    def prepare(self) -> None:
        """Make the file where it is not there. Raises InputError where it cannot be, or is from a newer version."""
        with _explained("opened"), closing(self.connect()) as db:
            db.execute("PRAGMA journal_mode = WAL")  # stays with the file
        with self.writing() as db:
            for statement in SCHEMA.split(";")[:-1]:
                db.execute(statement)
            db.execute("INSERT OR IGNORE INTO settings VALUES ('format', ?)", (FORMAT,))
            found = db.execute("SELECT value FROM settings WHERE key = 'format'").fetchone()[0]
        if found != FORMAT:
            raise InputError(
                f"These annotations have format {found}, newer than this version. Update SSA-ME studio."
            )

    def connect(self) -> sqlite3.Connection:
        """A new connection, which any thread may use, one at a time."""
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        return db

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for one operation; after an error it is closed, else kept for the next."""
        try:
            db = self._idle.pop()
        except IndexError:
            db = self.connect()
        try:
            yield db
        except BaseException:
            db.close()
            raise
        if len(self._idle) < KEPT_OPEN:
            self._idle.append(db)
        else:
            db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection with one view of the file. Raises InputError where it cannot be read."""
        with _explained("read"), self._connection() as db:
            db.execute("BEGIN")
            yield db
            db.execute("COMMIT")

    @contextmanager
    def writing(self, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on the disk at the end, or nothing. Not `durable`, a power cut may lose it (never
        what came before). Raises InputError where the disk is full or the folder cannot be written."""
        with self._writer, _explained("saved"), self._connection() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        reason = str(error)
        if "full" in reason:
            reason = "the disk is full. Free some space and try again"
        elif "readonly" in reason or "unable to open" in reason:
            reason = "its folder cannot be written to. Allow writing there and try again"
        elif "locked" in reason:
            reason = "another program holds the file. Try again in a moment"
        raise InputError(
            f"This could not be {what}: {reason}. What was saved before is still there."
        ) from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"The annotations are damaged ({error}). Put a copy of the file back.") from error


def subject_text(subject: Subject) -> str:
    return json.dumps(subject.to_json(), ensure_ascii=False)


def to_subject(text: str) -> Subject:
    stored: dict[str, Any] = json.loads(text)
    bbox = stored.pop("bbox", None)
    known = {key: stored.pop(key, None) for key in ("phrase", "segmentation", "status", "source")}
    return Subject(bbox=tuple(bbox) if bbox else None, extra=stored, **known)


def to_decision(row: sqlite3.Row) -> Decision:
    return Decision(
        row["id"],
        row["item"],
        row["annotator"],
        row["kind"],
        to_subject(row["subject"]),
        row["seconds"],
        row["at"],
        row["parent"],
        row["target"],
    )


def to_picture(row: sqlite3.Row) -> Picture:
    return Picture(
        row["id"], row["file_name"], row["width"], row["height"], tuple(json.loads(row["captions"]))
    )


def to_item(db: sqlite3.Connection, row: sqlite3.Row, annotator: str | None = None) -> Item:
    """An item row of `items` with its image, and the standing decision of `annotator`."""
    picture = to_picture(db.execute("SELECT * FROM images WHERE id = ?", (row["image"],)).fetchone())
    proposed = to_subject(row["subject"])
    query = "SELECT d.* FROM standing s JOIN decisions d ON d.id = s.decision WHERE s.item = ? AND s.annotator = ?"
    mine = db.execute(query, (row["id"], annotator)).fetchone() if annotator else None
    return Item(
        id=row["id"],
        picture=picture,
        proposal=Proposal(
            picture.id,
            proposed,
            row["source"],
            row["fingerprint"],
            Scores(row["uncertainty"], row["misalignment"], row["disagreement"], row["margin"]),
            to_truth(row["truth"]),
        ),
        status=row["status"],
        result=to_subject(row["result"]) if row["result"] else proposed,
        creator=row["creator"],
        judges=row["judges"],
        mine=to_decision(mine) if mine else None,
    )


def to_truth(text: str | None) -> Truth | None:
    if text is None:
        return None
    stored = json.loads(text)
    return Truth(stored["right"], to_subject(json.dumps(stored["subject"])))
