"""`Gallery`: images, their metadata, regions and vectors in one folder. Knows no model, no search, no page.

    gallery.sqlite             images, regions, settings, and which rows of a vector file belong to an image
    thumbnails/ab/<hash>.jpg   at most 320 px on the longer side, made once
    images/ab/<hash>.jpg       images that came in a zip or an upload; those of a folder stay where they are
    vectors/<fingerprint>/     one file of float32 rows a space, see `Spaces`; an approximate index beside a large one

A gallery can be shared between threads and opened by several processes. A writer holds SQLite's write lock while it
appends vectors, and the vectors are on the disk before the database counts them: a gallery whose writer is killed holds
everything up to the last whole batch. What is removed is forgotten first and deleted afterwards; where that was
interrupted, the next `open` goes on.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.explanation import Region
from ssa_me.gallery.database import DATABASE, UNFINISHED, Database, set_setting
from ssa_me.gallery.filters import Filters
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.indexes import IndexCard, Indexes
from ssa_me.gallery.items import Item, NewImage, NewVectors, Spaces
from ssa_me.gallery.matching import Matching
from ssa_me.gallery.vectors import append_rows, vector_file, whole_rows
from ssa_me.images import load_image
from ssa_me.samples import Subject


class Gallery:
    """A gallery on disk. Make one with `create` or `open`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.database = Database(self.folder)
        self._indexes = Indexes(self.database)
        self._matching = Matching(self.database)

    @classmethod
    def create(cls, folder: Path, name: str, checkpoint: str) -> Gallery:
        """Make an empty gallery. Raises InputError where `folder` holds something already, or cannot be written."""
        begun = folder.is_dir() and all(path.name.startswith(UNFINISHED) for path in folder.iterdir())
        if folder.exists() and not begun:
            raise InputError(f"{folder} is not empty. Give a new folder, or open the gallery that is there.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            gallery = cls(folder)
            gallery.database.create({"name": name, "checkpoint": checkpoint})
        except (OSError, sqlite3.OperationalError) as error:
            raise InputError(f"No gallery can be made in {folder} ({error}). Give another folder.") from error
        return gallery

    @classmethod
    def open(cls, folder: Path) -> Gallery:
        """Open a gallery, and put right what a writer that was killed has left: vectors whose file was cut are forgotten
        (the next ingest embeds those images again), files of removed images are deleted. A read-only folder is fine.

        Raises InputError where there is none, it was not finished, or it was written by a newer version.
        """
        if not is_gallery(folder):
            raise InputError(
                f"{folder} is not a gallery. Make one: python -m ssa_me index SOURCE --gallery {folder}"
            )
        gallery = cls(folder)
        gallery.database.check()
        if not gallery.read_only:
            gallery._forget_lost_vectors()
            gallery._sweep()
        return gallery

    @property
    def name(self) -> str:
        return self.database.setting("name")

    @property
    def checkpoint(self) -> str:
        """The checkpoint whose vectors this gallery has: a folder. See `adopt`."""
        return self.database.setting("checkpoint")

    @property
    def read_only(self) -> bool:
        """Whether images can be searched, but none added or removed."""
        return self.database.read_only

    def __len__(self) -> int:
        return int(self.database.setting("count"))

    def items(self, offset: int = 0, limit: int = 60) -> list[Item]:
        """`limit` images from `offset` on, in the order in which they came."""
        with self.database.reading() as db:
            rows = db.execute("SELECT * FROM images ORDER BY id LIMIT ? OFFSET ?", (limit, offset)).fetchall()
            return self._to_items(db, rows)

    def items_of(self, ids: Iterable[int], head: str | None = None) -> dict[int, Item]:
        """Items by id, with the regions of a head (its version's fingerprint; default: the one used last).

        Raises InputError where one is not there."""
        wanted = list(dict.fromkeys(int(id) for id in ids))
        with self.database.reading() as db:
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
        with self.database.reading() as db:
            return dict(db.execute("SELECT hash, file_name FROM images").fetchall())

    def thumbnail_path(self, hash: str) -> Path:
        return self.folder / "thumbnails" / hash[:2] / f"{hash}.jpg"

    def copy_path(self, hash: str) -> Path:
        """Where the gallery keeps an image of its own."""
        return self.folder / "images" / hash[:2] / f"{hash}.jpg"

    def matching(self, filters: Filters) -> np.ndarray:
        """Ids `(n,)` of the images that fulfil all conditions, in order."""
        return self._matching.ids(filters)

    def fields(self, most: int = 12) -> dict[str, dict[str, int]]:
        """Key → value → images, for keys of the data set's own with at most `most` values: what can be filtered by."""
        return self._matching.fields(most)

    # Vectors

    def lacking(self, spaces: Spaces) -> list[int]:
        """Ids of the images that lack an entry in any of these spaces."""
        names = spaces.all()
        marks = ",".join("?" * len(names))
        whole = f"SELECT image FROM vectors WHERE space IN ({marks}) GROUP BY image HAVING count(*) = ?"
        query = f"SELECT id FROM images WHERE id NOT IN ({whole}) ORDER BY id"
        with self.database.reading() as db:
            return [row[0] for row in db.execute(query, (*names, len(names)))]

    def index(self, space: str) -> VectorIndex | None:
        """The index of a space as it is now; None where no image has an entry in it."""
        return self._indexes.get(space)

    def prepare(
        self,
        spaces: Spaces,
        queries: Mapping[str, np.ndarray] | None = None,
        progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Make or extend the approximate indexes of those spaces that are large enough to need one. queries: version →
        `(Q, D)` vectors to measure recall with. progress: gets the fraction of a space done, and may raise to stop."""
        for version in spaces.fingerprints:
            for space in (spaces.images(version), spaces.subjects(version)):
                self._indexes.prepare(space, (queries or {}).get(version), progress)

    def is_due(self, spaces: Spaces) -> bool:
        """Whether `prepare` has something to do."""
        return any(self._indexes.is_due(space) for space in spaces.all())

    def captions(self, most: int) -> list[str]:
        """The first caption of up to `most` images that have one, spread over the gallery."""
        query = """SELECT json_extract(captions, '$[0]') FROM images WHERE captions != '[]'
            ORDER BY (id * 2654435761) % 4294967296 LIMIT ?"""
        with self.database.reading() as db:
            return [str(row[0]) for row in db.execute(query, (most,))]

    def cards(self) -> list[IndexCard]:
        """What each space holds and how it is searched."""
        return self._indexes.cards()

    def write(self, images: Sequence[NewImage | int], found: NewVectors) -> list[int]:
        """Store images (or, by id, images that are there already) with what a model found, all or none.

        Entries that an image already has are kept; an image that was removed meanwhile stays so. Returns the ids.
        """
        with self.database.writing() as db:
            ids = [image if isinstance(image, int) else self._insert_image(db, image) for image in images]
            listed = json.dumps(ids)
            there = {
                row[0]
                for row in db.execute(
                    "SELECT id FROM images WHERE id IN (SELECT value FROM json_each(?))", (listed,)
                )
            }
            for id, regions in zip(ids, found.regions, strict=True):
                rows = [(found.head, id, n, *r.bbox, r.salience, not r.single) for n, r in enumerate(regions)]
                if id in there:
                    db.executemany("INSERT OR REPLACE INTO regions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            for space, arrays in found.rows.items():
                self._append(db, space, {i: a for i, a in zip(ids, arrays, strict=True) if i in there})
            db.execute("INSERT OR IGNORE INTO settings VALUES ('head', ?)", (found.head,))
        return ids

    def adopt(self, checkpoint: str, spaces: Spaces) -> None:
        """From now on this is the gallery's checkpoint: all that could be embedded with it has been. Until then a search
        without a checkpoint goes by the one before, whose vectors are all there."""
        if self.checkpoint == checkpoint and self.head == spaces.head:
            return
        with self.database.writing() as db:
            set_setting(db, "checkpoint", checkpoint)
            set_setting(db, "head", spaces.head)

    @property
    def head(self) -> str | None:
        """The head whose regions items have by default; None while nothing is embedded."""
        with self.database.reading() as db:
            row = db.execute("SELECT value FROM settings WHERE key = 'head'").fetchone()
        return str(row[0]) if row else None

    # Removing

    def remove(self, ids: Iterable[int]) -> int:
        """Forget images with their vectors and regions; no index is made anew. What the gallery made of them (thumbnails,
        copies) is deleted, originals stay where they are. Returns how many were there. Raises InputError where the folder
        is read-only."""
        listed = json.dumps(sorted({int(id) for id in ids}))
        among = "IN (SELECT value FROM json_each(?))"
        with self.database.writing() as db:
            hashes = [row[0] for row in db.execute(f"SELECT hash FROM images WHERE id {among}", (listed,))]
            spaces = [row[0] for row in db.execute("SELECT name FROM spaces")]
            for space in spaces:
                gone = db.execute(f"DELETE FROM vectors WHERE space = ? AND image {among}", (space, listed))
                db.execute(
                    "UPDATE spaces SET images = images - ?, changes = changes + 1 WHERE name = ? AND ?",
                    (gone.rowcount, space, gone.rowcount),
                )
            for head in {space.rpartition("/subjects-")[2] for space in spaces if "/subjects-" in space}:
                db.execute(f"DELETE FROM regions WHERE head = ? AND image {among}", (head, listed))
            set_setting(db, "last", str(_next_id(db) - 1))  # no id is ever given again
            db.execute(f"DELETE FROM images WHERE id {among}", (listed,))
            now = time.time()
            db.executemany("INSERT OR REPLACE INTO removed VALUES (?, ?)", [(hash, now) for hash in hashes])
            _count(db, -len(hashes))
        self._sweep()
        return len(hashes)

    def forget_others(self, spaces: Spaces) -> int:
        """Delete the vectors and regions of all other model versions. Returns how many spaces went. Raises InputError
        where images lack vectors of `spaces`, which would leave them with none."""
        lacking = len(self.lacking(spaces))
        if lacking:
            raise InputError(f"{lacking:,} images lack vectors of this checkpoint. Embed them first.")
        kept = json.dumps(spaces.all())
        others = "NOT IN (SELECT value FROM json_each(?))"
        with self.database.writing() as db:
            for table, column in (("vectors", "space"), ("indexes", "space"), ("spaces", "name")):
                gone = db.execute(f"DELETE FROM {table} WHERE {column} {others}", (kept,)).rowcount
            db.execute("DELETE FROM regions WHERE head != ?", (spaces.head,))
        self._sweep()
        return gone

    def _sweep(self) -> None:
        """Delete files that the database has forgotten. Holds the write lock, so that no writer is about to count
        them."""
        with self.database.reading() as db:
            waiting = db.execute("SELECT count(*) FROM removed").fetchone()[0]
        if not waiting and not self._indexes.orphans():
            return
        with self.database.writing() as db:
            there = "SELECT hash, at, hash IN (SELECT hash FROM images) AS kept FROM removed"
            for hash, at, kept in db.execute(there).fetchall():
                for path in () if kept else (self.thumbnail_path(hash), self.copy_path(hash)):
                    if path.is_file() and path.stat().st_mtime <= at:  # a later one is of an ingest under way
                        path.unlink(missing_ok=True)
            db.execute("DELETE FROM removed")
            for path in self._indexes.orphans(db):
                path.unlink(missing_ok=True)

    def _append(self, db: sqlite3.Connection, space: str, arrays: Mapping[int, np.ndarray]) -> None:
        query = "SELECT image FROM vectors WHERE space = ? AND image IN (SELECT value FROM json_each(?))"
        present = {row[0] for row in db.execute(query, (space, json.dumps(list(arrays))))}
        fresh = {id: rows for id, rows in arrays.items() if id not in present}
        if not fresh:
            return
        dimension = next(iter(fresh.values())).shape[1]
        db.execute("INSERT OR IGNORE INTO spaces VALUES (?, ?, 0, 0, 0)", (space, dimension))
        start = db.execute("SELECT rows FROM spaces WHERE name = ?", (space,)).fetchone()[0]
        append_rows(vector_file(self.folder, space), np.concatenate(list(fresh.values())), start)
        for id, rows in fresh.items():
            db.execute("INSERT INTO vectors VALUES (?, ?, ?, ?)", (space, id, start, len(rows)))
            start += len(rows)
        db.execute(
            "UPDATE spaces SET rows = ?, images = images + ?, changes = changes + 1 WHERE name = ?",
            (start, len(fresh), space),
        )

    def _forget_lost_vectors(self) -> None:
        with self.database.reading() as db:
            declared = db.execute("SELECT name, dimension, rows FROM spaces").fetchall()
        lost = [name for name, dimension, rows in declared if self._held(name, dimension) < rows]
        if not lost:
            return
        with self.database.writing() as db:
            for name, dimension, rows in db.execute("SELECT name, dimension, rows FROM spaces").fetchall():
                held = self._held(name, dimension)
                if held >= rows:
                    continue
                db.execute("DELETE FROM vectors WHERE space = ? AND start + count > ?", (name, held))
                db.execute("DELETE FROM indexes WHERE space = ? AND rows > ?", (name, held))
                left = "SELECT coalesce(max(start + count), 0), count(*) FROM vectors WHERE space = ?"
                rows, images = db.execute(left, (name,)).fetchone()
                db.execute(
                    "UPDATE spaces SET rows = ?, images = ?, changes = changes + 1 WHERE name = ?",
                    (rows, images, name),
                )

    def _held(self, space: str, dimension: int) -> int:
        return whole_rows(vector_file(self.folder, space), dimension)

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
        columns = "hash, file_name, path, width, height, captions, subjects, extra, id"
        query = f"INSERT OR IGNORE INTO images ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        _count(db, db.execute(query, (*values, _next_id(db))).rowcount)
        return int(db.execute("SELECT id FROM images WHERE hash = ?", (image.hash,)).fetchone()[0])

    def _to_items(
        self, db: sqlite3.Connection, rows: Sequence[sqlite3.Row], head: str | None = None
    ) -> list[Item]:
        regions: dict[int, list[Region]] = {row["id"]: [] for row in rows}
        query = """SELECT image, x, y, width, height, salience, pair FROM regions
            WHERE head = coalesce(?, (SELECT value FROM settings WHERE key = 'head'))
            AND image IN (SELECT value FROM json_each(?)) ORDER BY image, number"""
        for image, x, y, w, h, salience, pair in db.execute(query, (head, json.dumps(list(regions)))):
            regions[image].append(Region((x, y, w, h), salience, single=not pair))
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


def is_gallery(folder: Path) -> bool:
    """Whether `folder` looks like a gallery; `Gallery.open` says whether it is a whole one."""
    return (folder / DATABASE).is_file()


def _to_subject(stored: dict[str, Any]) -> Subject:
    bbox = stored.pop("bbox", None)
    known = {key: stored.pop(key, None) for key in ("phrase", "segmentation", "status", "source")}
    return Subject(bbox=tuple(bbox) if bbox else None, extra=stored, **known)


def _count(db: sqlite3.Connection, more: int) -> None:
    db.execute("UPDATE settings SET value = CAST(value AS INTEGER) + ? WHERE key = 'count'", (more,))


def _next_id(db: sqlite3.Connection) -> int:
    highest = (
        "SELECT max(id) FROM images UNION SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'last'"
    )
    return max(row[0] or 0 for row in db.execute(highest)) + 1
