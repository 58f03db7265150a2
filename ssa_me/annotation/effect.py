"""What judged regions would change: where images stand for a query as they are indexed, and with their subjects as judged.

Nothing is written: the gallery's vectors are read, and those of judged images are put aside for their new ones, all at once.
Scores are those of a search: cos(q, e), and with subjects that of `late_interaction`. Equal scores are ordered by id.
Knows no annotator and no page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssa_me.errors import InputError
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.items import Spaces
from ssa_me.gallery.standing import cosines
from ssa_me.gallery.store import Gallery
from ssa_me.late_interaction import agreement, mixed
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.redrawing import Redrawn


@dataclass(frozen=True)
class Change:
    """An image for a query under one version, (before, after): alignment, how well the image's regions agree with what
    the query states; its rank by one vector; and its rank with subjects. Ranks are from 1."""

    alignment: tuple[float, float]
    rank: tuple[int, int]
    subjects: tuple[int, int]


def effect(
    gallery: Gallery, embedder: SalientEmbedder, redrawn: Mapping[int, Redrawn], texts: Sequence[str]
) -> list[dict[int, dict[str, Change]]]:
    """For each text: image id → version → what changes with the `redrawn` images in place of those that are indexed.

    Images without vectors of this model are left out. Raises InputError where the gallery has none of it at all.
    """
    spaces = Spaces(embedder.info.fingerprints)
    queries = embedder.embed([Sample(text=text) for text in texts], subjects=True)
    result: list[dict[int, dict[str, Change]]] = [{} for _ in texts]
    for version, rows in queries.vectors.items():
        images, subjects = gallery.index(spaces.images(version)), gallery.index(spaces.subjects(version))
        if images is None or subjects is None:
            raise InputError(
                f"The gallery {gallery.name} has no vectors of this model. Embed it again first."
            )
        for found, query, stated in zip(result, rows, queries.subject_vectors[version], strict=True):
            for id, change in _changes(query, stated, version, images, subjects, redrawn).items():
                found.setdefault(id, {})[version] = change
    return result


def _changes(
    query: np.ndarray,
    stated: np.ndarray,
    version: str,
    images: VectorIndex,
    subjects: VectorIndex,
    redrawn: Mapping[int, Redrawn],
) -> dict[int, Change]:
    """Image id → its change for the query `(D,)` and what it states `(S, D)`."""
    ids, whole, best = cosines(query, images, subjects, stated)
    before = np.stack([whole, best], axis=1)
    after = before.copy()
    places = {int(id): n for n, id in enumerate(ids) if int(id) in redrawn}
    for id, place in places.items():
        rows = redrawn[id].subject_vectors[version]
        own = agreement(rows, stated) if len(rows) else np.nan
        after[place] = float(redrawn[id].vectors[version] @ query), own
    ranks = [(_ranks(values[:, 0]), _ranks(mixed(*values.T))) for values in (before, after)]
    return {
        id: Change(
            (_number(before[place, 1]), _number(after[place, 1])),
            (int(ranks[0][0][place]), int(ranks[1][0][place])),
            (int(ranks[0][1][place]), int(ranks[1][1][place])),
        )
        for id, place in places.items()
    }


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1, the highest score first, equal ones in order."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks


def _number(value: float) -> float:
    return 0.0 if np.isnan(value) else float(value)
