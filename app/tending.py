"""What the Gallery tab asks of a gallery that is there: removing images, finding near-duplicates, how it is searched. Imports no
gradio; whether anything may be removed is the tab's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app import views
from app.refining import NEAR_DUPLICATE
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

    def twins(self, gallery_id: object, ids: list[int]) -> dict[str, dict[str, Any]]:
        """Of these images, those with a near-duplicate in the whole gallery: id → the other's id and the cosine (of SSA-ME's
        vectors)."""
        from ssa_me.gallery.items import Spaces

        gallery = self._workspace.gallery(gallery_id)
        index = gallery.index(Spaces(self._workspace.embedder().info.fingerprints).images("ssa-me"))
        found: dict[str, dict[str, Any]] = {}
        for id in ids if index is not None else []:
            if index is None or id not in index:
                continue
            best = index.best(index.of(id)[0], 2)
            others = [(int(o), float(s)) for o, s in zip(best.ids, best.scores, strict=True) if int(o) != id]
            other, cosine = max(others, key=lambda pair: pair[1], default=(id, -1.0))
            if cosine >= NEAR_DUPLICATE:
                found[str(id)] = {"id": other, "cosine": round(cosine, 3)}
        return found

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
