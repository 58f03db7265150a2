"""What embedding gives, and what a search, a run of queries or an explanation asks of whatever embeds. Data and a protocol.

`SalientEmbedder` is one model with its two versions; `Opposed` stands for two models, of each one version. B samples, D
the embedding's width, which may differ from version to version. Boxes are in pixels of the upright image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from ssa_me.checkpoint import VERSIONS
from ssa_me.errors import InputError
from ssa_me.explanation import Explanation, Region, SalienceMode
from ssa_me.model_info import ModelInfo
from ssa_me.redrawing import Redrawn
from ssa_me.samples import BBox, Sample


@dataclass(frozen=True)
class Embedded:
    """Embeddings of B samples. vectors: version → (B, D) float32 of unit length. regions: each image's query-free
    subjects, at most 6, then the boxes around the ordered pairs of the first 3, and the ground; empty for texts.
    subject_vectors: version → B arrays of unit length, a row a region; of a text a row for each thing that it states: its
    phrases, its setting, its relation. A text states what an image shows where each of its rows is near one of the image's."""

    vectors: Mapping[str, np.ndarray]
    regions: tuple[tuple[Region, ...], ...]
    subject_vectors: Mapping[str, tuple[np.ndarray, ...]]


def check_versions(versions: Sequence[str]) -> None:
    """Raise InputError where one of `versions` is none of `VERSIONS`."""
    unknown = sorted(set(versions) - set(VERSIONS))
    if unknown:
        raise InputError(f"There is no version {', '.join(unknown)}. Versions: {', '.join(VERSIONS)}.")


class Embedder(Protocol):
    """See `SalientEmbedder` for what each does and raises."""

    @property
    def info(self) -> ModelInfo: ...

    def reads_claims(self, version: str) -> bool: ...

    def has_codes(self, version: str) -> bool: ...

    @property
    def layers(self) -> tuple[int, ...] | None: ...

    def embed(
        self,
        samples: Sequence[Sample],
        *,
        versions: Sequence[str] = VERSIONS,
        subjects: bool = False,
        conditioned_on: str | None = None,
        salience: SalienceMode = "head",
        batch_size: int = 32,
    ) -> Embedded: ...

    def embed_query(
        self,
        text: str | None,
        image: Image.Image | None,
        image_weight: float = 0.5,
        versions: Sequence[str] = VERSIONS,
    ) -> dict[str, np.ndarray]: ...

    def embed_region(
        self, image: Image.Image, bbox: BBox, versions: Sequence[str] = VERSIONS
    ) -> dict[str, np.ndarray]: ...

    def embed_redrawn(self, image: Image.Image, drawn: Sequence[BBox]) -> Redrawn: ...

    def phrases(self, text: str) -> tuple[str, ...]: ...

    def reads_whole(self, text: str) -> bool: ...

    def explain(
        self,
        image: Image.Image,
        text: str | None,
        phrases: Sequence[str] | None = None,
        salience: SalienceMode = "head",
        also: Sequence[str] = (),
        heads: bool = False,
    ) -> Explanation: ...
