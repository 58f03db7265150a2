"""The indexes of a gallery's spaces: which kind each has, made when it is due, kept while nothing changes.

A space of few rows is searched exactly. A larger one gets an approximate index in a file of its own, beside its vectors;
rows that come later are searched exactly until they are many, then the index takes them in, and is made anew where it
has grown to more than twice of what it was made for. It knows vectors and rows, not images.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssa_me.errors import InputError
from ssa_me.gallery import approximate
from ssa_me.gallery.approximate import Approximate
from ssa_me.gallery.database import Database
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.vectors import map_rows, vector_file

EXACT = 50_000
"""Up to so many images a space is searched exactly."""
EXACT_SUBJECTS = 4 * EXACT
"""The same for rows of subject vectors, of which an image has several."""
LATE = 0.1
"""The share of rows that may lie behind an approximate index before it takes them in."""

ABANDONED = 24 * 3600
"""A file that was begun and not finished for so many seconds is nobody's."""


@dataclass(frozen=True)
class IndexCard:
    """A space: its name, `images` and live rows in it, rows in its file, their width, and how it is searched.

    recall: recall@10 of an approximate index on the sample it was tuned with, probes of how many lists; None where the
    search is exact. seconds: what making it took. bytes: of vectors on disk (mapped, not loaded).
    """

    space: str
    images: int
    rows: int
    dimension: int
    kind: str
    recall: float | None = None
    probes: int | None = None
    lists: int | None = None
    seconds: float | None = None

    @property
    def bytes(self) -> int:
        return self.rows * self.dimension * 4


