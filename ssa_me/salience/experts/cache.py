"""Keeps the maps of an expert on disk, so that no image and phrase is asked for twice. Knows no model.

A file a map, named by image content, phrase and the expert's version; no pickles. What was used longest ago goes first.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from ssa_me.images import pixel_hash
from ssa_me.salience.experts.protocol import VisualExpert

_SUFFIX = ".npz"


class CachedExpert(VisualExpert):
    """`expert` with its maps kept in `folder`, at most `capacity` bytes of them. Safe to share between threads.

    Several experts may share a folder. A file that is damaged counts as not there.
    """

    def __init__(self, expert: VisualExpert, folder: Path, capacity: int = 256 * 2**20) -> None:
        self._expert, self._folder, self._capacity = expert, folder, capacity
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def version(self) -> str:
        return self._expert.version

    def maps(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        digests = [pixel_hash(image) for image in images]
        names = [[self._name(d, phrase) for phrase in of] for d, of in zip(digests, phrases, strict=True)]
        read = {name: self._read(name) for name in dict.fromkeys(name for row in names for name in row)}
        kept = {name: found for name, found in read.items() if found is not None}
        lacking = [
            list(dict.fromkeys(phrase for name, phrase in zip(row, of, strict=True) if name not in kept))
            for row, of in zip(names, phrases, strict=True)
        ]
        asked = [i for i, missing in enumerate(lacking) if missing or not phrases[i]]
        answers = self._expert.maps([images[i] for i in asked], [lacking[i] for i in asked]) if asked else []
        fresh = dict(zip(asked, answers, strict=True))
        for i, maps in fresh.items():
            for phrase, found in zip(lacking[i], maps, strict=True):
                name = self._name(digests[i], phrase)
                kept[name] = found
                self._write(name, found)
        if fresh:
            self._evict()
        return [np.stack([kept[name] for name in row]) if row else fresh[i] for i, row in enumerate(names)]

    def _name(self, digest: str, phrase: str) -> str:
        key = "\n".join((digest, self._expert.version, phrase))
        return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest() + _SUFFIX

    def _read(self, name: str) -> np.ndarray | None:
        path = self._folder / name
        try:
            with np.load(path, allow_pickle=False) as file:
                found = np.asarray(file["map"], np.float32)
            os.utime(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return found if found.ndim == 2 else None

    def _write(self, name: str, found: np.ndarray) -> None:
        part = self._folder / f".{uuid4().hex}"
        with part.open("wb") as file:
            np.savez_compressed(file, map=found)
        part.replace(self._folder / name)

    def _evict(self) -> None:
        with self._lock:
            files = []
            for path in self._folder.glob(f"*{_SUFFIX}"):
                try:
                    files.append((path.stat().st_mtime_ns, path.stat().st_size, path))
                except FileNotFoundError:  # another process has evicted it
                    continue
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= self._capacity:
                    break
                path.unlink(missing_ok=True)
                total -= size
