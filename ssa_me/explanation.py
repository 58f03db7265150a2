"""What an explanation of one image and one query holds, and how subjects are aligned with regions.

Data and arithmetic only: it knows no model. N image tokens; boxes and regions in pixels of the upright image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ssa_me.errors import InputError
from ssa_me.salience.regions import TokenRegion, iou
from ssa_me.samples import BBox

SalienceMode = Literal["head", "full"]
"""What salience is conditioned by: the light head, or the whole pipeline of language model and visual expert."""
SALIENCE_MODES: tuple[SalienceMode, ...] = ("head", "full")


def salience_mode(value: str) -> SalienceMode:
    """`value` as one of `SALIENCE_MODES`; InputError otherwise."""
    for mode in SALIENCE_MODES:
        if value == mode:
            return mode
    raise InputError(f"There is no salience {value!r}. Choose one of {', '.join(SALIENCE_MODES)}.")


SAME_REGION = 0.5
"""Regions that overlap by this IoU or more are the same place, and no rivals."""


@dataclass(frozen=True)
class Region:
    """A subject region (x, y, width, height) with its mean salience in [0, 1]. single: it is of one subject, not around two
    that are related and not the ground."""

    bbox: BBox
    salience: float
    single: bool = True


@dataclass(frozen=True)
class TokenMaps:
    """Maps of one image. boxes (N, 4) x0, y0, x1, y1; attention: version → (N,) share of the last token's attention,
    summing to at most 1; salience (N,) in [0, 1], for the phrase or query-free."""

    boxes: np.ndarray
    attention: Mapping[str, np.ndarray]
    salience: np.ndarray


@dataclass(frozen=True)
class Alignment:
    """How a phrase fits the region found for it. score: SSA-ME's cosine of phrase and region; scores: each version's.

    rival: the best-scoring other region; misaligned when it scores higher than the phrase's own. attention: version →
    share of the attention on the image that falls inside the region. salience (N,): the head's map for the phrase.
    """

    phrase: str
    score: float
    region: BBox | None
    rival: BBox | None
    rival_score: float | None
    misaligned: bool
    scores: Mapping[str, float]
    attention: Mapping[str, float]
    salience: np.ndarray

    def to_json(self) -> dict[str, Any]:
        rival = None if self.rival is None else {"bbox": _rounded(self.rival), "score": self.rival_score}
        return {
            "phrase": self.phrase,
            "score": self.score,
            "region": None if self.region is None else _rounded(self.region),
            "rival": rival,
            "misaligned": self.misaligned,
            "scores": dict(self.scores),
            "attention_inside": dict(self.attention),
        }


@dataclass(frozen=True)
class RegionTable:
    """Every phrase against every region of an image: K phrases, R regions, N image tokens.

    bboxes: x, y, width, height. owners: the number of the phrase that a region was found for, None for a region of the
    index. weights (R, N) in [0, 1]. scores: version → (K, R) cosines of phrase and region. inside: version → (R,) share
    of its attention on the image that falls inside the region.
    """

    bboxes: tuple[BBox, ...]
    owners: tuple[int | None, ...]
    weights: np.ndarray
    scores: Mapping[str, np.ndarray]
    inside: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Subjects:
    """The phrases that are looked for. source: who named them, the caller, the rule for English texts, or the language
    model. described: its sentence about an image that came without a text. seconds: the time of naming them."""

    phrases: tuple[str, ...]
    source: Literal["given", "rule", "lmm"] = "given"
    described: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """Why a text and an image match, for both versions.

    image_size: (width, height). boxes (N, 4). similarity: version → cosine of text and image, empty without a text.
    attention: version → (N,) unnormalised share, so that both can stand on one scale; attention_on_image its sum.
    stages: semantic, expert, fused, head, gain → (N,). regions: the query-free subjects. seconds: time of each part.
    salience: what attention, gain and alignment are conditioned by. subjects: the phrases, and who named them.
    alignment: of those, then of phrases that were only asked about. each: stage → (K, N) for these phrases one by one.
    table: the same phrases against all regions. heads: version → (L, H, N) where it was asked for, else empty.
    """

    image_size: tuple[int, int]
    boxes: np.ndarray
    similarity: Mapping[str, float]
    attention: Mapping[str, np.ndarray]
    attention_on_image: Mapping[str, float]
    stages: Mapping[str, np.ndarray]
    regions: tuple[Region, ...]
    alignment: tuple[Alignment, ...]
    seconds: Mapping[str, float]
    salience: SalienceMode = "head"
    subjects: Subjects = Subjects(())
    each: Mapping[str, np.ndarray] = field(default_factory=dict)
    table: RegionTable | None = None
    heads: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The JSON of the `explain` command, without the files that the command writes."""
        models = {
            version: ({"similarity": self.similarity[version]} if version in self.similarity else {})
            | {"attention_on_image": self.attention_on_image[version]}
            for version in self.attention
        }
        return {
            "models": models,
            "alignment": [alignment.to_json() for alignment in self.alignment],
            "attributions": [],
            "regions": [{"bbox": _rounded(r.bbox), "salience": r.salience} for r in self.regions],
            "seconds": dict(self.seconds),
            "salience": self.salience,
            "subjects": {"source": self.subjects.source, "described": self.subjects.described},
        }


