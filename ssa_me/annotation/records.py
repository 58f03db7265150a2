"""What annotators work on and what they leave behind: proposals, decisions, results. Data alone: no database, no model.

Regions are `Subject`s: a phrase with a box `x, y, width, height` and, where there is one, a mask as COCO's compressed
RLE of the image's own size; all in pixels of the upright image. Times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ssa_me.errors import InputError
from ssa_me.samples import Subject, encode_mask, mask_bbox

Verdict = Literal["accept", "fix", "reject", "skip", "add"]
KEEPING = ("accept", "fix", "add")
"""Verdicts that keep a subject; "reject" drops it, "skip" says nothing."""

ORDERS = ("uncertainty", "misalignment", "disagreement", "random", "images")
"""What the queue begins with: where own and rival region are nearly alike, where a rival wins most, where baseline and
SSA-ME point at different places, at random; or an image's subjects one after another."""

STATUSES = ("pending", "accepted", "fixed", "added", "rejected", "disputed", "skipped")
KEPT = ("accepted", "fixed", "added")
SOURCES = ("data", "model", "human", "none")
"""Who proposed a subject; "none": an image was looked at and nothing was found. Its item is without phrase and region."""
MOST_LETTERS = 200
SAME_PLACE = 0.5
"""The IoU from which on a fixed region is the one that was known beforehand."""


@dataclass(frozen=True)
class Picture:
    """An image whose subjects are judged. `id` is its gallery's; width and height in pixels of the upright image."""

    id: int
    file_name: str
    width: int
    height: int
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Truth:
    """The known answer of a honeypot: whether the proposal is right, and where the subject really is."""

    right: bool
    subject: Subject

    def to_json(self) -> dict[str, Any]:
        return {"right": self.right, "subject": self.subject.to_json()}


@dataclass(frozen=True)
class Scores:
    """Why a proposal should be looked at early; each grows with the need. `margin`: how much better the phrase fits its
    region than the best rival (cosines), None where there is no rival or no model looked."""

    uncertainty: float = 0.0
    misalignment: float = 0.0
    disagreement: float = 0.0
    margin: float | None = None


@dataclass(frozen=True)
class Proposal:
    """A subject of an image that waits for a judgement. `fingerprint`: of the model that proposed it."""

    image: int
    subject: Subject
    source: str
    fingerprint: str | None = None
    scores: Scores = Scores()
    truth: Truth | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether it only says that nothing was found in its image, to which a subject may be added."""
        return self.source == "none"


@dataclass(frozen=True)
class Decision:
    """A row of the log. `kind` is a verdict, or "undo" or "redo" of the decision `target`; `parent` is the decision of
    the same annotator on the same item that it replaced. `seconds`: how long it took."""

    id: int
    item: int
    annotator: str
    kind: str
    subject: Subject
    seconds: float
    at: float
    parent: int | None = None
    target: int | None = None


@dataclass(frozen=True)
class Item:
    """A proposal in the store with what became of it. `mine`: the annotator's own standing decision, where one asked.

    `result` is the subject as it is after all decisions; the proposal where there is none yet.
    """

    id: int
    picture: Picture
    proposal: Proposal
    status: str
    result: Subject
    creator: str | None = None
    judges: int = 0
    mine: Decision | None = None


@dataclass(frozen=True)
class Filters:
    """Which items count, in the queue and in exports alike. Empty values do not filter."""

    phrase: str = ""
    source: str | None = None
    status: str | None = None
    annotator: str | None = None

    def __post_init__(self) -> None:
        for name, value, known in (("source", self.source, SOURCES), ("status", self.status, STATUSES)):
            if value is not None and value not in known:
                raise InputError(f"The {name} is {str(value)[:20]!r}. Choose one of {', '.join(known)}.")

    @property
    def reviews(self) -> bool:
        """Whether they ask for what somebody has judged already, by its status or its annotator."""
        return self.annotator is not None or self.status not in (None, "pending", "skipped")


EVERYTHING = Filters()


@dataclass(frozen=True)
class Outcome:
    """An item as an export has it. `subject` carries status, source and, under `provenance`, every step of its way."""

    picture: Picture
    subject: Subject


@dataclass(frozen=True)
class Progress:
    """How far the work is: items by status, and each annotator's count, median seconds and honeypots (right, seen)."""

    counts: Mapping[str, int] = field(default_factory=dict)
    decided: Mapping[str, int] = field(default_factory=dict)
    pace: Mapping[str, float] = field(default_factory=dict)
    honeypots: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return self.total - self.counts.get("pending", 0) - self.counts.get("skipped", 0)


def check_name(value: object) -> str:
    """`value` as an annotator's name, spaces folded; InputError where it is none."""
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not name or len(name) > 40 or not name.isprintable():
        raise InputError(
            "Say who you are first: a name of at most 40 letters, so that decisions have an author."
        )
    return name


def check_subject(subject: Subject, picture: Picture) -> Subject:
    """`subject` as it may be stored: a phrase, a region inside the image, a mask of the image's size with its own box.

    A mask of another size is scaled. Raises InputError where the phrase is empty or too long, the region is empty, lies
    outside of the image, or is no valid mask.
    """
    phrase = " ".join(subject.phrase.split())
    if not phrase:
        raise InputError("The subject has no phrase. Name it.")
    if len(phrase) > MOST_LETTERS:
        raise InputError(f"The phrase has {len(phrase)} letters; {MOST_LETTERS} are enough. Shorten it.")
    if subject.segmentation is not None:
        mask = subject.mask(picture.width, picture.height)
        box = mask_bbox(mask)
        if box is None:
            raise InputError(f"The mask of {phrase!r} is empty. Paint it, or draw a box instead.")
        return replace(subject, phrase=phrase, bbox=box, segmentation=encode_mask(mask))
    if subject.bbox is None:
        raise InputError(f"{phrase!r} has no region. Draw a box, or paint a mask.")
    return replace(subject, phrase=phrase, bbox=_inside(subject.bbox, picture, phrase))


def _inside(bbox: Sequence[float], picture: Picture, phrase: str) -> tuple[float, float, float, float]:
    x, y, w, h = (float(number) for number in bbox)
    if not np.isfinite([x, y, w, h]).all():
        raise InputError(f"The box of {phrase!r} is no box. Draw it again.")
    left, top = min(max(0.0, x), picture.width), min(max(0.0, y), picture.height)
    right, bottom = min(max(0.0, x + w), picture.width), min(max(0.0, y + h), picture.height)
    if right - left < 1 or bottom - top < 1:
        raise InputError(f"The box of {phrase!r} is empty or lies outside of the image. Draw it again.")
    return tuple(round(v, 2) for v in (left, top, right - left, bottom - top))  # type: ignore[return-value]
