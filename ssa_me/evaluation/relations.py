"""Relation swap: is "a red dog left of a blue car" nearer to its image than the same words the other way round?

Pairs come from annotated boxes, so any data with them will do. Chance is one half. It knows nothing of models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ssa_me.evaluation.maps import true_subjects
from ssa_me.evaluation.retrieval import TIE, similarity
from ssa_me.samples import Record


@dataclass(frozen=True)
class Swap:
    """Two texts about image number `image`: one is true of it, the other has its subjects exchanged."""

    image: int
    true: str
    swapped: str


def swaps(records: Sequence[Record]) -> Iterator[Swap]:
    """For every two subjects of an image whose boxes lie beside each other, both ways to say so.

    "A left of B" and "B right of A" are asked alike, so that naming the left one first gains nothing. Only subjects whose
    phrase is theirs alone, and only records in English (no `language` other than `en`).
    """
    for row, record in enumerate(records):
        if record.extra.get("language", "en") != "en":
            continue
        subjects = [subject for subject in true_subjects(record) if subject.bbox is not None]
        named = Counter(subject.phrase for subject in true_subjects(record))
        for left, right in permutations(subjects, 2):
            assert left.bbox is not None and right.bbox is not None
            alone = named[left.phrase] == named[right.phrase] == 1
            if alone and left.bbox[0] + left.bbox[2] <= right.bbox[0]:
                a, b = left.phrase, right.phrase
                yield Swap(row, f"{a} left of {b}", f"{b} left of {a}")
                yield Swap(row, f"{b} right of {a}", f"{a} right of {b}")


def swap_margins(
    found: Sequence[Swap],
    texts: dict[str, np.ndarray],
    images: np.ndarray,
    subjects: Sequence[np.ndarray] | None = None,
    stated: dict[str, np.ndarray] | None = None,
) -> np.ndarray:
    """How much nearer the true text is than the swapped one `(S,)`: unit `texts` by their words, unit `images` `(M, D)`.

    With `subjects` (arrays of each image's subject vectors) and what the texts state, scores are those of `similarity`.
    """
    margins = np.empty(len(found))
    for number, swap in enumerate(found):
        pair = np.stack([texts[swap.true], texts[swap.swapped]])
        own = [subjects[swap.image]] if subjects is not None else None
        said = [stated[swap.true], stated[swap.swapped]] if stated is not None else None
        scores = similarity(pair, images[swap.image][None], own, said)[:, 0]
        margins[number] = scores[0] - scores[1]
    return margins


def right(margins: np.ndarray) -> np.ndarray:
    """1 where the true text is nearer, else 0; a tie is a miss."""
    return (margins > TIE).astype(np.float64)