@dataclass(frozen=True)
class Candidate:
    """A region that a phrase may match, with its subject vector of each version: version → (D,), unit length."""

    region: TokenRegion
    vectors: Mapping[str, np.ndarray]


def align(
    phrase: str,
    embedding: Mapping[str, np.ndarray],
    own: Candidate | None,
    others: Sequence[Candidate],
    attention: Mapping[str, np.ndarray],
    salience: np.ndarray,
    leading: str,
) -> Alignment:
    """Score a phrase against its own region and against the other regions of the image.

    embedding: version → (D,) of the phrase, unit length. own: the region found for the phrase (None where its map is
    dark: score 0, nothing to be misaligned). attention: version → (N,). leading: the version whose score decides.
    """
    if own is None:
        nothing = dict.fromkeys(embedding, 0.0)
        return Alignment(phrase, 0.0, None, None, None, False, nothing, nothing, salience)
    scores = {version: float(embedding[version] @ own.vectors[version]) for version in embedding}
    rivals = [c for c in others if iou(c.region.bbox, own.region.bbox) < SAME_REGION]
    best = max(rivals, key=lambda c: float(embedding[leading] @ c.vectors[leading]), default=None)
    rival_score = None if best is None else float(embedding[leading] @ best.vectors[leading])
    inside = own.region.weights > 0
    mass = {v: float(a[inside].sum() / a.sum()) if a.sum() > 0 else 0.0 for v, a in attention.items()}
    return Alignment(
        phrase=phrase,
        score=scores[leading],
        region=own.region.bbox,
        rival=None if best is None else best.region.bbox,
        rival_score=rival_score,
        misaligned=rival_score is not None and rival_score > scores[leading],
        scores=scores,
        attention=mass,
        salience=salience,
    )


def attention_of(
    heads: np.ndarray, layer: int | None, head: int | None, layers: Sequence[int] | None = None
) -> np.ndarray:
    """The attention (N,) of one layer and head of (L, H, N), both counted from 0; None is the mean over `layers` (None:
    the second half of them), and over all heads. Raises InputError where there is no such layer or head."""
    most, many = heads.shape[:2]
    for number, count, what in ((layer, most, "layer"), (head, many, "head")):
        if number is not None and not 0 <= number < count:
            raise InputError(f"There is no {what} {number + 1}: the model has {count}.")
    read = (
        [layer] if layer is not None else list(layers) if layers is not None else list(range(most // 2, most))
    )
    rows = heads[read]
    chosen = rows.mean(1) if head is None else rows[:, head]
    return np.asarray(chosen.mean(0), np.float32)


def region_table(
    embedding: Mapping[str, np.ndarray],
    candidates: Sequence[Candidate],
    owners: Sequence[int | None],
    attention: Mapping[str, np.ndarray],
) -> RegionTable:
    """Score K phrases against R candidates. embedding: version → (K, D), unit length; attention: version → (N,)."""
    tokens = len(next(iter(attention.values())))
    weights = np.array([c.region.weights for c in candidates], np.float32).reshape(-1, tokens)
    scores = {
        version: np.array([rows @ c.vectors[version] for c in candidates], np.float32)
        .reshape(-1, len(rows))
        .T
        for version, rows in embedding.items()
    }
    inside = {v: (weights > 0) @ row / max(float(row.sum()), 1e-12) for v, row in attention.items()}
    return RegionTable(tuple(c.region.bbox for c in candidates), tuple(owners), weights, scores, inside)


def _rounded(bbox: BBox) -> list[float]:
    return [round(float(number), 1) for number in bbox]
