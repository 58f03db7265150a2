"""How well the language model lists the subjects of images, against annotated phrases. The measure knows no model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssa_me.evaluation.encode import Progress, batches, silent
from ssa_me.evaluation.maps import true_subjects
from ssa_me.images import load_image
from ssa_me.samples import Record, Sample
from ssa_me.scenes.vocabulary import PERSON, PERSONS

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

_PERSONS = re.compile(rf"\b(?:{'|'.join(PERSONS)})\b")
_ARTICLES = re.compile(r"\b(?:an?|the)\b")


@dataclass(frozen=True)
class ListScore:
    """Over all images: their number; the share of listed phrases that are annotated (None: nothing was listed) and of
    annotated phrases that are listed; the share of images whose list is right and whole."""

    images: int
    precision: float | None
    recall: float
    exact: float

    def to_json(self) -> dict[str, int | float | None]:
        return {
            "images": self.images,
            "precision": self.precision,
            "recall": self.recall,
            "exact": self.exact,
        }


def as_person(phrase: str) -> str:
    """The same with a man, a woman and a child called a person."""
    return _PERSONS.sub(PERSON, phrase)


def same_words(phrase: str) -> str:
    """A phrase as it is compared: without case, articles and what stands around it; man, woman and child are a person."""
    plain = _ARTICLES.sub(" ", as_person(phrase.casefold()))
    return " ".join(plain.split()).strip(" .,;")


def score_lists(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> ListScore | None:
    """Score (listed, annotated) phrases, image by image; None without an image. A phrase counts once in an image."""
    sets = [({*map(same_words, listed)}, {*map(same_words, annotated)}) for listed, annotated in pairs]
    if not sets:
        return None
    listed, annotated = (sum(len(pair[side]) for pair in sets) for side in (0, 1))
    right = sum(len(ours & theirs) for ours, theirs in sets)
    exact = sum(ours == theirs for ours, theirs in sets)
    return ListScore(len(sets), right / listed if listed else None, right / annotated, exact / len(sets))


def subject_lists(
    records: Sequence[Record], embedder: SalientEmbedder, progress: Progress = silent
) -> ListScore | None:
    """What the language model lists of each image that has annotated subjects, seeing the image alone; None without such
    an image. Where the rule had to take its place, the model listed nothing."""
    asked = [record for record in records if true_subjects(record)]
    listed: list[tuple[str, ...]] = []
    for batch in batches(asked):
        samples = [Sample(image=load_image(record.path, record.file_name)) for record in batch]
        answers = embedder.subjects(samples)
        listed += [answer.phrases if answer.source == "lmm" else () for answer in answers]
        progress(f"subjects of {len(listed):,} of {len(asked):,} images listed")
    annotated = [[subject.phrase for subject in true_subjects(record)] for record in asked]
    return score_lists(zip(listed, annotated, strict=True))
