"""Where one image of a gallery stands under a ranking, and where it would stand with another embedding of it.

Nothing is written: the gallery's vectors are read, the image's own are put aside. Scores are those of `search`:
cos(q, e), or with subjects that of `late_interaction`. Equal scores are ordered by id, as in `search`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssa_me.gallery.index import VectorIndex
from ssa_me.late_interaction import agreement, mix, mixed


@dataclass(frozen=True)
class Place:
    """A rank, from 1, and the score that gives it."""

    rank: int
    score: float

    def to_json(self) -> dict[str, Any]:
        return {"rank": self.rank, "score": self.score}


@dataclass(frozen=True)
class Standing:
    """An image's place before and after, among `count` images."""

    before: Place
    after: Place
    count: int

    def to_json(self) -> dict[str, Any]:
        return {"before": self.before.to_json(), "after": self.after.to_json(), "count": self.count}


def standing(
    query: np.ndarray,
    image: int,
    vector: np.ndarray,
    subject_vectors: np.ndarray,
    images: VectorIndex,
    subjects: VectorIndex | None = None,
    stated: np.ndarray | None = None,
) -> Standing:
    """The place of `image` for the query (D,) as it is, and with `vector` (D,) and `subject_vectors` (K, D) for it.

    images: the index of whole images. subjects: that of their subjects where the ranking takes them in, else None; stated
    (S, D): what the query states, by default itself. Raises KeyError where the image has no vector.
    """
    said = query[None] if stated is None else stated
    ids, whole_images, best = cosines(query, images, subjects, said)
    scores = mixed(whole_images, best).astype(np.float32)
    own = images.of(image)[0]
    held = subjects.of(image) if subjects is not None and image in subjects else subject_vectors[:0]
    new = subject_vectors if subjects is not None else subject_vectors[:0]
    others = ids != image
    places = [
        _place(_score(query, said, whole, parts), image, ids[others], scores[others])
        for whole, parts in ((own, held), (vector, new))
    ]
    return Standing(places[0], places[1], len(ids))


def _score(query: np.ndarray, stated: np.ndarray, vector: np.ndarray, parts: np.ndarray) -> float:
    whole = float(vector @ query)
    return mix(whole, agreement(parts, stated)) if len(parts) else whole


def cosines(
    query: np.ndarray, images: VectorIndex, subjects: VectorIndex | None, stated: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all images in order of their ids: the ids (I,), the cosines (I,) float64 of the query with each, and the agreement
    of its subjects with what is stated (S, D), NaN where it has none."""
    owners = sorted((int(owner), int(start)) for owner, start, _ in images.owners)
    whole = images.vectors[[start for _, start in owners]] @ query
    best: dict[int, float] = {}
    if subjects is not None:
        rows = subjects.vectors @ stated.T
        best = {int(owner): float(rows[at : at + n].max(0).mean()) for owner, at, n in subjects.owners if n}
    ids = [owner for owner, _ in owners]
    of_subjects = np.array([best.get(id, np.nan) for id in ids], np.float64)
    return np.array(ids, np.int64), whole.astype(np.float64), of_subjects


def _place(score: float, image: int, ids: np.ndarray, scores: np.ndarray) -> Place:
    ahead = (scores > score) | ((scores == score) & (ids < image))
    return Place(1 + int(ahead.sum()), score)
