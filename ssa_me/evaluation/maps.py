"""Scores maps on annotated regions: each version's, the controls that they are held against, and where the maps of an
image's several phrases point. It asks the embedder for maps; the measures are in `localisation.py`, `conditioned.py`.

A source is a kind of map, named `VERSION.attention`, `ssa-me.salience`, or as one of `CONTROLS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ssa_me.evaluation.conditioned import Pointing, point
from ssa_me.evaluation.encode import Progress, batches, silent
from ssa_me.evaluation.localisation import RegionScore, centre_prior, chance_score, score_region
from ssa_me.images import load_image
from ssa_me.salience.experts import OpenCVExpert
from ssa_me.salience.fusion import to_tokens
from ssa_me.salience.subjects import shorter
from ssa_me.samples import Record, Subject

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

SALIENCE = "ssa-me.salience"
CHANCE, CENTRE, RAW, EXPERT = "chance", "centre prior", "raw attention", "OpenCV expert"
CONTROLS = (CHANCE, CENTRE, RAW, "gradient of baseline", "gradient of ssa-me", EXPERT)
_NOT_TRUTH = ("proposed", "rejected")
_MAP_BATCH = 16


@dataclass(frozen=True)
class RegionTask:
    """A phrase of an image (None: any annotated subject), the region `(H, W)` that it names, and what of the regions of
    the image's other phrases lies outside of it (None: there is no other)."""

    phrase: str | None
    region: np.ndarray
    others: np.ndarray | None = None


@dataclass
class ScoredMaps:
    """By source: the scores of each phrase's region, and where the phrases of images with several of them point; by
    version: scores of query-free maps. `owners` are the clusters of the phrases' regions; `rows` their records."""

    scores: dict[str, list[RegionScore]] = field(default_factory=dict)
    pointings: dict[str, list[Pointing]] = field(default_factory=dict)
    query_free: dict[str, list[RegionScore]] = field(default_factory=dict)
    owners: list[str] = field(default_factory=list)


def scene_of(record: Record) -> str:
    """The cluster of an image: the scene it names under the free key `scene`, else the image itself."""
    return str(record.extra.get("scene", record.file_name))


def true_subjects(record: Record) -> list[Subject]:
    """The subjects that count as truth: not those whose status is proposed or rejected."""
    return [subject for subject in record.subjects if subject.status not in _NOT_TRUTH]


def called_by_less(record: Record) -> Record:
    """The same with each subject called by its kind, `the dog` for "a red dog" or "a dog"."""

    def kind(phrase: str) -> str:
        return next((text for text in shorter(phrase) if text.startswith("the ")), phrase)

    return replace(record, subjects=tuple(replace(s, phrase=kind(s.phrase)) for s in record.subjects))


def region_tasks(record: Record, image: Image.Image) -> list[RegionTask]:
    """What to find in an image: every phrase with the union of its regions, then, with phrase None, all of them united.

    A segmentation goes before a box. Subjects whose status is proposed or rejected are no truth and do not count.
    """
    regions: dict[str, np.ndarray] = {}
    for subject in true_subjects(record):
        if subject.segmentation is not None or subject.bbox is not None:
            mask = subject.mask(image.width, image.height)
            regions[subject.phrase] = regions[subject.phrase] | mask if subject.phrase in regions else mask
    if not regions:
        return []
    everything = np.logical_or.reduce(list(regions.values()))
    tasks = []
    for phrase, region in regions.items():
        rest = [other for name, other in regions.items() if name != phrase]
        tasks.append(RegionTask(phrase, region, np.logical_or.reduce(rest) & ~region if rest else None))
    return [*tasks, RegionTask(None, everything)]


def score_maps(
    records: Sequence[Record],
    embedder: SalientEmbedder,
    versions: Sequence[str],
    progress: Progress = silent,
    *,
    controls: bool = False,
) -> ScoredMaps:
    """Scores of each version's maps, and with `controls` of what they are held against, on all annotated regions.

    Attention is the version's own, with the phrase in the input. Salience is the head's map for the phrase: SSA-ME
    only. The query-free map of SSA-ME is the head's without a phrase; the baseline's is its attention on the image alone.
    """
    scored = ScoredMaps(query_free={version: [] for version in versions})
    for number, batch in enumerate(batches(_tasks(records), _MAP_BATCH), start=1):
        images, phrases = [image for _, _, image, _ in batch], [task.phrase for *_, task in batch]
        maps = embedder.maps(images, phrases)
        named = [i for i, phrase in enumerate(phrases) if phrase is not None]
        held = (
            _controls(embedder, [images[i] for i in named], [phrases[i] or "" for i in named])
            if controls
            else []
        )
        against = dict(zip(named, held, strict=False))
        for i, ((row, record, image, task), found) in enumerate(zip(batch, maps, strict=True)):
            if task.phrase is None:
                for version in versions:
                    values = found.salience if version == "ssa-me" else found.attention[version]
                    scored.query_free[version].append(score_region(values, found.boxes, task.region))
                continue
            scored.owners.append(scene_of(record))
            sources = {f"{version}.attention": found.attention[version] for version in versions}
            if "ssa-me" in versions:
                sources[SALIENCE] = found.salience
            if controls:
                scored.scores.setdefault(CHANCE, []).append(chance_score(found.boxes, task.region))
                sources |= {CENTRE: centre_prior(found.boxes, image.size)} | against[i]
                sources[EXPERT] = to_tokens(OpenCVExpert()(image, [task.phrase])[0], found.boxes, image.size)
            for source, values in sources.items():
                scored.scores.setdefault(source, []).append(score_region(values, found.boxes, task.region))
                if task.others is not None:
                    pointing = point(row, values, found.boxes, task.region, task.others)
                    scored.pointings.setdefault(source, []).append(pointing)
        if number % 10 == 0:
            progress(f"localisation: {len(scored.owners):,} regions scored")
    return scored


def _tasks(records: Sequence[Record]) -> Iterator[tuple[int, Record, Image.Image, RegionTask]]:
    for row, record in enumerate(records):
        if record.subjects:
            image = load_image(record.path, record.file_name)
            for task in region_tasks(record, image):
                yield row, record, image, task


def _controls(
    embedder: SalientEmbedder, images: Sequence[Image.Image], phrases: Sequence[str]
) -> list[dict[str, np.ndarray]]:
    return [
        {RAW: maps.attention}
        | {f"gradient of {version}": values for version, values in maps.gradient.items()}
        for maps in embedder.control_maps(images, phrases)
    ]
