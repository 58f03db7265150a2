"""`+rerank`: images read again together with a text, and asked for each subject that it names, under the salience that the text
conditions.

A model that learned to tell what is true of an image answers a text that it reads with what is true, so that the text's own
vector is near only where the text is true. A long text is true or not in many ways at once; so the image is also asked
for each of its subjects, "the dog", and for "the place", and the answers held against the phrases, "a red dog" and "in the
snow", as questions check pictures in TIFA (Hu et al. 2023). Where subjects have codes of their own, what is in the index counts
as much as the readings. A model that never learned that reads the image alone. It knows no gallery and no data set.

C images, S statements: the text, then its phrases; D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ssa_me.explanation import SalienceMode
from ssa_me.salience.subjects import question, setting_of
from ssa_me.samples import Sample

if TYPE_CHECKING:
    from ssa_me.embedding import Embedder

_AT_ONCE = 32


@dataclass(frozen=True)
class Statement:
    """What is read with an image, and what the reading is to be near if the image shows what is looked for."""

    read: str
    meant: str


def statements(text: str, embedder: Embedder) -> tuple[Statement, ...]:
    """The text as it is, then the question that each of its phrases and its setting answers; a phrase that answers none as
    it is."""
    named = dict.fromkeys([*embedder.phrases(text), *filter(None, [setting_of(text)])])
    asked = (Statement(question(phrase) or phrase, phrase) for phrase in named)
    return tuple(dict.fromkeys([Statement(text, text), *asked]))


def reread(
    images: Sequence[Image.Image],
    said: Sequence[Statement],
    embedder: Embedder,
    versions: Sequence[str],
    salience: SalienceMode = "head",
) -> dict[str, np.ndarray]:
    """Version → (C, S, D) float32 of unit length: each image read with each of the statements; (C, 1, D) of a version that
    never learned to, which reads the image alone. The first of `said` is the text that conditions salience."""
    readers = tuple(version for version in versions if embedder.reads_claims(version))
    others = tuple(version for version in versions if version not in readers)
    every = [statement.read for statement in said]
    asked: tuple[tuple[Sequence[str | None], tuple[str, ...]], ...] = ((every, readers), ((None,), others))
    result = {}
    for told, of in asked:
        if not of:
            continue
        found = embedder.embed(
            [Sample(text, image) for image in images for text in told],
            versions=of,
            conditioned_on=said[0].read,
            salience=salience,
            batch_size=max(1, _AT_ONCE // len(told)) * len(told),
        )
        for version in of:
            rows = found.vectors[version]
            result[version] = rows.reshape(len(images), len(told), rows.shape[-1])
    return result


def together(reading: float | np.ndarray, indexed: float | np.ndarray) -> np.ndarray:
    """The score under `+rerank` of a version whose subjects have codes: the mean of how well readings agree and of how well
    what is indexed does (`late_interaction`), which alone tells relations. Without subjects, NaN, the reading alone."""
    return np.asarray(np.where(np.isnan(indexed), reading, (np.asarray(reading) + indexed) / 2))


def agreement(read: np.ndarray, meant: np.ndarray) -> np.ndarray:
    """(…,) how well readings (…, S, D) agree with what was meant (S, D): the mean of the text's cosine and of the mean of
    its phrases' cosines; the text's alone where nothing else was read."""
    cosines = np.einsum("...sd,sd->...s", read, meant[: read.shape[-2]])
    if cosines.shape[-1] == 1:
        return np.asarray(cosines[..., 0])
    return np.asarray((cosines[..., 0] + cosines[..., 1:].mean(-1)) / 2)
