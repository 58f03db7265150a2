"""What a gallery is asked and what it answers: a query, hits with their subjects, and ranked lists side by side.

Data alone: it knows no gallery and no model, and ranks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ssa_me.errors import InputError
from ssa_me.gallery.refine import Refinement
from ssa_me.gallery.terms import MOST_UNWANTED, parse_terms
from ssa_me.samples import BBox

MAX_TEXT = 10_000


@dataclass(frozen=True)
class Query:
    """What is searched for: a text, an image or both. image_weight: 0 the text alone, 0.5 the joint
    embedding of image and text, 1 the image alone; it counts only where both are given. region: x, y, width, height in
    pixels of the upright image; more like what is in it is searched for, and a text is mixed with it by the weight.

    What the text does not want ("red bird -flower", see `terms`) is in `unwanted`, the rest in `wanted`. Raises InputError
    where nothing is wanted and there is no image, the text is longer than `MAX_TEXT` characters, the weight is not in
    [0, 1], or the region is none. A blank text is none.
    """

    text: str | None = None
    image: Image.Image | None = None
    image_weight: float = 0.5
    region: BBox | None = None
    wanted: str | None = field(init=False, default=None)
    unwanted: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        text = (self.text or "").strip() or None
        object.__setattr__(self, "text", text)
        if text is None and self.image is None:
            raise InputError("There is nothing to search for. Type a text, add an image, or both.")
        if text is not None and len(text) > MAX_TEXT:
            raise InputError(f"The text has {len(text):,} characters; the limit is {MAX_TEXT:,}. Shorten it.")
        if text is not None and any("\ud800" <= char <= "\udfff" for char in text):
            raise InputError("The text holds characters that are not valid Unicode. Type it again.")
        if not 0 <= self.image_weight <= 1:  # NaN fails, too
            raise InputError(f"The image's weight must lie between 0 and 1, not {self.image_weight}.")
        terms = parse_terms(text or "")
        object.__setattr__(self, "wanted", terms.wanted)
        object.__setattr__(self, "unwanted", terms.unwanted)
        if terms.wanted is None and self.image is None:
            raise InputError(f"Only what is unwanted was given ({text}). Say what to look for, too.")
        if len(terms.unwanted) > MOST_UNWANTED:
            raise InputError(f"{len(terms.unwanted)} things are unwanted; give at most {MOST_UNWANTED}.")
        if self.region is not None:
            object.__setattr__(self, "region", _inside(self.region, self.image))

    @property
    def is_image_only(self) -> bool:
        return self.wanted is None

    def to_json(self) -> dict[str, Any]:
        plain = {"text": self.text, "image": self.image is not None, "image_weight": self.image_weight}
        more = {"unwanted": list(self.unwanted), "region": list(self.region or ())}
        return plain | {key: value for key, value in more.items() if value}


def _inside(region: BBox, image: Image.Image | None) -> BBox:
    """The part of a region that lies in the image. Raises InputError where there is none, or no image."""
    if image is None:
        raise InputError("A region was marked, but there is no image. Give the image, too.")
    if len(region) != 4 or not all(abs(number) < float("inf") for number in region):
        raise InputError(f"The region {region} is not X, Y, WIDTH, HEIGHT in pixels of the image.")
    x, y, width, height = region
    x0, y0, x1, y1 = max(0.0, x), max(0.0, y), min(image.width, x + width), min(image.height, y + height)
    if x1 - x0 < 1 or y1 - y0 < 1:
        size = f"{image.width} × {image.height}"
        raise InputError(
            f"The region {x:g}, {y:g}, {width:g}, {height:g} lies outside of the image ({size} px)."
        )
    return (x0, y0, x1 - x0, y1 - y0)


@dataclass(frozen=True)
class SubjectHit:
    """The region of a hit that answers to a phrase of the query best. score: cosine of phrase and region's
    subject vector, of the ranking's version. bbox in pixels of the upright image. label: the annotated
    phrase of that region."""

    phrase: str
    score: float
    bbox: BBox | None
    label: str | None

    def to_json(self) -> dict[str, Any]:
        bbox = [round(number, 1) for number in self.bbox] if self.bbox else None
        return {"phrase": self.phrase, "score": self.score, "bbox": bbox, "label": self.label}


@dataclass(frozen=True)
class Hit:
    """One place of a ranking, from rank 1. `score` is the ranking's own, see the module's docstring."""

    rank: int
    id: int
    path: str
    score: float
    subject: SubjectHit | None

    def to_json(self) -> dict[str, Any]:
        subject = self.subject.to_json() if self.subject else None
        return {"rank": self.rank, "id": self.id, "path": self.path, "score": self.score, "subject": subject}


@dataclass(frozen=True)
class SearchResult:
    """Ranking → hits. overlap: the share of images that the first two rankings have in common among their
    hits (|A ∩ B| / k, with k as many as were returned); 1 for a single ranking. seconds: "query" for
    embedding the query and its phrases, shared by all rankings, and the time of each ranking. notes:
    sentences for the reader. hidden: ranking → near-duplicates that were left out above its last hit."""

    query: Query
    k: int
    results: Mapping[str, tuple[Hit, ...]]
    overlap: float
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    refinement: Refinement = field(default_factory=Refinement)
    hidden: Mapping[str, int] = field(default_factory=dict)

    def only(self, name: str, other: str) -> tuple[Hit, ...]:
        """The hits of one ranking whose images are not among those of another. Raises InputError for an unknown one."""
        for asked in (name, other):
            if asked not in self.results:
                raise InputError(f"{asked} is not among the lists, which are {', '.join(self.results)}.")
        listed = {hit.id for hit in self.results[other]}
        return tuple(hit for hit in self.results[name] if hit.id not in listed)

    def to_json(self) -> dict[str, Any]:
        """`only`: of the first two rankings, the ids that the other one lacks."""
        names = list(self.results)[:2]
        pairs = zip(names, reversed(names), strict=True) if len(names) == 2 else ()
        return {
            "query": self.query.to_json() | {"k": self.k} | self.refinement.to_json(),
            "results": {name: [hit.to_json() for hit in hits] for name, hits in self.results.items()},
            "overlap": self.overlap,
            "only": {name: [hit.id for hit in self.only(name, other)] for name, other in pairs},
            "hidden": dict(self.hidden),
            "seconds": dict(self.seconds),
            "notes": list(self.notes),
        }


def overlap(results: Sequence[tuple[Hit, ...]]) -> float:
    """overlap@k of the first two rankings: |A ∩ B| / k, with k as many as were returned; 1 for a single one."""
    if len(results) < 2:
        return 1.0
    first, second = ({hit.id for hit in hits} for hits in results[:2])
    return len(first & second) / max(len(first), 1)
