"""`Gallery`: images, their metadata, regions and vectors in one folder. Knows no model, no search, no page.

    gallery.sqlite             images, regions, settings, and which rows of a vector file belong to an image
    thumbnails/ab/<hash>.jpg   at most 320 px on the longer side, made once
    images/ab/<hash>.jpg       images that came in a zip or an upload; those of a folder stay where they are
    vectors/<fingerprint>/     one file of float32 rows a space, see `Spaces`

Every operation opens its own connection, so that a gallery can be shared between threads and opened by
several processes. A writer holds SQLite's write lock while it appends vectors, and the vectors are on the disk
before the database counts them: a gallery whose writer is killed holds everything up to the last whole batch.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.explanation import Region
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.items import Item, NewImage, NewVectors, Spaces
from ssa_me.gallery.vectors import append_rows, map_rows, whole_rows
from ssa_me.images import load_image
from ssa_me.samples import Subject

DATABASE = "gallery.sqlite"
FORMAT = 2

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
    name TEXT PRIMARY KEY, dimension INTEGER NOT NULL, rows INTEGER NOT NULL, images INTEGER NOT NULL
);
CREATE TABLE vectors (
    space TEXT NOT NULL REFERENCES spaces, image INTEGER NOT NULL REFERENCES images,
    start INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (space, image)
) WITHOUT ROWID;
"""


