"""The list of versions in a folder: add, rename, delete, and which of them is in use. It loads no model.

    FOLDER/ID/version.json   what is known of it
    FOLDER/ID/checkpoint/    a checkpoint folder (the fingerprint is of this folder alone)
    FOLDER/in-use.json       the id of the version that the page works with

The checkpoint that the page was started with stands at the head of the list as `BASE`. It belongs to someone else and is
never changed.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ssa_me.checkpoint import fingerprints
from ssa_me.errors import InputError, disk_trouble
from ssa_me.jobs import read_json, write_json

BASE = "base"
_ID = re.compile(r"[0-9a-f]{12}")
_FILE, _CHECKPOINT, _IN_USE = "version.json", "checkpoint", "in-use.json"
_LONGEST = 60


@dataclass(frozen=True)
class ModelVersion:
    """A version and where it came from. fingerprints: of baseline and SSA-ME. parent: the id that it was trained from.
    data, recipe: what it was trained on and how, in plain values. unfinished: those that a stopped run left as far as
    they came. results: what was measured of it, the before/after among it. checkpoint: its folder."""

    id: str
    name: str
    checkpoint: Path
    created: float = 0.0
    origin: str = "trained"
    parent: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    results: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        table = {key: value for key, value in vars(self).items() if key != "checkpoint"}
        return table | {"unfinished": list(self.unfinished)}


class Shelf:
    """The versions of a folder. `base` is the checkpoint that stands at the head of the list, by its folder."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base = folder, base
        self._lock = threading.RLock()
        self._base_read: tuple[object, ModelVersion] | None = None

    def versions(self) -> list[ModelVersion]:
        """The base, then all versions, oldest first. A folder that is damaged is left out."""
        with self._lock:
            folders = self.folder.iterdir() if self.folder.is_dir() else iter(())
            found = [self._read(path) for path in folders if _ID.fullmatch(path.name)]
        kept = sorted((one for one in found if one is not None), key=lambda one: (one.created, one.id))
        return [self._base(), *kept]

    def version(self, id: object) -> ModelVersion:
        """The version of that id. InputError where there is none."""
        if id == BASE:
            return self._base()
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise InputError("That is not the name of a version. Choose one from the list.")
        found = self._read(self.folder / id)
        if found is None:
            raise InputError("There is no such version (any more). Choose one from the list.")
        return found

    def add(
        self,
        name: str,
        bring: Callable[[Path], object],
        *,
        origin: str = "trained",
        parent: str | None = None,
        data: Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] | None = None,
        unfinished: tuple[str, ...] = (),
    ) -> ModelVersion:
        """Put a checkpoint on the shelf: `bring` puts its folder at the path that it is given, which does not exist yet.

        Raises InputError where the disk is full, or the folder is no whole checkpoint; then nothing is left.
        """
        id = uuid.uuid4().hex[:12]
        building = self.folder / f".{id}"
        try:
            building.mkdir(parents=True)
            bring(building / _CHECKPOINT)
            checkpoint = building / _CHECKPOINT
            if not (checkpoint / "config.json").is_file():
                raise InputError("That is no checkpoint folder: it holds no config.json.")
            version = ModelVersion(
                id=id,
                name=self._free(name),
                checkpoint=self.folder / id / _CHECKPOINT,
                created=time.time(),
                origin=origin,
                parent=parent,
                fingerprints=fingerprints(checkpoint),
                data=dict(data or {}),
                recipe=dict(recipe or {}),
                unfinished=unfinished,
            )
            write_json(building / _FILE, version.to_json())
            building.rename(self.folder / id)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise disk_trouble(error, "the version") from error
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        return version

    def rename(self, id: object, name: str) -> ModelVersion:
        """Give a version another name. InputError where that is empty, or for the base."""
        version = self._own(id)
        clean = _clean(name)
        return version if clean == version.name else self._write(replace(version, name=self._free(clean)))

    def note(self, id: object, **results: Any) -> ModelVersion:
        """Keep what was measured of a version."""
        version = self._own(id)
        return self._write(replace(version, results={**version.results, **results}))

    def delete(self, id: object) -> None:
        """Remove a version with its checkpoint. InputError for the one that is in use, and for the base."""
        with self._lock:
            version = self._own(id)
            if self.in_use() == version.id:
                raise InputError(
                    f"{version.name} is in use. Use another version first, then delete this one."
                )
            try:
                gone = self.folder / f".{version.id}"
                (self.folder / version.id).rename(gone)
                shutil.rmtree(gone)
            except OSError as error:
                raise disk_trouble(error, "the folder of versions") from error

    def in_use(self) -> str:
        """The id of the version that the page works with: `BASE` where none was chosen, or the chosen one is gone."""
        id = (read_json(self.folder / _IN_USE) or {}).get("id")
        return id if isinstance(id, str) and _ID.fullmatch(id) and self._read(self.folder / id) else BASE

    def use(self, id: object) -> ModelVersion:
        """Make a version the one that the page works with from its next start on; to go back, use its parent."""
        version = self.version(id)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / _IN_USE, {"id": version.id})
        except OSError as error:
            raise disk_trouble(error, "the choice of the version") from error
        return version

    def of_fingerprints(self, prints: Mapping[str, str]) -> ModelVersion | None:
        """The version that has these fingerprints; None where none has."""
        return next((one for one in self.versions() if dict(one.fingerprints) == dict(prints)), None)

    # Inside

    def _base(self) -> ModelVersion:
        """The base; its weights are read again only where a file of it has changed."""
        files = [(path, path.stat()) for path in sorted(self.base.rglob("*"))]
        stamp = [(str(path), stat.st_mtime_ns, stat.st_size) for path, stat in files]
        with self._lock:
            if self._base_read is None or self._base_read[0] != stamp:
                prints = fingerprints(self.base) if (self.base / "config.json").is_file() else {}
                name = f"{self.base.name} (as it came)"
                found = ModelVersion(BASE, name, self.base, origin="start", fingerprints=prints)
                self._base_read = stamp, found
            return self._base_read[1]

    def _own(self, id: object) -> ModelVersion:
        if id == BASE:
            raise InputError("The model that the page was started with is not the page's to change.")
        return self.version(id)

    def _read(self, folder: Path) -> ModelVersion | None:
        table = read_json(folder / _FILE)
        if table is None or not (folder / _CHECKPOINT / "config.json").is_file():
            return None
        try:
            values = {key: value for key, value in table.items() if key in ModelVersion.__dataclass_fields__}
            version = ModelVersion(**values | {"checkpoint": folder / _CHECKPOINT, "id": folder.name})
            return replace(version, unfinished=tuple(version.unfinished))
        except TypeError:
            return None

    def _write(self, version: ModelVersion) -> ModelVersion:
        try:
            write_json(self.folder / version.id / _FILE, version.to_json())
        except OSError as error:
            raise disk_trouble(error, "what is known of the version") from error
        return version

    def _free(self, name: str) -> str:
        """`name`, with a number where another version has it already."""
        clean = _clean(name)
        taken = {one.name for one in self.versions()}
        numbers = (f"{clean} {number}" for number in range(2, len(taken) + 3))
        return next(one for one in (clean, *numbers) if one not in taken)


def _clean(name: str) -> str:
    clean = " ".join(str(name).split())[:_LONGEST]
    if not clean:
        raise InputError("The version has no name. Give it one.")
    return clean


def size_of(checkpoint: Path) -> int:
    """Bytes of a checkpoint folder."""
    return sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
