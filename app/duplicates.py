"""Near-duplicates of a whole gallery for the Gallery tab: looked for in jobs, kept until the gallery is another, shown a page of
groups at a time. Imports no gradio; whether anything may be removed is the tab's to say.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from app import views
from app.jobs import Job, JobState
from app.tending import MOST_REMOVED
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.gallery.near_duplicates import Group, NearDuplicates
    from ssa_me.gallery.store import Gallery

LEAST = 0.5
"""No lower cosine is taken for a threshold on the page: nearly everything would be alike."""
GROUPS = 24
"""So many groups are on a page."""
SHOWN = 30
"""So many images of a group are shown; what is not shown cannot be chosen."""
AT_ONCE = 4
"""So many searches may be under way, of which one runs and the others wait."""
KEPT = 8
AT_HAND = 0.4
"""A search that takes fewer seconds is waited for, so that a small gallery shows its groups at once."""


@dataclass(frozen=True)
class _Search:
    """A search and what it is of."""

    gallery: Gallery
    threshold: float
    job: Job

    @property
    def found(self) -> NearDuplicates | None:
        found: NearDuplicates | None = self.job.state.result.get("found")
        return found

    def holds(self, space: str | None, ids: np.ndarray) -> bool:
        """Whether it compared all of these images, and perhaps others, by their vectors in `space`."""
        found = self.found
        if found is None or self.job.state.result["space"] != space:
            return False
        return bool(np.isin(ids, found.searched).all())


class Duplicates:
    """Searches for near-duplicates in the galleries of one workspace. Thread-safe; who asks the same gets the same search."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._searches: dict[tuple[str, float], _Search] = {}
        self._lock, self._turn = threading.Lock(), threading.Lock()

    def begin(self, gallery_id: object, threshold: object) -> None:
        """Look for near-duplicates where that is not done or under way. Raises InputError where there is no such gallery, the
        threshold makes no sense, or too many other searches are under way."""
        gallery, least = self._workspace.gallery(gallery_id), _threshold(threshold)
        with self._lock:
            key = (str(gallery_id), least)
            search = self._searches.get(key)
            if search is None or not (search.job.running or self._is_fresh(search)):
                if sum(other.job.running for other in self._searches.values()) >= AT_ONCE:
                    raise InputError(
                        "Other searches for near-duplicates are under way. Wait for one of them."
                    )
                earlier = [other for other in self._searches.values() if other.gallery is gallery]
                job = Job(gallery.name, lambda job: self._look(job, gallery, least, earlier))
                search = self._keep(key, _Search(gallery, least, job))
                job.start()
        search.job.wait(AT_HAND)

    def cancel(self, gallery_id: object, threshold: object) -> None:
        """Stop that search where it is under way."""
        search = self._searches.get((str(gallery_id), _threshold(threshold)))
        if search is not None and search.job.running:
            search.job.cancel()

    def view(self, gallery_id: object, threshold: object, offset: object = 0) -> views.Json:
        """How far the search is, or a page of its groups from number `offset` on. A search that was never begun, or whose
        gallery has changed since, is begun."""
        gallery, least = self._workspace.gallery(gallery_id), _threshold(threshold)
        search = self._searches.get((str(gallery_id), least))
        if search is None or (search.found is not None and not self._is_fresh(search)):
            self.begin(gallery_id, least)
            search = self._searches[str(gallery_id), least]
        state = search.job.state
        shown = {
            "id": gallery_id,
            "name": gallery.name,
            "threshold": least,
            "least": LEAST,
            "phase": state.phase,
            "message": state.message,
            "fraction": state.fraction,
            "read_only": gallery.read_only,
        }
        found = state.result.get("found")
        return shown | (_page(str(gallery_id), gallery, found, offset) if found is not None else {})

    # Inside

    def _keep(self, key: tuple[str, float], search: _Search) -> _Search:
        """Keep a search, and forget the oldest of those that have ended where there are too many."""
        self._searches.pop(key, None)
        ended = [name for name, other in self._searches.items() if not other.job.running]
        for name in ended[: max(0, len(self._searches) + 1 - KEPT)]:
            del self._searches[name]
        self._searches[key] = search
        return search

    def _look(self, job: Job, gallery: Gallery, threshold: float, earlier: list[_Search]) -> JobState:
        """The work of a search: after those before it, and among what an earlier one has found where that is enough."""
        from ssa_me.gallery.near_duplicates import near_duplicates

        job.report("Waiting for the model …")
        self._workspace.embedder()
        space = self._space()
        job.report("Waiting for another search …")
        while not self._turn.acquire(timeout=0.1):
            if job.cancelled():
                return JobState("cancelled", "Cancelled.")
        try:
            ids = _ids(gallery, space)
            before = _before(earlier, space, threshold, ids)
            members = [id for group in before.groups for id in group.ids] if before else ids
            among = ids[np.isin(ids, members)] if before else None
            found = near_duplicates(
                gallery,
                space or "",
                threshold,
                among=among,
                progress=lambda part: job.report(
                    f"{int(100 * part)} % of {len(members):,} images compared", part
                ),
                cancelled=job.cancelled,
            )
        finally:
            self._turn.release()
        if found.cancelled:
            return JobState("cancelled", "Cancelled.")
        whole = replace(found, searched=ids, kind=before.kind) if before else found
        return JobState("done", "", 1.0, {"found": whole, "space": space})

    def _is_fresh(self, search: _Search) -> bool:
        """Whether a search found what there is to find now."""
        space, found = self._space(), search.found
        ids = _ids(search.gallery, space)
        return found is not None and len(ids) == len(found.searched) and search.holds(space, ids)

    def _space(self) -> str | None:
        """SSA-ME's image vectors; None while no model is loaded."""
        from ssa_me.gallery.items import HEAD, Spaces

        info = self._workspace.model()
        return Spaces(info.fingerprints).images(HEAD) if info else None