class Gallery:
    """A gallery on disk. Make one with `create` or `open`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._indexes: dict[str, tuple[tuple[int, int], VectorIndex]] = {}
        self._index_lock = threading.Lock()

    @classmethod
    def create(cls, folder: Path, name: str, checkpoint: str) -> Gallery:
        """Make an empty gallery. Raises InputError where `folder` holds something already."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} is not empty. Give a new folder, or open the gallery that is there.")
        folder.mkdir(parents=True, exist_ok=True)
        gallery = cls(folder)
        (folder / DATABASE).touch()
        with gallery._connect() as db:
            db.execute("PRAGMA journal_mode = WAL")
            with _writing(db):
                for statement in _SCHEMA.split(";")[:-1]:
                    db.execute(statement)
                settings = {"format": str(FORMAT), "name": name, "checkpoint": checkpoint}
                db.executemany("INSERT INTO settings VALUES (?, ?)", settings.items())
        return gallery

    @classmethod
    def open(cls, folder: Path) -> Gallery:
        """Open a gallery, and forget vectors whose file was cut (the next ingest embeds those images again).

        Raises InputError where there is none, it was not finished, or it was written by a newer version.
        """
        if not is_gallery(folder):
            raise InputError(
                f"{folder} is not a gallery. Make one: python -m ssa_me index SOURCE --gallery {folder}"
            )
        gallery = cls(folder)
        try:
            found = gallery._setting("format")
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{folder} is half-written or damaged ({error}). Delete it and index again."
            ) from error
        if not found.isdecimal() or int(found) > FORMAT:
            raise InputError(
                f"{folder} has format {found}, this version reads up to {FORMAT}. Update SSA-ME studio."
            )
        if int(found) < FORMAT:
            gallery._upgrade()
        gallery._forget_lost_vectors()
        return gallery

    @property
    def name(self) -> str:
        return self._setting("name")

    @property
    def checkpoint(self) -> str:
        """The checkpoint that embedded this gallery last: a folder."""
        return self._setting("checkpoint")

    def __len__(self) -> int:
        with self._connect() as db:
            return int(db.execute("SELECT count(*) FROM images").fetchone()[0])

    def items(self, offset: int = 0, limit: int = 60) -> list[Item]:
        """`limit` images from `offset` on, in the order in which they came."""
        with self._connect() as db:
            rows = db.execute("SELECT * FROM images ORDER BY id LIMIT ? OFFSET ?", (limit, offset)).fetchall()
            return self._to_items(db, rows)

    def items_of(self, ids: Iterable[int], head: str | None = None) -> dict[int, Item]:
        """Items by id, with the regions of a head (its version's fingerprint; default: the one used last).

        Raises InputError where one is not there."""
        wanted = list(dict.fromkeys(int(id) for id in ids))
        with self._connect() as db:
            query = "SELECT * FROM images WHERE id IN (SELECT value FROM json_each(?))"
            rows = db.execute(query, (json.dumps(wanted),)).fetchall()
            found = {item.id: item for item in self._to_items(db, rows, head)}
        for id in wanted:
            if id not in found:
                raise InputError(f"The gallery {self.name} has no image {id}. Open it again.")
        return found

    def item(self, id: int) -> Item:
        """One image. Raises InputError where it is not there."""
        return self.items_of([id])[id]

    def image(self, id: int) -> Image.Image:
        """The full image, RGB, upright. Raises InputError where its file is gone or damaged."""
        item = self.item(id)
        if not item.path.is_file():
            raise InputError(
                f"{item.file_name} is no longer at {item.path}. Put it back, or index its new place."
            )
        return load_image(item.path, item.file_name)

    def known(self) -> dict[str, str]:
        """Content hash → file name of every image."""
        with self._connect() as db:
            return dict(db.execute("SELECT hash, file_name FROM images").fetchall())

    def thumbnail_path(self, hash: str) -> Path:
        return self.folder / "thumbnails" / hash[:2] / f"{hash}.jpg"

    def copy_path(self, hash: str) -> Path:
        """Where the gallery keeps an image of its own."""
        return self.folder / "images" / hash[:2] / f"{hash}.jpg"

    # Vectors

    def lacking(self, spaces: Spaces) -> list[int]:
        """Ids of the images that lack an entry in any of these spaces."""
        names = spaces.all()
        marks = ",".join("?" * len(names))
        whole = f"SELECT image FROM vectors WHERE space IN ({marks}) GROUP BY image HAVING count(*) = ?"
        query = f"SELECT id FROM images WHERE id NOT IN ({whole}) ORDER BY id"
        with self._connect() as db:
            return [row[0] for row in db.execute(query, (*names, len(names)))]

    def index(self, space: str) -> VectorIndex | None:
        """The index of a space as it is now; None where no image has an entry in it."""
        with self._index_lock, self._connect() as db:
            db.execute("BEGIN")
            known = "SELECT dimension, rows, images FROM spaces WHERE name = ? AND images > 0"
            state = db.execute(known, (space,)).fetchone()
            if state is None:
                return None
            dimension, rows, images = state
            cached = self._indexes.get(space)
            if cached is None or cached[0] != (rows, images):
                owners = db.execute(
                    "SELECT image, start, count FROM vectors WHERE space = ?", (space,)
                ).fetchall()
                vectors = map_rows(self._vector_file(space), rows, dimension)
                cached = (rows, images), VectorIndex(vectors, [tuple(owner) for owner in owners])
                self._indexes[space] = cached
            return cached[1]

    def write(self, images: Sequence[NewImage | int], found: NewVectors, checkpoint: str) -> list[int]:
        """Store images (or, by id, images that are there already) with what a model found, all or none.

        Entries that an image already has are kept. Returns the ids.
        """
        with self._connect() as db, _writing(db):
            ids = [image if isinstance(image, int) else self._insert_image(db, image) for image in images]
            for id, regions in zip(ids, found.regions, strict=True):
                rows = [(found.head, id, n, *r.bbox, r.salience, r.pair) for n, r in enumerate(regions)]
                db.executemany("INSERT OR REPLACE INTO regions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            for space, arrays in found.rows.items():
                self._append(db, space, dict(zip(ids, arrays, strict=True)))
            for key, value in (("checkpoint", checkpoint), ("head", found.head)):
                db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))
        return ids

    def _append(self, db: sqlite3.Connection, space: str, arrays: Mapping[int, np.ndarray]) -> None:
        query = "SELECT image FROM vectors WHERE space = ? AND image IN (SELECT value FROM json_each(?))"
        present = {row[0] for row in db.execute(query, (space, json.dumps(list(arrays))))}
        fresh = {id: rows for id, rows in arrays.items() if id not in present}
        if not fresh:
            return
        dimension = next(iter(fresh.values())).shape[1]
        db.execute("INSERT OR IGNORE INTO spaces VALUES (?, ?, 0, 0)", (space, dimension))
        start = db.execute("SELECT rows FROM spaces WHERE name = ?", (space,)).fetchone()[0]
        append_rows(self._vector_file(space), np.concatenate(list(fresh.values())), start)
        for id, rows in fresh.items():
            db.execute("INSERT INTO vectors VALUES (?, ?, ?, ?)", (space, id, start, len(rows)))
            start += len(rows)
        db.execute(
            "UPDATE spaces SET rows = ?, images = images + ? WHERE name = ?", (start, len(fresh), space)
        )

    def _vector_file(self, space: str) -> Path:
        return self.folder / "vectors" / f"{space}.f32"

    def _upgrade(self) -> None:
        """From format 1, in which no region was a pair."""
        with self._connect() as db, _writing(db):
            if not any(column["name"] == "pair" for column in db.execute("PRAGMA table_info(regions)")):
                db.execute("ALTER TABLE regions ADD COLUMN pair INTEGER NOT NULL DEFAULT 0")
            db.execute("UPDATE settings SET value = ? WHERE key = 'format'", (str(FORMAT),))

    def _forget_lost_vectors(self) -> None:
        with self._connect() as db:
            declared = db.execute("SELECT name, dimension, rows FROM spaces").fetchall()
            held = {name: whole_rows(self._vector_file(name), dimension) for name, dimension, _ in declared}
            lost = [name for name, _, rows in declared if held[name] < rows]
            if not lost:
                return
            with _writing(db):
                for name in lost:
                    db.execute(
                        "DELETE FROM vectors WHERE space = ? AND start + count > ?", (name, held[name])
                    )
                    left = "SELECT coalesce(max(start + count), 0), count(*) FROM vectors WHERE space = ?"
                    rows, images = db.execute(left, (name,)).fetchone()
                    db.execute("UPDATE spaces SET rows = ?, images = ? WHERE name = ?", (rows, images, name))

    # Rows

    def _insert_image(self, db: sqlite3.Connection, image: NewImage) -> int:
        path = image.path.resolve()
        values = (
            image.hash,
            image.file_name,
            path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path),
            image.width,
            image.height,
            json.dumps(image.captions),
            json.dumps([subject.to_json() for subject in image.subjects]),
            json.dumps(dict(image.extra)),
        )
        columns = "hash, file_name, path, width, height, captions, subjects, extra"
        db.execute(f"INSERT OR IGNORE INTO images ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return int(db.execute("SELECT id FROM images WHERE hash = ?", (image.hash,)).fetchone()[0])

    def _to_items(
        self, db: sqlite3.Connection, rows: Sequence[sqlite3.Row], head: str | None = None
    ) -> list[Item]:
        regions: dict[int, list[Region]] = {row["id"]: [] for row in rows}
        query = """SELECT image, x, y, width, height, salience, pair FROM regions
            WHERE head = coalesce(?, (SELECT value FROM settings WHERE key = 'head'))
            AND image IN (SELECT value FROM json_each(?)) ORDER BY image, number"""
        for image, x, y, w, h, salience, pair in db.execute(query, (head, json.dumps(list(regions)))):
            regions[image].append(Region((x, y, w, h), salience, bool(pair)))
        return [self._to_item(row, tuple(regions[row["id"]])) for row in rows]

    def _to_item(self, row: sqlite3.Row, regions: tuple[Region, ...]) -> Item:
        return Item(
            id=row["id"],
            file_name=row["file_name"],
            path=self.folder / row["path"],
            thumbnail=self.thumbnail_path(row["hash"]),
            width=row["width"],
            height=row["height"],
            captions=tuple(json.loads(row["captions"])),
            subjects=tuple(_to_subject(subject) for subject in json.loads(row["subjects"])),
            extra=json.loads(row["extra"]),
            regions=regions,
        )

    def _setting(self, key: str) -> str:
        with self._connect() as db:
            row = db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"no setting {key}")
        return str(row[0])

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        if not is_gallery(self.folder):  # SQLite would make a new, empty one
            raise InputError(
                f"The gallery in {self.folder} is no longer there. Choose another, or index again."
            )
        with closing(sqlite3.connect(self.folder / DATABASE, timeout=60, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            yield db


def is_gallery(folder: Path) -> bool:
    """Whether `folder` looks like a gallery; `Gallery.open` says whether it is a whole one."""
    return (folder / DATABASE).is_file()


def _to_subject(stored: dict[str, Any]) -> Subject:
    bbox = stored.pop("bbox", None)
    known = {key: stored.pop(key, None) for key in ("phrase", "segmentation", "status", "source")}
    return Subject(bbox=tuple(bbox) if bbox else None, extra=stored, **known)


@contextmanager
def _writing(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction that holds the write lock from its start: all of it, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
