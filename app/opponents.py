"""Which version of the model stands in the baseline's place, for a visitor who compares two of them. Imports no gradio.

A visitor's choice is the id of a version on the shelf; without one SSA-ME stands against its own baseline. One opponent's
model is kept in memory, the last that was asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ssa_me.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from app.views import Json
    from app.workspace import Workspace
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.embedding import Embedder
    from ssa_me.gallery.items import Spaces
    from ssa_me.shelf import ModelVersion


class Opponents:
    """The versions that can be compared with the one in use. Thread-safe as the workspace is."""

    def __init__(self, workspace: Workspace, load: Callable[[Path], SalientEmbedder] | None) -> None:
        """`load` loads the model of a checkpoint folder; None where a GPU is lent, which takes no second model later."""
        self._workspace, self._load = workspace, load
        self._kept: tuple[tuple[str, ...], SalientEmbedder] | None = None
        self._lock = threading.Lock()

    def choices(self) -> list[Json]:
        """Id and name of every version but the one in use."""
        shelf = self._workspace.training.shelf
        if self._load is None or not shelf.folder.is_dir():
            return []
        used = shelf.in_use()
        return [{"id": one.id, "name": one.name} for one in shelf.versions() if one.id != used]

    def embedder(self, against: str | None) -> Embedder:
        """The model that answers: as it is in use, or with SSA-ME of the version `against` in the baseline's place, loaded
        now where it is not in memory. Raises InputError where that is no other version."""
        own = self._workspace.embedder()
        if against is None:
            return own
        from ssa_me.opposed import Opposed

        version, used = self._other(against), self._used()
        return Opposed(self._model(version), own, (version.name, used.name))

    def model(self, against: str) -> SalientEmbedder:
        """The model of the version `against` alone, with both its adapters. Raises InputError as `embedder` does."""
        return self._model(self._other(against))

    def side(self, against: str | None, version: str) -> tuple[SalientEmbedder, str]:
        """The model that stands behind "baseline" or "ssa-me", and the version of it that does. Raises InputError as
        `embedder` does."""
        if against is None:
            return self._workspace.embedder(), version
        return (self.model(against) if version == "baseline" else self._workspace.embedder()), "ssa-me"

    def spaces(self, against: str) -> Spaces:
        """The vectors that a gallery needs of SSA-ME of the version `against`. Loads no model."""
        from ssa_me.gallery.items import Spaces

        return Spaces(dict(self._other(against).fingerprints))

    def fingerprints(self, against: str | None) -> dict[str, str] | None:
        """Version → fingerprint of what is compared; None until the model is loaded. Loads none. Raises InputError as
        `embedder` does."""
        info = self._workspace.model()
        if info is None or against is None:
            return dict(info.fingerprints) if info else None
        theirs = self._other(against).fingerprints
        return {"baseline": theirs["ssa-me"], "ssa-me": info.fingerprints["ssa-me"]}

    def name(self, against: str | None) -> str:
        """The name of a version, "" without one or where it is gone."""
        try:
            return "" if against is None else self._workspace.training.shelf.version(against).name
        except InputError:
            return ""

    def forget(self) -> None:
        """Let go of the model that is kept."""
        with self._lock:
            self._kept = None

    def _used(self) -> ModelVersion:
        shelf = self._workspace.training.shelf
        return shelf.version(shelf.in_use())

    def _other(self, against: str) -> ModelVersion:
        shelf = self._workspace.training.shelf
        version = shelf.version(against)
        if version.id == shelf.in_use():
            raise InputError(f"{version.name} is the version in use. Choose another one to compare it with.")
        return version

    def _model(self, version: ModelVersion) -> SalientEmbedder:
        if self._load is None:
            raise InputError(
                "Versions cannot be compared where a GPU is lent for each question: it holds one model."
            )
        key = (version.id, *version.fingerprints.values())
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                self._kept = None  # two opponents never lie in memory at once
                self._kept = key, self._load(version.checkpoint)
            return self._kept[1]
