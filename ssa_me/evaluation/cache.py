"""Arrays on disk by key, so that an interrupted evaluation goes on where it was. It knows nothing of models or subsets.

One SQLite file holds the arrays of one computation: name it by whatever the numbers depend on besides the key. Each
`put` is one transaction, so what a killed process leaves is whole. A file that cannot be read is begun anew.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from ssa_me.errors import InputError

_AT_ONCE = 500  # keys in one question to SQLite


def digest(*parts: str | bytes) -> str:
    """A key from parts: hexadecimal digits that no other parts in this order give."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


class ArrayCache:
    """float32 arrays `(n, d)` by key, in one file. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = self._opened()
        except (OSError, sqlite3.OperationalError) as error:
            raise InputError(
                f"The cache {path} cannot be written ({error}). Give another --cache."
            ) from error

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connect(self.path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self.path.unlink()
            return _connect(self.path)

    def __enter__(self) -> ArrayCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def get(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """The arrays of those `keys` that are there."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, np.ndarray] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            marks = ",".join("?" * len(part))
            rows = self._database.execute(f"SELECT key, width, data FROM arrays WHERE key IN ({marks})", part)
            for key, width, data in rows:
                found[key] = np.frombuffer(data, dtype="<f4").reshape(-1, width).astype(np.float32)
        return found

    def put(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep `arrays`, each `(n, d)` with d 1 or more, all of them or none."""
        rows = [
            (key, array.shape[1], np.ascontiguousarray(array, dtype="<f4").tobytes())
            for key, array in arrays.items()
        ]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO arrays VALUES (?, ?, ?)", rows)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=30)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE IF NOT EXISTS arrays (key TEXT PRIMARY KEY, width INTEGER, data BLOB)")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database
