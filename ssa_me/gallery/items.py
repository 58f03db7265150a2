"""What a gallery holds of an image: its data and regions, its rows in vector spaces, and the annotation of a place in it.

Data alone: it knows no folder and no database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssa_me.explanation import Region
from ssa_me.salience.regions import iou
from ssa_me.samples import BBox, Subject, mask_bbox

if TYPE_CHECKING:
    from ssa_me.model_info import ModelInfo

HEAD = "ssa-me"
"""The version whose salience head proposes the regions of both versions' subject vectors."""
LABEL_IOU = 0.4


@dataclass(frozen=True)
class Spaces:
    """Names of the vector spaces of one checkpoint, made of its versions' fingerprints (version → 12 hex
    digits).

    Subject vectors also depend on the head that proposed their regions, so its fingerprint is part of their
    name: a baseline that stays the same gets new subject vectors when the head is trained again. heads: version → that
    fingerprint, for a version that does not go by SSA-ME's head here.
    """

    fingerprints: Mapping[str, str]
    heads: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, info: ModelInfo) -> Spaces:
        return cls(info.fingerprints, info.heads)

    @property
    def head(self) -> str:
        return self.fingerprints[HEAD]

    def head_of(self, version: str) -> str:
        return self.heads.get(version, self.head)

    def images(self, version: str) -> str:
        return f"{self.fingerprints[version]}/images"

    def subjects(self, version: str) -> str:
        return f"{self.fingerprints[version]}/subjects-{self.head_of(version)}"

    def all(self) -> tuple[str, ...]:
        names = [
            name for version in self.fingerprints for name in (self.images(version), self.subjects(version))
        ]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class NewImage:
    """An image about to be stored. `path` lies under the gallery's folder (then it moves with it) or
    anywhere else."""

    hash: str
    file_name: str
    path: Path
    width: int
    height: int
    captions: tuple[str, ...] = ()
    subjects: tuple[Subject, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewVectors:
    """What a model found in B images: the regions, and for each space B arrays `(rows, D)`."""

    head: str
    regions: Sequence[Sequence[Region]]
    rows: Mapping[str, Sequence[np.ndarray]]


@dataclass(frozen=True)
class Item:
    """An image of a gallery. Sizes and regions in pixels of the upright image; `regions` are query-free, first those of
    its subjects, then the boxes around those that are related, and the ground."""

    id: int
    file_name: str
    path: Path
    thumbnail: Path
    width: int
    height: int
    captions: tuple[str, ...]
    subjects: tuple[Subject, ...]
    extra: Mapping[str, Any]
    regions: tuple[Region, ...]


def annotation(bbox: BBox | None, item: Item) -> str | None:
    """The annotated phrase whose box overlaps `bbox` most, from `LABEL_IOU` on; None where there is none.

    bbox: x, y, width, height in pixels of the upright image.
    """
    if bbox is None:
        return None
    places = [(subject.phrase, _place(subject, item)) for subject in item.subjects]
    overlaps = [(iou(bbox, place), phrase) for phrase, place in places if place is not None]
    best, phrase = max(overlaps, default=(0.0, ""), key=lambda pair: pair[0])
    return phrase if best >= LABEL_IOU else None


def _place(subject: Subject, item: Item) -> BBox | None:
    if subject.bbox is not None or subject.segmentation is None:
        return subject.bbox
    return mask_bbox(subject.mask(item.width, item.height))
