"""Galleries as earlier versions of the program wrote them: their own schema, filled from a gallery of today."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ssa_me.gallery.database import DATABASE

_FORMAT_1 = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE images (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, file_name TEXT NOT NULL, path TEXT NOT NULL, width
    INTEGER NOT NULL, height INTEGER NOT NULL, captions TEXT NOT NULL, subjects TEXT NOT NULL, extra TEXT
    NOT NULL
);
CREATE TABLE regions (
    head TEXT NOT NULL, image INTEGER NOT NULL REFERENCES images, number INTEGER NOT NULL, x REAL NOT NULL,
    y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL, salience REAL NOT NULL,
    PRIMARY KEY (head, image, number)
) WITHOUT ROWID;
CREATE TABLE spaces (
    name TEXT PRIMARY KEY, dimension INTEGER NOT NULL, rows INTEGER NOT NULL, images INTEGER NOT NULL
);
CREATE TABLE vectors (
    space TEXT NOT NULL REFERENCES spaces, image INTEGER NOT NULL REFERENCES images,
    start INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (space, image)
) WITHOUT ROWID;
"""
_COLUMNS = {
    "images": "id, hash, file_name, path, width, height, captions, subjects, extra",
    "regions": "head, image, number, x, y, width, height, salience",
    "spaces": "name, dimension, rows, images",
    "vectors": "space, image, start, count",
}


def write_as(folder: Path, number: int) -> None:
    """Turn the gallery in `folder` into one of format 1 or 2."""
    old = folder / "old.sqlite"
    with closing(sqlite3.connect(old)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_FORMAT_1)
        if number == 2:  # new galleries had the column in another place; nothing reads by place
            db.execute("ALTER TABLE regions ADD COLUMN pair INTEGER NOT NULL DEFAULT 0")
        db.execute("ATTACH ? AS new", (str(folder / DATABASE),))
        for table, columns in _COLUMNS.items():
            columns += ", pair" if table == "regions" and number == 2 else ""
            db.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new.{table}")
        kept = "('name', 'checkpoint', 'head')"
        db.execute(f"INSERT INTO settings SELECT * FROM new.settings WHERE key IN {kept}")
        db.execute("INSERT INTO settings VALUES ('format', ?)", (str(number),))
        db.commit()
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{DATABASE}{suffix}").unlink(missing_ok=True)
    os.replace(old, folder / DATABASE)
