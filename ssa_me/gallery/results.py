"""What a gallery is asked and what it answers: a query, hits with their subjects, and ranked lists side by side.

Data alone: it knows no gallery and no model, and ranks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ssa_me.errors import InputError
from ssa_me.samples import BBox

MAX_TEXT = 10_000


@dataclass(frozen=True)
class Query:
    """What is searched for: a text, an image or both. image_weight: 0 the text alone, 0.5 the joint
    embedding of image and text, 1 the image alone; it counts only where both are given.

    Raises InputError where both are missing, the text is longer than `MAX_TEXT` characters, or the weight
    is not in [0, 1]. A blank text is none.
    """

    text: str | None = None
    image: Image.Image | None = None
    image_weight: float = 0.5

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

    @property
    def is_image_only(self) -> bool:
        return self.text is None

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "image": self.image is not None, "image_weight": self.image_weight}


@dataclass(frozen=True)
class SubjectHit:
    """The region of a hit that answers to a phrase of the query best. score: cosine of phrase and region's
    subject vector, of the ranking's version. bbox in pixels of the upright image. label: the annotated
    phrase of that region. pair: two subjects together won; `phrase` is then the whole text, `score` the query's
    cosine, and there is no label."""

    phrase: str
    score: float
    bbox: BBox | None
    label: str | None
    pair: bool = False

    def to_json(self) -> dict[str, Any]:
        bbox = [round(number, 1) for number in self.bbox] if self.bbox else None
        found = {"phrase": self.phrase, "score": self.score, "bbox": bbox}
        return found | {"label": self.label, "pair": self.pair}


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
    sentences for the reader."""

    query: Query
    k: int
    results: Mapping[str, tuple[Hit, ...]]
    overlap: float
    seconds: Mapping[str, float]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.query.to_json() | {"k": self.k},
            "results": {name: [hit.to_json() for hit in hits] for name, hits in self.results.items()},
            "overlap": self.overlap,
            "seconds": dict(self.seconds),
            "notes": list(self.notes),
        }


def overlap(results: Sequence[tuple[Hit, ...]]) -> float:
    """overlap@k of the first two rankings: |A ∩ B| / k, with k as many as were returned; 1 for a single one."""
    if len(results) < 2:
        return 1.0
    first, second = ({hit.id for hit in hits} for hits in results[:2])
    return len(first & second) / max(len(first), 1)
