"""Embeds many samples batch by batch, so that only one batch of images is in memory. It knows nothing of measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

Progress = Callable[[str], None]
BATCH = 32
_REPORT_EVERY = 10  # batches
T = TypeVar("T")


def silent(message: str) -> None:
    """The progress callback that says nothing."""


@dataclass(frozen=True)
class Encoded:
    """N samples by version: `vectors` `(N, D)`, and N arrays `(K_n, D)` of subject vectors (none unless asked for)."""

    vectors: dict[str, np.ndarray]
    subjects: dict[str, list[np.ndarray]]


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def encode(
    embedder: SalientEmbedder,
    samples: Iterable[Sample],
    versions: Sequence[str],
    *,
    subjects: bool = False,
    total: int | None = None,
    what: str = "samples",
    progress: Progress = silent,
) -> Encoded:
    """Embed `samples` in order; they may be a generator that loads images. `total` and `what` word the progress."""
    vectors: dict[str, list[np.ndarray]] = {version: [] for version in versions}
    found: dict[str, list[np.ndarray]] = {version: [] for version in versions}
    done = 0
    for number, batch in enumerate(batches(samples), start=1):
        embedded = embedder.embed(batch, versions=tuple(versions), subjects=subjects, batch_size=BATCH)
        for version in versions:
            vectors[version].append(embedded.vectors[version])
            if subjects:
                found[version].extend(embedded.subject_vectors[version])
        done += len(batch)
        if number % _REPORT_EVERY == 0 or done == total:
            progress(f"{what}: {done:,} of {total:,} embedded" if total else f"{what}: {done:,} embedded")
    empty = np.zeros((0, embedder.info.dimension), dtype=np.float32)
    return Encoded({version: np.concatenate(parts or [empty]) for version, parts in vectors.items()}, found)
