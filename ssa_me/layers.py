"""Which language layers see what a phrase names: every layer's attention scored against annotated regions, and the set
of layers whose mean scores best, chosen on one half of the images and scored on the other.

After the choice of layers by AUROC in visual evidence augmentation (arXiv 2510.17771). It reads maps through the facade
and knows no model. L layers, N image tokens, R annotated regions; maps are attention shares with sinks removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssa_me.checkpoint import VERSIONS
from ssa_me.embedder import BACKBONE, SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.evaluation.evaluate import choose_split, scene_of
from ssa_me.evaluation.localisation import cell_areas, coverage, pointing_game
from ssa_me.evaluation.maps import region_tasks
from ssa_me.images import load_image
from ssa_me.samples import Record, read_image_folder

Progress = Callable[[str], None]
_BATCH = 16


@dataclass(frozen=True)
class Region:
    """One phrase's region. maps: version → (L, N). covered: share (N,) of each token's box that the region covers.
    half: 0 chooses, 1 scores; all regions of a scene lie in one half."""

    maps: Mapping[str, np.ndarray]
    boxes: np.ndarray
    mask: np.ndarray
    covered: np.ndarray
    half: int

    def auroc(self, values: np.ndarray) -> float:
        return auroc(values, self.covered, cell_areas(self.boxes))

    def pointing(self, values: np.ndarray) -> float:
        return pointing_game(values, self.boxes, self.mask)


def choose_layers(
    data: Path,
    embedder: SalientEmbedder,
    version: str = BACKBONE,
    split: str | None = None,
    *,
    limit: int | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """The object of `layers --json`: every layer's scores of every version, the layers chosen by the attention of
    `version`, and what they score on the half that did not choose, beside the layers read so far.

    limit: at most so many images. Raises InputError for data without regions, or of a single scene.
    """
    versions = (BACKBONE, *VERSIONS)
    if version not in versions:
        raise InputError(f"There is no version {version!r} to choose by. Versions: {', '.join(versions)}.")
    records, chosen_split = choose_split(read_image_folder(data), split)
    annotated = [record for record in records if record.subjects][:limit]
    regions = list(_regions(annotated, embedder, progress))
    halves = [[region for region in regions if region.half == half] for half in (0, 1)]
    if not all(halves):
        raise InputError(
            f"{data} has {len(regions)} annotated regions to choose layers by; it needs some in two images or more."
        )
    count = regions[0].maps[version].shape[0]
    best = best_set(halves[0], version, count)
    now = embedder.layers if embedder.layers is not None else tuple(range(count // 2, count))
    return {
        "data": str(data),
        "images": len(annotated),
        "regions": len(regions),
        "chosen_by": version,
        "layers": [
            {"layer": layer, **{v: scores(regions, v, [layer]) for v in versions}} for layer in range(count)
        ],
        "chosen": list(best),
        "now": list(now),
        "held_out": {
            "regions": len(halves[1]),
            "chosen": {v: scores(halves[1], v, best) for v in versions},
            "now": {v: scores(halves[1], v, now) for v in versions},
            "all": {v: scores(halves[1], v, range(count)) for v in versions},
        },
    } | ({"split": chosen_split} if chosen_split else {})


def best_set(regions: Sequence[Region], version: str, count: int) -> tuple[int, ...]:
    """The layers whose mean attention has the highest mean AUROC on `regions`, of all runs of layers and of the m best
    single ones for each m. Among equals the larger set, which is the steadier."""
    single = [scores(regions, version, [layer])["auroc"] or 0.0 for layer in range(count)]
    by_rank = sorted(range(count), key=lambda layer: -single[layer])
    runs = [tuple(range(a, b)) for a in range(count) for b in range(a + 1, count + 1)]
    tops = [tuple(sorted(by_rank[:m])) for m in range(1, count + 1)]
    candidates = list(dict.fromkeys([*runs, *tops]))
    return max(
        candidates,
        key=lambda layers: (round(scores(regions, version, layers)["auroc"] or 0.0, 6), len(layers)),
    )


def scores(regions: Sequence[Region], version: str, layers: Sequence[int]) -> dict[str, float | None]:
    """Mean AUROC and pointing game of the mean over `layers`; None where no region has a score."""
    maps = [region.maps[version][list(layers)].mean(0) for region in regions]
    columns = {
        "auroc": [region.auroc(values) for region, values in zip(regions, maps, strict=True)],
        "pointing_game": [region.pointing(values) for region, values in zip(regions, maps, strict=True)],
    }
    return {
        name: None if np.isnan(column).all() else float(np.nanmean(column))
        for name, column in columns.items()
    }


def auroc(values: np.ndarray, covered: np.ndarray, areas: np.ndarray) -> float:
    """The chance that a pixel inside the region has a higher value than one outside, ties counting half; NaN where one
    of both is empty. Exact without painting: token i brings `areas[i]` pixels `(N,)`, `covered[i]` of them inside."""
    inside, outside = covered * areas, (1 - covered) * areas
    if inside.sum() <= 0 or outside.sum() <= 0:
        return float("nan")
    distinct, place = np.unique(values, return_inverse=True)
    within = np.bincount(place, inside, len(distinct))
    beyond = np.bincount(place, outside, len(distinct))
    below = np.cumsum(beyond) - beyond
    return float((within * (below + beyond / 2)).sum() / (within.sum() * beyond.sum()))


def _regions(records: Sequence[Record], embedder: SalientEmbedder, progress: Progress) -> Iterator[Region]:
    waiting: list[tuple[Record, Any, Any]] = []
    halves: dict[str, int] = {}
    done = 0
    for number, record in enumerate(records, start=1):
        image = load_image(record.path, record.file_name)
        waiting += [(record, image, task) for task in region_tasks(record, image) if task.phrase is not None]
        while len(waiting) >= _BATCH or (waiting and number == len(records)):
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            maps = embedder.layer_maps(
                [image for _, image, _ in batch], [task.phrase for _, _, task in batch]
            )
            for (record, _, task), (boxes, found) in zip(batch, maps, strict=True):
                half = halves.setdefault(scene_of(record), len(halves) % 2)
                yield Region(found, boxes, task.region, coverage(boxes, task.region), half)
            done += len(batch)
        if number % max(1, len(records) // 10) == 0:
            progress(f"{number:,} of {len(records):,} images, {done:,} regions")
