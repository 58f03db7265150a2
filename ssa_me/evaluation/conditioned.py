"""Does a map follow its phrase? Several phrases of one image give several maps: each should point into its own region.

Pure functions on maps over tokens as in `localisation.py`; it knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ssa_me.evaluation.localisation import pointing_game

_NOWHERE = -1


@dataclass(frozen=True)
class Pointing:
    """Where the map of one phrase points: into its own region, into the region of another phrase of the same image
    (each 0 to 1, over tied cells the expected value), and the cell of its maximum, -1 for a map that points nowhere."""

    image: int
    own: float
    other: float
    cell: int


def point(image: int, values: np.ndarray, boxes: np.ndarray, own: np.ndarray, others: np.ndarray) -> Pointing:
    """Where a map `values` `(N,)` over `boxes` `(N, 4)` points; `own` and `others` `(H, W)` do not overlap.

    A map that is empty, constant or not finite points nowhere.
    """
    hit, missed = pointing_game(values, boxes, own), pointing_game(values, boxes, others)
    if np.isnan(hit):
        return Pointing(image, 0.0, 0.0, _NOWHERE)
    return Pointing(image, hit, 0.0 if np.isnan(missed) else missed, int(np.argmax(values)))


def summarise_pointings(pointings: Sequence[Pointing]) -> dict[str, Any] | None:
    """Shares over phrases and over images of what several phrases of one image bring about; None without any.

    own, other: phrases whose map points into their own, another's region. maps_differ: pairs of phrases of an image whose
    maxima lie in different cells. all_own: images in which every phrase's map points into its own region.
    """
    by_image: dict[int, list[Pointing]] = {}
    for pointing in pointings:
        by_image.setdefault(pointing.image, []).append(pointing)
    several = [group for group in by_image.values() if len(group) > 1]
    if not several:
        return None
    phrases = [pointing for group in several for pointing in group]
    pairs = [(a, b) for group in several for a, b in combinations(group, 2)]
    return {
        "images": len(several),
        "phrases": len(phrases),
        "own": float(np.mean([p.own for p in phrases])),
        "other": float(np.mean([p.other for p in phrases])),
        "maps_differ": float(np.mean([a.cell != b.cell for a, b in pairs])),
        "all_own": float(np.mean([all(p.own == 1 for p in group) for group in several])),
    }