class Indexes:
    """The indexes of the gallery that `database` belongs to. Threads may share it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._made: dict[str, tuple[tuple[int, str | None], VectorIndex]] = {}
        self._lists: dict[str, tuple[str, Approximate]] = {}

    def get(self, space: str) -> VectorIndex | None:
        """The index of a space as it is now; None where no image has an entry in it."""
        with self._lock, self._database.reading() as db:
            db.execute("BEGIN")
            known = "SELECT dimension, rows, changes FROM spaces WHERE name = ? AND images > 0"
            state = db.execute(known, (space,)).fetchone()
            if state is None:
                return None
            dimension, rows, changes = state
            kept = db.execute("SELECT * FROM indexes WHERE space = ?", (space,)).fetchone()
            key = (changes, kept["file"] if kept else None)
            if space not in self._made or self._made[space][0] != key:
                vectors = map_rows(vector_file(self._database.folder, space), rows, dimension)
                lists = self._load(kept, dimension) if kept else None
                self._made[space] = key, VectorIndex(vectors, _owners(db, space), lists)
            return self._made[space][1]

    def prepare(
        self,
        space: str,
        queries: np.ndarray | None = None,
        progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Make or extend the approximate index of a space where that is due."""
        if not self.is_due(space):
            return
        with self._database.reading() as db:
            kept = db.execute("SELECT * FROM indexes WHERE space = ?", (space,)).fetchone()
        begun = time.perf_counter()
        index = self.get(space)
        if index is None:
            return
        vectors, alive = index.vectors, index.alive
        if queries is not None:
            queries = np.concatenate([queries, approximate.sample_queries(vectors, alive)])
        old = self._read(kept, vectors.shape[1]) if kept and len(vectors) <= 2 * kept["trained"] else None
        if old is None:
            made = approximate.build(vectors, alive, queries, progress)
        else:
            made = approximate.extend(old, vectors, alive, queries, progress)
        self._keep(space, made, time.perf_counter() - begun)

    def is_due(self, space: str) -> bool:
        """Whether `prepare` has something to do for a space."""
        with self._database.reading() as db:
            there = db.execute("SELECT rows FROM spaces WHERE name = ?", (space,)).fetchone()
            kept = db.execute("SELECT rows, file FROM indexes WHERE space = ?", (space,)).fetchone()
        indexed = kept["rows"] if kept and (self._database.folder / kept["file"]).is_file() else 0
        return is_due(space, there["rows"] if there else 0, indexed)

    def cards(self) -> list[IndexCard]:
        with self._database.reading() as db:
            spaces = db.execute(
                "SELECT name, spaces.images, spaces.rows, dimension, file, recall, probes, seconds FROM spaces "
                "LEFT JOIN indexes ON space = name WHERE images > 0 ORDER BY name"
            ).fetchall()
        return [self._card(row) for row in spaces]

    def orphans(self, db: sqlite3.Connection | None = None) -> list[Path]:
        """Files below `vectors/` that belong to no space. Sure only of a `db` that holds the write lock."""
        if db is None:
            with self._database.reading() as reading:
                return self.orphans(reading)
        folder = self._database.folder
        files = {vector_file(folder, row[0]) for row in db.execute("SELECT name FROM spaces")}
        files |= {folder / row[0] for row in db.execute("SELECT file FROM indexes")}
        found = [
            path for path in (folder / "vectors").rglob("*") if path.suffix in (".f32", ".ivf", ".partial")
        ]
        old = time.time() - ABANDONED
        return [p for p in found if p not in files and (p.suffix != ".partial" or p.stat().st_mtime < old)]

    def _card(self, row: sqlite3.Row) -> IndexCard:
        plain = IndexCard(row["name"], row["images"], row["rows"], row["dimension"], "exact")
        if row["file"] is None:
            return plain
        lists = self._lists.get(row["name"])
        return IndexCard(
            *(plain.space, plain.images, plain.rows, plain.dimension, "approximate"),
            recall=row["recall"],
            probes=row["probes"],
            lists=lists[1].lists.nlist if lists else None,
            seconds=row["seconds"],
        )

    def _load(self, kept: sqlite3.Row, dimension: int) -> Approximate | None:
        """The lists of an index, read once; None where the file is gone or damaged: the search is exact then."""
        space, file = str(kept["space"]), str(kept["file"])
        if space not in self._lists or self._lists[space][0] != file:
            lists = self._read(kept, dimension)
            if lists is None:
                return None
            self._lists[space] = file, lists
        return self._lists[space][1]

    def _read(self, kept: sqlite3.Row, dimension: int) -> Approximate | None:
        path = self._database.folder / kept["file"]
        try:
            return approximate.load(
                path, dimension, kept["rows"], kept["probes"], kept["recall"], kept["trained"]
            )
        except InputError:
            if not self._database.read_only:
                path.unlink(missing_ok=True)  # the next `prepare` makes it anew
            return None

    def _keep(self, space: str, made: Approximate, seconds: float) -> None:
        """Write the lists beside the vectors, and count them once they are there."""
        folder = self._database.folder
        path = folder / "vectors" / f"{space}-{len(made)}-{made.trained}.ivf"
        file = path.relative_to(folder).as_posix()
        unfinished = path.with_suffix(".partial")
        approximate.save(made, unfinished)
        with self._database.writing() as db:
            known = db.execute("SELECT rows FROM spaces WHERE name = ?", (space,)).fetchone()
            if known is None or known["rows"] < len(made):  # forgotten meanwhile
                unfinished.unlink(missing_ok=True)
                return
            unfinished.replace(path)
            values = (space, file, len(made), made.trained, made.probes, made.recall, seconds)
            db.execute("INSERT OR REPLACE INTO indexes VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def is_due(space: str, rows: int, indexed: int) -> bool:
    """Whether a space of so many rows needs an approximate index, or one that takes in more than `indexed`."""
    exact = EXACT_SUBJECTS if "/subjects-" in space else EXACT
    return rows > exact and rows - indexed > max(LATE * rows, 0 if indexed == 0 else LATE * exact)


def _owners(db: sqlite3.Connection, space: str) -> np.ndarray:
    """(n, 3): image, first row, rows."""
    cursor = db.cursor()
    cursor.row_factory = None
    rows = cursor.execute("SELECT image, start, count FROM vectors WHERE space = ?", (space,))
    return np.fromiter((value for row in rows for value in row), dtype=np.int64).reshape(-1, 3)
