"""Before and after: two versions of a model on the same saved queries, with intervals of the difference.

The queries are the captions of a set's held-out images; the right answer is the image that a caption is of. The
difference is paired, query by query, and clustered by image. Localisation is the pointing game of attention, the phrase
read with the image, like for like on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssa_me.checkpoint import VERSIONS
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.evaluation.bootstrap import estimate
from ssa_me.evaluation.encode import Progress, encode, silent
from ssa_me.evaluation.evaluate import choose_split
from ssa_me.evaluation.localisation import RegionScore
from ssa_me.evaluation.maps import score_maps, true_subjects
from ssa_me.evaluation.retrieval import Retrieval, retrieve, score_rows
from ssa_me.images import load_image
from ssa_me.samples import Record, Sample, read_image_folder

MOST_SHOWN = 200
"""Of the queries, so many are listed with their ranks, those that moved most."""


@dataclass(frozen=True)
class Queries:
    """Texts and the images that are right for each, as rows; cluster: the image that a text was first said of."""

    texts: tuple[str, ...]
    right: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Queries:
        """Each distinct caption once; subjects' phrases where an image has no caption."""
        owners: dict[str, list[int]] = {}
        for row, record in enumerate(records):
            said = record.captions or tuple(subject.phrase for subject in record.subjects)
            for text in dict.fromkeys(said):
                owners.setdefault(text, []).append(row)
        return cls(tuple(owners), tuple(tuple(rows) for rows in owners.values()))


@dataclass(frozen=True)
class Measured:
    """One checkpoint on the queries: by version its retrieval, and the scores of its attention on every region."""

    retrieval: dict[str, Retrieval]
    attention: dict[str, list[RegionScore]]
    owners: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for version, scores in self.retrieval.items():
            table[version] = {"text_to_image": scores.to_json()}
            hits = [score.pointing_game for score in self.attention[version]]
            if hits and not np.isnan(hits).all():
                table[version]["pointing_game"] = float(np.nanmean(hits))
        return table


def before_after(
    before: Callable[[], SalientEmbedder],
    after: Callable[[], SalientEmbedder],
    data: Path,
    *,
    split: str | None = None,
    progress: Progress = silent,
    seed: int = 0,
) -> dict[str, Any]:
    """Both checkpoints on the held-out images of the ImageFolder `data` (test, else val, else all): fit for JSON.

    `{"images", "queries", "regions", "split", "before": {version: {…}}, "after": {…}, "difference": {version: {measure:
    {"value", "interval"}}}, "moves": [{"text", "image", version: [rank before, rank after]}]}`; after less before. One
    model is in memory at a time. Raises InputError where there are fewer than two images, or no text.
    """
    records, chosen = choose_split(read_image_folder(data), split)
    records = [record for record in records if record.captions or record.subjects]
    if len(records) < 2:
        raise InputError(f"{data} holds fewer than two images with a text to compare on. Give more.")
    queries = Queries.of(records)
    progress("before")
    first = measure(before(), records, queries, progress)
    progress("after")
    second = measure(after(), records, queries, progress)
    return {
        "data": str(data),
        "split": chosen,
        "images": len(records),
        "queries": len(queries.texts),
        "regions": len(first.owners),
        "before": first.to_json(),
        "after": second.to_json(),
        "difference": difference(first, second, queries, records, seed),
        "moves": moves(first, second, queries, records),
    }


def measure(
    embedder: SalientEmbedder, records: Sequence[Record], queries: Queries, progress: Progress = silent
) -> Measured:
    """One checkpoint on the queries: ranks of the right images by one vector, and where attention lies."""
    images = encode(
        embedder,
        (Sample(image=load_image(record.path, record.file_name)) for record in records),
        VERSIONS,
        total=len(records),
        what="images",
        progress=progress,
    )
    texts = encode(embedder, (Sample(text) for text in queries.texts), VERSIONS)
    ranked = {
        version: retrieve(score_rows(texts.vectors[version], images.vectors[version]), queries.right)
        for version in VERSIONS
    }
    located = [record for record in records if true_subjects(record)]
    maps = score_maps(located, embedder, VERSIONS, progress)
    attention = {version: maps.scores.get(f"{version}.attention", []) for version in VERSIONS}
    return Measured(ranked, attention, tuple(maps.owners))


def difference(
    first: Measured, second: Measured, queries: Queries, records: Sequence[Record], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Version → measure → the second less the first with its paired interval, clustered by image."""
    clusters = [records[rows[0]].file_name for rows in queries.right]
    found: dict[str, dict[str, Any]] = {}
    for version in VERSIONS:
        ours, theirs = second.retrieval[version].measures(), first.retrieval[version].measures()
        gaps = {name: estimate(ours[name] - theirs[name], clusters, seed=seed) for name in ours}
        pairs = zip(second.attention[version], first.attention[version], strict=True)
        pointing = np.array([a.pointing_game - b.pointing_game for a, b in pairs])
        if len(pointing):
            gaps["pointing_game"] = estimate(pointing, first.owners, seed=seed)
        found[version] = {name: gap.to_json() for name, gap in gaps.items() if gap is not None}
    return found


def moves(
    first: Measured, second: Measured, queries: Queries, records: Sequence[Record]
) -> list[dict[str, Any]]:
    """The queries whose right image moved most under either version, with its ranks before and after."""
    ranks = {
        version: (first.retrieval[version].best_rank, second.retrieval[version].best_rank)
        for version in VERSIONS
    }
    moved = np.max([np.abs(after - before) for before, after in ranks.values()], axis=0)
    order = np.argsort(-moved, kind="stable")[:MOST_SHOWN].tolist()
    return [
        {"text": queries.texts[i], "image": records[queries.right[i][0]].file_name}
        | {version: [int(before[i]), int(after[i])] for version, (before, after) in ranks.items()}
        for i in order
    ]
