"""A query in the output space of each version: wanted and unwanted, its phrases, or a marked region of an image.

Everything is embedded in as few calls as can be. It knows no gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssa_me.gallery.results import Query
from ssa_me.gallery.terms import beside, without
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedding import Embedder

MARKED = "the marked region"
"""Stands where a phrase does in the hits of a query that is a region of an image."""


@dataclass(frozen=True)
class QueryVectors:
    """A query as one version sees it, all of unit length. wanted `(D,)`; aside `(U, D)`: what unwanted things have that
    is not in it; moved `(D,)`: wanted less these, what images are compared with; phrases `(P, D)`; stated `(S, D)`: what
    the things of an image are held against, the region where the query is one."""

    wanted: np.ndarray
    aside: np.ndarray
    moved: np.ndarray
    phrases: np.ndarray
    stated: np.ndarray


def phrases_of(query: Query, embedder: Embedder) -> tuple[str, ...]:
    """The phrases that subjects of a hit answer to; none for a whole image."""
    if query.wanted:
        return embedder.phrases(query.wanted)
    return (MARKED,) if query.region else ()


def embed(
    query: Query, phrases: Sequence[str], embedder: Embedder, versions: tuple[str, ...]
) -> dict[str, QueryVectors]:
    """Version → the query's vectors."""
    spoken = list(phrases) if query.wanted else []
    first = [query.wanted] if query.wanted else []
    samples = [Sample(text) for text in [*first, *spoken, *query.unwanted]]
    embedded = embedder.embed(samples, versions=versions, subjects=bool(first))
    by_text = bool(first) and (query.image is None or query.region is not None)
    pictured = _pictured(query, embedder, versions)
    result = {}
    for version in versions:
        rows = embedded.vectors[version]
        told, after = rows[: len(first) if by_text else 0], rows[len(first) :]
        wanted = _joined(told, pictured.get(version), query.image_weight)
        aside = beside(wanted, after[len(spoken) :])
        named = after[: len(spoken)] if spoken else wanted[None][: len(phrases)]
        moved = without(wanted, aside) if len(aside) else wanted
        stated = embedded.subject_vectors[version][0] if first else wanted[None]
        result[version] = QueryVectors(wanted, aside, moved, named, stated)
    return result


def _pictured(query: Query, embedder: Embedder, versions: tuple[str, ...]) -> Mapping[str, np.ndarray]:
    """Version → `(D,)` of the image's share: of its region, or of image and text read together."""
    if query.image is None:
        return {}
    if query.region is not None:
        return embedder.embed_region(query.image, query.region, versions=versions)
    return embedder.embed_query(query.wanted, query.image, query.image_weight, versions=versions)


def _joined(told: np.ndarray, pictured: np.ndarray | None, weight: float) -> np.ndarray:
    """The text's vector, the image's, or the mean of the text's and a region's by its weight."""
    if pictured is None:
        return np.asarray(told[0])
    if len(told) == 0:
        return pictured
    mixed = (1 - weight) * told[0] + weight * pictured
    return np.asarray(mixed / max(float(np.linalg.norm(mixed)), 1e-12), np.float32)
