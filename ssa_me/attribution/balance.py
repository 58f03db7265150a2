"""Modality balance of one query and one image: what of the score is left without one side, and where attention goes.

A query of image and text together is measured by its own two sides. A text alone has no second side, so there the pair is
measured: the text, and the image that it is compared with. Nothing here is a gradient; every score is the facade's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image

from ssa_me.attribution.absence import absent
from ssa_me.checkpoint import VERSIONS
from ssa_me.errors import InputError
from ssa_me.evaluation.perceptual import share
from ssa_me.salience import relevance
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

NO_TEXT = "something"
"""What a text that names nothing is: there is no embedding of no text."""


@dataclass(frozen=True)
class Side:
    """One side of a score. without: the score with that side left out. permuted: the mean of it with other queries' sides
    in its place, None where none were given. The falls are the score less those."""

    score: float
    without: float
    permuted: float | None

    @property
    def fall(self) -> float:
        return self.score - self.without

    @property
    def fall_permuted(self) -> float | None:
        return None if self.permuted is None else self.score - self.permuted


@dataclass(frozen=True)
class ModalityBalance:
    """Of one version. attention_on_image: the last token's attention on image tokens where image and text are read
    together, mean over heads and the chosen layers; the rest is on the text and the prompt."""

    score: float
    image: Side
    text: Side
    attention_on_image: float

    @property
    def image_share(self) -> float | None:
        """The image's part of both falls, in [0, 1]; a rise counts as 0, and None is where neither side matters."""
        value = float(share(np.array(self.image.fall), np.array(self.text.fall)))
        return None if np.isnan(value) else value

    def to_json(self) -> dict[str, Any]:
        return {
            "score": self.score,
            "without_image": self.image.without,
            "without_text": self.text.without,
            "permuted_image": self.image.permuted,
            "permuted_text": self.text.permuted,
            "fall_image": self.image.fall,
            "fall_text": self.text.fall,
            "image_share": self.image_share,
            "attention": {
                "image": self.attention_on_image,
                "text and prompt": 1 - self.attention_on_image,
            },
        }


@dataclass(frozen=True)
class Balances:
    """measured: "query", the two sides of a query of image and text, or "pair", a text and the image it is compared with.
    versions: version → its balance. note: what was left out how, as a sentence."""

    measured: Literal["query", "pair"]
    versions: Mapping[str, ModalityBalance]
    note: str

    def to_json(self) -> dict[str, Any]:
        return {
            "measured": self.measured,
            "note": self.note,
            "models": {version: found.to_json() for version, found in self.versions.items()},
        }


def modality_balance(
    embedder: SalientEmbedder,
    image: Image.Image,
    text: str,
    query_image: Image.Image | None = None,
    others: Sequence[Sample] = (),
) -> Balances:
    """How far the score of a query with `image` falls without the query's image, without its text, and with others'.

    query_image: the image of the query, where it has one. others: other queries, whose texts and images take the place
    of this one's; those with neither side of a kind are left out of it. Raises InputError for an empty text.
    """
    if not text.strip():
        raise InputError("The query has no text, so that there are no two sides to weigh. Give it a text.")
    texts = [other.text for other in others if other.text and other.text.strip()]
    images = [other.image for other in others if other.image is not None]
    if query_image is not None:
        return _of_query(embedder, image, text, query_image, texts, images)
    blank = Image.fromarray(absent(np.asarray(image.convert("RGB")), "mean", 0))
    spoken = embedder.embed([Sample(t) for t in (text, NO_TEXT, *texts)]).vectors
    seen = embedder.embed([Sample(image=i) for i in (image, blank, *images)]).vectors
    attention = _attention(embedder, image, text)
    found = {}
    for version in VERSIONS:
        of_texts = spoken[version] @ seen[version][0]
        of_images = seen[version] @ spoken[version][0]
        found[version] = _balance(of_images, of_texts, attention[version])
    note = (
        "The query is a text alone, so the pair is weighed: without the image is its mean colour, without the text "
        f"“{NO_TEXT}”; permuted are other queries' sides."
    )
    return Balances("pair", found, note)


def _of_query(
    embedder: SalientEmbedder,
    image: Image.Image,
    text: str,
    query_image: Image.Image,
    texts: Sequence[str],
    images: Sequence[Image.Image],
) -> Balances:
    queries = [Sample(text, query_image), Sample(text), Sample(image=query_image)]
    queries += [Sample(text, other) for other in images] + [Sample(other, query_image) for other in texts]
    rows = embedder.embed(queries).vectors
    target = embedder.embed([Sample(image=image)]).vectors
    attention = _attention(embedder, query_image, text)
    found = {}
    for version in VERSIONS:
        scores = rows[version] @ target[version][0]
        full, no_image, no_text, rest = scores[0], scores[1], scores[2], scores[3:]
        of_images = np.array([full, no_image, *rest[: len(images)]])
        of_texts = np.array([full, no_text, *rest[len(images) :]])
        found[version] = _balance(of_images, of_texts, attention[version])
    note = (
        "Both sides of the query are weighed: without the image is the text alone, without the text the image alone; "
        "permuted are other queries' sides."
    )
    return Balances("query", found, note)


def _balance(of_images: np.ndarray, of_texts: np.ndarray, attention: float) -> ModalityBalance:
    """From scores (2 + O,): in full, without that side, then with each other query's."""

    def side(scores: np.ndarray) -> Side:
        rest = scores[2:]
        return Side(float(scores[0]), float(scores[1]), float(rest.mean()) if len(rest) else None)

    return ModalityBalance(float(of_images[0]), side(of_images), side(of_texts), attention)


def _attention(embedder: SalientEmbedder, image: Image.Image, text: str) -> dict[str, float]:
    """Version → the share of the last token's attention on all image tokens, sinks among them: it is a share of all."""
    with embedder.exact() as passes, torch.no_grad():
        visual = passes.backbone.vision_pass([image])
        found = passes.salience(visual, [image], [None])
        outputs = passes.read([text], visual, found, rows=True)
        layers = passes.settings.layers
    result = {}
    for version, output in outputs.items():
        assert output.rows is not None
        result[version] = float(relevance.layer_mean(output.rows.float(), layers).sum())
    return result
