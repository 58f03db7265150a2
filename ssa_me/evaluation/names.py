"""Which images a subject's kind alone asks for: `the dog`, `a dog` and `dog` of all images with a dog, whatever its colour.

Kinds come from annotated phrases, so any data with them will do. It knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ssa_me.evaluation.listing import as_person
from ssa_me.evaluation.maps import true_subjects
from ssa_me.salience.subjects import shorter
from ssa_me.samples import Record


@dataclass(frozen=True)
class Name:
    """A text that asks for a kind, the kind, and the rows of the images that show one."""

    text: str
    kind: str
    images: tuple[int, ...]


def names(records: Sequence[Record]) -> list[Name]:
    """The kinds of all subjects that count as truth, each in all wordings that their phrases give, persons both as man, woman
    or child and as persons; none that every image shows."""
    rows: dict[str, list[int]] = {}
    texts: dict[str, dict[str, None]] = {}
    for row, record in enumerate(records):
        phrases = [" ".join(subject.phrase.lower().split()) for subject in true_subjects(record)]
        for phrase in dict.fromkeys(name for own in phrases for name in (own, as_person(own))):
            kind = min((phrase, *shorter(phrase)), key=len)
            rows.setdefault(kind, []).append(row)
            texts.setdefault(kind, {}).update(dict.fromkeys((kind, *shorter(kind), *shorter(phrase))))
    shown = {kind: tuple(dict.fromkeys(found)) for kind, found in rows.items()}
    return [
        Name(text, kind, found)
        for kind, found in shown.items()
        if len(found) < len(records)
        for text in texts[kind]
    ]
