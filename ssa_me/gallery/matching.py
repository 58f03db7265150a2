"""Which images of a gallery fulfil conditions, remembered until the gallery is written to. It knows no vectors."""

from __future__ import annotations

import threading

import numpy as np

from ssa_me.gallery.database import DATABASE, Database
from ssa_me.gallery.filters import FIELDS, Filters

MOST_REMEMBERED = 32
_State = tuple[tuple[int, int], ...]


class Matching:
    """The conditions of the gallery that `database` belongs to. Threads may share it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._state: _State = ()
        self._found: dict[Filters, np.ndarray] = {}

    def ids(self, filters: Filters) -> np.ndarray:
        """Ids `(n,)` of the images that fulfil all conditions, in order; not to be changed."""
        state = self._written()
        with self._lock:
            if state != self._state or len(self._found) >= MOST_REMEMBERED:
                self._state, self._found = state, {}
            if filters in self._found:
                return self._found[filters]
        where, values = filters.sql()
        with self._database.reading() as db:
            db.create_function("folded", 1, _folded, deterministic=True)
            rows = db.execute(f"SELECT id FROM images WHERE {where} ORDER BY id", values).fetchall()
        found = np.array([row[0] for row in rows], dtype=np.int64)
        with self._lock:
            if state == self._state:
                self._found[filters] = found
        return found

    def fields(self, most: int) -> dict[str, dict[str, int]]:
        """Key → value → images, for keys of the data set's own with at most `most` values."""
        found: dict[str, dict[str, int]] = {}
        with self._database.reading() as db:
            for key, value, count in db.execute(FIELDS):
                found.setdefault(key, {})[value] = count
        return {key: values for key, values in found.items() if len(values) <= most}

    def _written(self) -> _State:
        """When and how much of the database and its log was written last."""
        files = [self._database.path, self._database.path.with_name(f"{DATABASE}-wal")]
        states = [path.stat() for path in files if path.is_file()]
        return tuple((state.st_mtime_ns, state.st_size) for state in states)


def _folded(text: object) -> str:
    return str(text).casefold()
