"""How far annotators agree: overlap of regions, Krippendorff's alpha of verdicts, honeypots. Pure arithmetic.

Masks are boolean `(H, W)` of one image; without masks boxes are compared, `x, y, width, height` in its pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from itertools import combinations

from ssa_me.annotation.records import SAME_PLACE, Picture, Truth
from ssa_me.salience.regions import iou
from ssa_me.samples import Subject, mask_bbox


def krippendorff_alpha(units: Iterable[Mapping[str, Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal values: 1 is agreement, 0 what chance gives, below 0 is worse than chance.

    units: for each item annotator → value; annotators may be missing, items with fewer than two are left out. With m
    values in a unit each ordered pair of them counts 1 / (m - 1) (Krippendorff, Content Analysis, ch. 11). None where no
    unit has two values, or all values are the same: then nothing could have been disagreed upon.
    """
    coincidences: defaultdict[tuple[Hashable, Hashable], float] = defaultdict(float)
    for unit in units:
        values = list(unit.values())
        for a, b in combinations(values, 2):
            coincidences[a, b] += 1 / (len(values) - 1)
            coincidences[b, a] += 1 / (len(values) - 1)
    totals: defaultdict[Hashable, float] = defaultdict(float)
    for (a, _), count in coincidences.items():
        totals[a] += count
    n = sum(totals.values())
    expected = n * n - sum(count * count for count in totals.values())
    if expected < 1e-9:
        return None
    observed = sum(count for (a, b), count in coincidences.items() if a != b)
    return 1 - (n - 1) * observed / expected


def region_iou(a: Subject, b: Subject, picture: Picture) -> float:
    """Intersection over union of two regions of one image, in [0, 1]: of masks where both have one, else of boxes."""
    if a.segmentation is None or b.segmentation is None:
        first, second = (_box(subject, picture) for subject in (a, b))
        return iou(first, second) if first and second else 0.0
    first_mask, second_mask = (subject.mask(picture.width, picture.height) for subject in (a, b))
    union = int((first_mask | second_mask).sum())
    return int((first_mask & second_mask).sum()) / union if union else 0.0


def mean_pairwise_iou(regions: Iterable[tuple[Picture, list[Subject]]]) -> float | None:
    """The mean over items of the mean IoU of each two annotators' regions; None where no item has two."""
    means = []
    for picture, subjects in regions:
        pairs = [region_iou(a, b, picture) for a, b in combinations(subjects, 2)]
        if pairs:
            means.append(sum(pairs) / len(pairs))
    return sum(means) / len(means) if means else None


def is_right(verdict: str, subject: Subject, truth: Truth, picture: Picture) -> bool:
    """Whether a verdict on a honeypot is the known answer: a right one kept, a wrong one rejected, or either put where
    the subject really is (an IoU of `SAME_PLACE`)."""
    if verdict in ("fix", "add"):
        return region_iou(subject, truth.subject, picture) >= SAME_PLACE
    return (verdict == "accept") == truth.right


def _box(subject: Subject, picture: Picture) -> tuple[float, float, float, float] | None:
    if subject.bbox is not None or subject.segmentation is None:
        return subject.bbox
    return mask_bbox(subject.mask(picture.width, picture.height))
