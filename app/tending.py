"""What the Gallery tab asks of a gallery that is there: removing images, how it is searched. Imports no gradio;
whether anything may be removed is the tab's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app import views
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.gallery.store import Gallery

MOST_REMOVED = 1000


class Tending:
    """Looks after the galleries of one workspace. Thread-safe as that is."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def remove(self, gallery_id: object, ids: object) -> int:
        """Forget images of a gallery; no index is made anew. Returns how many were there. Raises InputError where nothing
        is named, or the gallery is read-only."""
        if not isinstance(ids, list) or not ids or not all(type(id) is int for id in ids):
            raise InputError("No image is chosen. Choose some first.")
        if len(ids) > MOST_REMOVED:
            raise InputError(f"{len(ids):,} images are chosen; remove at most {MOST_REMOVED:,} at once.")
        return self._workspace.gallery(gallery_id).remove(ids)

    def cards(self, gallery: Gallery) -> list[dict[str, Any]]:
        """How each set of vectors is searched; the names of the loaded model's versions, else a fingerprint."""
        from ssa_me.gallery.items import Spaces

        info = self._workspace.model()
        names: dict[str, str] = {}
        if info is not None:
            spaces = Spaces(info.fingerprints)
            for version in info.fingerprints:
                title = views.title(version)
                names |= {
                    spaces.images(version): f"{title}: images",
                    spaces.subjects(version): f"{title}: subjects",
                }
        return [
            {
                "name": names.get(card.space, card.space),
                "loaded": card.space in names,
                "rows": card.rows,
                "dimension": card.dimension,
                "kind": card.kind,
                "recall": card.recall,
                "megabytes": round(card.bytes / 2**20, 1),
            }
            for card in gallery.cards()
        ]
