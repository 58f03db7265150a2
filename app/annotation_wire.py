"""What travels between the Annotate tab and the browser: subjects, masks, filters, names, read and checked.

Any value that comes can be forged: each function takes what was sent and raises InputError where it makes no sense. Masks
travel as COCO's uncompressed run lengths of `mask_size`. Knows no store and no page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ssa_me.errors import InputError
from ssa_me.samples import BBox, Subject, encode_mask

if TYPE_CHECKING:
    from ssa_me.annotation import Filters, Item, Picture

Json = dict[str, Any]
MASK_LONGEST = 1024


def mask_size(picture: Picture) -> tuple[int, int]:
    """Width and height at which masks travel: the image's, at most `MASK_LONGEST` on the longer side."""
    scale = min(1.0, MASK_LONGEST / max(picture.width, picture.height))
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


def is_blind(item: Item, judges: int, filters: Filters) -> bool:
    """Whether an annotator is not to see what others made of an item: where several judges are wanted, for their agreement,
    always but in a review of what so many have judged."""
    return judges > 1 and not (filters.reviews and item.judges >= judges)


def subject_view(item: Item, blind: bool) -> Json:
    """A subject as the annotator sees it: the own decision, else (not where annotators judge blindly) what others made of
    it, else the proposal."""
    subject = item.mine.subject if item.mine else item.proposal.subject if blind else item.result
    mask = None
    if subject.segmentation is not None:
        size = mask_size(item.picture)
        mask = run_lengths(subject.mask(item.picture.width, item.picture.height), size)
    margin = item.proposal.scores.margin
    return {
        "id": item.id,
        "phrase": subject.phrase,
        "bbox": list(subject.bbox or ()) or None,
        "mask": mask,
        "verdict": item.mine.kind if item.mine else None,
        "status": None if blind and item.mine is None else item.status,
        "source": item.proposal.source,
        "model": item.proposal.fingerprint,
        "margin": None if margin is None else round(margin, 3),
    }


def run_lengths(mask: np.ndarray, size: tuple[int, int] | None = None) -> Json:
    """Uncompressed RLE of a mask `(H, W)` bool, scaled to `size` (width, height): runs down the columns, zeros first."""
    if size is not None and mask.shape != size[::-1]:
        mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


def stroke_of(value: object, size: tuple[int, int]) -> np.ndarray | None:
    return None if value is None else Subject("the stroke", None, _mask(value)).mask(*size)


def _mask(value: object) -> Mapping[str, Any]:
    """A mask as it was sent: bounded before anything is made of it."""
    if isinstance(value, Mapping):
        size, counts = value.get("size"), value.get("counts")
        if isinstance(size, list) and isinstance(counts, list) and len(size) == 2:
            whole = all(type(n) is int for n in (*size, *counts))
            if whole and all(0 < n <= MASK_LONGEST for n in size):
                return {"size": size, "counts": counts}
    raise InputError("The mask did not arrive whole. Paint it again.")


def box_of(value: object) -> BBox | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or len(value) != 4:
        raise InputError("The box did not arrive whole. Draw it again.")
    x, y, w, h = (number_of(number, float("nan")) for number in value)
    if not np.isfinite([x, y, w, h]).all():
        raise InputError("The box did not arrive whole. Draw it again.")
    return x, y, w, h


def subject_of(sent: Mapping[str, Any], picture: Picture) -> Subject:
    """The subject that was sent; the library checks it against the image."""
    region = sent.get("subject")
    if not isinstance(region, Mapping) or not isinstance(region.get("phrase"), str):
        raise InputError("The subject did not arrive whole. Try again.")
    subject = Subject(region["phrase"], box_of(region.get("bbox")))
    if region.get("mask") is None:
        return subject
    mask = Subject(subject.phrase, None, _mask(region["mask"])).mask(picture.width, picture.height)
    return replace(subject, segmentation=encode_mask(mask))


def filters_of(sent: Mapping[str, Any]) -> Filters:
    from ssa_me.annotation import Filters

    given = sent.get("filters") or {}
    if not isinstance(given, Mapping):
        raise InputError("The filters did not arrive whole. Choose them again.")
    values = {
        key: str(given[key])[:200] for key in ("phrase", "source", "status", "annotator") if given.get(key)
    }
    return Filters(**values)


def name_of(sent: Mapping[str, Any]) -> str:
    from ssa_me.annotation import check_name

    return check_name(sent.get("name"))


def id_of(sent: Mapping[str, Any]) -> int:
    id = sent.get("item")
    if type(id) is not int or not 0 < id < 2**62:
        raise InputError("There is no such subject in this queue. Go to the next one.")
    return id


def image_of(sent: Mapping[str, Any]) -> int:
    id = sent.get("image")
    if type(id) is not int or not 0 < id < 2**62:
        raise InputError("There is no such image in this gallery. Choose another one.")
    return id


def number_of(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
