"""Embeds the entries of an MMEB subset, each once, and remembers them on disk. It knows nothing of ranks or tables.

What is remembered hangs on the text, the image's bytes, the version's fingerprint and the precision: a run that was
stopped goes on with the batch that it was at, and a new checkpoint or a changed image is embedded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssa_me.errors import InputError
from ssa_me.evaluation.cache import ArrayCache, digest
from ssa_me.evaluation.encode import BATCH, Encoded, Progress, batches, silent
from ssa_me.evaluation.mmeb_data import Entry
from ssa_me.images import load_image
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

_REPORT_EVERY = 10  # batches


@dataclass(frozen=True)
class Encoder:
    """Embeds with `embedder` and keeps the results in `cache` where there is one."""

    embedder: SalientEmbedder
    cache: ArrayCache | None = None
    progress: Progress = silent
    _hashes: dict[Path, str] = field(default_factory=dict)

    def key(self, kind: str, version: str, *parts: str) -> str:
        """The key of something that `version` computed from `parts`."""
        info = self.embedder.info
        return digest(kind, info.fingerprints[version], info.precision, *parts)

    def content(self, entry: Entry, root: Path) -> str:
        """What an entry is, whatever its file is called. OSError where its image cannot be read."""
        if not entry.image:
            return digest(entry.text)
        path = root / entry.image
        if path not in self._hashes:
            self._hashes[path] = digest(path.read_bytes())
        return digest(entry.text, self._hashes[path])

    def remembered(self, key: Callable[[], str], compute: Callable[[], np.ndarray]) -> np.ndarray:
        """A row `(C,)` from the cache, else computed and kept."""
        if self.cache is None:
            return compute()
        name = key()
        found = self.cache.get([name])
        if name not in found:
            found = {name: compute()[None]}
            self.cache.put(found)
        return found[name][0]

    def encode(
        self, entries: Sequence[Entry], root: Path, versions: Sequence[str], *, subjects: bool, what: str
    ) -> tuple[Encoded, dict[str, str]]:
        """The vectors of `entries` in order, and why images could not be read, by path.

        An entry whose image cannot be read has NaN for a vector and no subjects. Images are below `root`.
        """
        unreadable: dict[str, str] = {}
        kinds = ("vector", "subjects") if subjects else ("vector",)
        found: dict[tuple[str, str, Entry], np.ndarray] = {}
        names = self._names(entries, root, versions, kinds, unreadable)
        if self.cache is not None:
            kept = self.cache.get(names.values())
            found = {place: kept[name] for place, name in names.items() if name in kept}
        places = [(kind, version) for kind in kinds for version in versions]
        todo = [e for e in entries if any((*place, e) not in found for place in places)]
        known = len(entries) - len(todo)
        if known:
            self.progress(f"{what}: {known:,} of {len(entries):,} are in the cache")
        done = known
        for number, batch in enumerate(batches(todo), start=1):
            fresh = self._embed(batch, root, versions, subjects, unreadable)
            if self.cache is not None:
                self.cache.put({names[place]: array for place, array in fresh.items() if place in names})
            found |= fresh
            done += len(batch)
            if number % _REPORT_EVERY == 0 or done == len(entries):
                self.progress(f"{what}: {done:,} of {len(entries):,} embedded")
        return self._assembled(entries, versions, subjects, found), unreadable

    def _names(
        self,
        entries: Sequence[Entry],
        root: Path,
        versions: Sequence[str],
        kinds: Sequence[str],
        unreadable: dict[str, str],
    ) -> dict[tuple[str, str, Entry], str]:
        """(kind, version, entry) → key in the cache; entries whose image is not there have none."""
        names = {}
        for entry in entries if self.cache is not None else ():
            try:
                content = self.content(entry, root)
            except OSError as error:
                unreadable[entry.image] = str(error)
                continue
            for kind in kinds:
                for version in versions:
                    names[kind, version, entry] = self.key(kind, version, content)
        return names

    def _embed(
        self,
        batch: Sequence[Entry],
        root: Path,
        versions: Sequence[str],
        subjects: bool,
        unreadable: dict[str, str],
    ) -> dict[tuple[str, str, Entry], np.ndarray]:
        samples: dict[Entry, Sample] = {}
        for entry in batch:
            try:
                samples[entry] = load_sample(entry, root)
            except InputError as error:
                unreadable[entry.image] = str(error)
        if not samples:
            return {}
        embedded = self.embedder.embed(
            list(samples.values()), versions=tuple(versions), subjects=subjects, batch_size=BATCH
        )
        fresh = {}
        for row, entry in enumerate(samples):
            for version in versions:
                fresh["vector", version, entry] = embedded.vectors[version][row][None]
                if subjects:
                    fresh["subjects", version, entry] = embedded.subject_vectors[version][row]
        return fresh

    def _assembled(
        self,
        entries: Sequence[Entry],
        versions: Sequence[str],
        subjects: bool,
        found: dict[tuple[str, str, Entry], np.ndarray],
    ) -> Encoded:
        width = self.embedder.info.dimension
        none = np.zeros((0, width), dtype=np.float32)
        lost = np.full((1, width), np.nan, dtype=np.float32)
        return Encoded(
            {
                v: np.concatenate([found.get(("vector", v, e), lost) for e in entries] or [none])
                for v in versions
            },
            {v: [found.get(("subjects", v, e), none) for e in entries] if subjects else [] for v in versions},
        )


def load_sample(entry: Entry, root: Path) -> Sample:
    """An entry as a sample, its image read below `root`. InputError where it cannot be."""
    image = load_image(root / entry.image, entry.image) if entry.image else None
    return Sample(entry.text or None, image)