def _before(
    earlier: list[_Search], space: str | None, threshold: float, ids: np.ndarray
) -> NearDuplicates | None:
    """What one of the earlier searches found at this threshold or a lower one, on these images and perhaps others: its groups
    hold all that is to be found now."""
    able = [search for search in earlier if search.threshold <= threshold and search.holds(space, ids)]
    return max(able, key=lambda search: search.threshold).found if able else None


def _threshold(value: object) -> float:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or not LEAST <= value <= 1
    ):
        raise InputError(
            f"The threshold of near-duplicates is a cosine from {LEAST} to 1. Choose another one."
        )
    return round(float(value), 3)


def _ids(gallery: Gallery, space: str | None) -> np.ndarray:
    """Ids of the images that have a vector in `space`, rising."""
    index = gallery.index(space) if space else None
    return np.empty(0, np.int64) if index is None else np.asarray(index.owners)[:, 0]


def _page(gallery_id: str, gallery: Gallery, found: NearDuplicates, offset: object) -> views.Json:
    """Groups from number `offset` on, each with its representative first. rest: ids of what is as alike to the first of its
    group as asked, of all pages, as many as can be removed at once; far: of what is linked by way of others alone."""
    from ssa_me.gallery.near_duplicates import ROUNDING

    least = found.threshold - ROUNDING
    first = offset if type(offset) is int else 0
    first = min(max(0, first), max(0, len(found.groups) - 1)) // GROUPS * GROUPS
    shown = found.groups[first : first + GROUPS]
    listed = [pair for group in found.groups for pair in group.others[: SHOWN - 1]]
    return {
        "offset": first,
        "limit": GROUPS,
        "groups": [_group(gallery_id, gallery, group, least) for group in shown],
        "total": len(found.groups),
        "copies": len(found.copies),
        "rest": [id for id, cosine in listed if cosine >= least][:MOST_REMOVED],
        "far": [id for id, cosine in listed if cosine < least][:MOST_REMOVED],
        "compared": len(found.searched),
        "lacking": max(0, len(gallery) - len(found.searched)),
        "kind": found.kind,
    }


def _group(gallery_id: str, gallery: Gallery, group: Group, least: float) -> dict[str, Any]:
    listed = [(group.representative, 1.0), *group.others][:SHOWN]
    items = gallery.items_of(id for id, _ in listed)
    images = [
        views.item_view(gallery_id, items[id]) | {"cosine": round(cosine, 4), "far": cosine < least}
        for id, cosine in listed
    ]
    return {"images": images, "more": len(group.ids) - len(listed)}
