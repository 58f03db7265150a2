"""What the decisions of annotators would change, as the page shows it: queries, judged images, ranks before and after.

An image counts as judged where one of its subjects is decided. It is embedded again with the regions as judged: what was
rejected is gone, what was fixed or added is there, what is open stays as proposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app import views
from ssa_me.byte_cache import ByteCache
from ssa_me.errors import InputError
from ssa_me.samples import BBox

if TYPE_CHECKING:
    from ssa_me.annotation import Outcome
    from ssa_me.annotation.effect import Change
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.gallery.store import Gallery
    from ssa_me.redrawing import Redrawn

Json = dict[str, Any]
MOST_IMAGES = 40
"""Images that are embedded again at once, those decided last first."""
MOST_SHOWN = 5
NEAR_THE_TOP = 20
CACHE_BYTES = 32 * 2**20


class EffectCache(ByteCache["Redrawn"]):
    """Embeddings of images with judged regions: they stay right as long as model and regions are the same."""

    def __init__(self) -> None:
        super().__init__(CACHE_BYTES, _bytes)


def effect_view(
    gallery_id: str,
    gallery: Gallery,
    embedder: SalientEmbedder,
    outcomes: Sequence[Outcome],
    texts: Sequence[str],
    cache: EffectCache,
) -> Json:
    """Each text with the judged images that it concerns. Raises InputError where nothing is judged yet."""
    from ssa_me.annotation.effect import effect

    judged = _judged(outcomes)
    if not judged:
        raise InputError("Nothing is judged yet. Decide on some subjects first.")
    images = list(judged)[:MOST_IMAGES]
    redrawn: dict[int, Redrawn] = {}
    for id in images:
        boxes = tuple(o.subject.bbox for o in judged[id] if o.subject.bbox is not None)[: _most_subjects()]
        key = (tuple(embedder.info.fingerprints.items()), str(gallery.folder), id, boxes)
        found = cache.get(key) or _redraw(gallery, embedder, id, boxes)
        if found is not None:
            cache.put(key, found)
            redrawn[id] = found
    changes = effect(gallery, embedder, redrawn, texts)
    items = gallery.items_of(redrawn)
    queries = []
    for text, found_by_image in zip(texts, changes, strict=True):
        wanted = embedder.phrases(text) or (text,)
        phrases = {
            id: [
                o.subject.phrase for o in judged[id] if any(views.agrees(w, o.subject.phrase) for w in wanted)
            ]
            for id in found_by_image
        }
        shown = [
            {
                "thumb": views.thumbnail_url(gallery_id, items[id]),
                "name": items[id].file_name,
                "phrases": phrases[id],
                "versions": {version: _change(change) for version, change in found_by_image[id].items()},
            }
            for id in _concerned(found_by_image, phrases)
        ]
        queries.append({"query": text, "changes": shown})
    return {"queries": queries, "images": len(redrawn), "left_out": len(judged) - len(redrawn)}


def _judged(outcomes: Sequence[Outcome]) -> dict[int, list[Outcome]]:
    """Image → its subjects as judged, without the rejected; images of which something is decided, the latest first."""
    latest: dict[int, str] = {}
    subjects: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        subjects.setdefault(outcome.picture.id, [])
        if outcome.subject.status != "rejected":
            subjects[outcome.picture.id].append(outcome)
        if outcome.subject.status not in ("pending", "skipped"):
            at = str(outcome.subject.extra["provenance"][-1]["at"])
            latest[outcome.picture.id] = max(at, latest.get(outcome.picture.id, ""))
    return {id: subjects[id] for id in sorted(latest, key=lambda id: (latest[id], id), reverse=True)}


def _redraw(gallery: Gallery, embedder: SalientEmbedder, id: int, boxes: tuple[BBox, ...]) -> Redrawn | None:
    """The image with these regions; None where its file is gone or a region no longer fits."""
    try:
        return embedder.embed_redrawn(gallery.image(id), boxes)
    except InputError:
        return None


def _concerned(
    changes: Mapping[int, Mapping[str, Change]], phrases: Mapping[int, Sequence[str]]
) -> list[int]:
    """The images that hold what the query names, else those near its top; those that moved most first."""
    named = [id for id in changes if phrases[id]]
    near = [id for id in changes if min(r for c in changes[id].values() for r in c.subjects) <= NEAR_THE_TOP]
    moved = {id: max(abs(c.subjects[0] - c.subjects[1]) for c in changes[id].values()) for id in changes}
    return sorted(named or near, key=lambda id: (-moved[id], id))[:MOST_SHOWN]


def _change(change: Change) -> Json:
    def pair(values: tuple[float, float], digits: int = 4) -> Json:
        return {"before": round(values[0], digits), "after": round(values[1], digits)}

    return {"alignment": pair(change.alignment), "rank": pair(change.rank), "subjects": pair(change.subjects)}


def _bytes(redrawn: Redrawn) -> int:
    arrays = (*redrawn.vectors.values(), *redrawn.subject_vectors.values(), redrawn.salience, redrawn.boxes)
    return int(sum(np.asarray(array).nbytes for array in arrays))


def _most_subjects() -> int:
    from ssa_me.passes import MOST_SUBJECTS

    return MOST_SUBJECTS
