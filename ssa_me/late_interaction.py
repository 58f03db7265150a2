"""`+subjects`: how well what a text states agrees with what is found in an image, by late interaction.

Each statement of the text, a subject, its setting, its relation, is held against everything that an image has in its
index and takes the nearest; the mean of these is the image's agreement (after ColBERT, Khattab and Zaharia 2020, with
subjects in place of tokens). It knows arrays alone. S statements, R rows of an image, D width; all of unit length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

SUBJECT_SHARE = 0.8
"""b in (1 - b) cos(q, e) + b mean_p max_k cos(p, a_k)."""

Cosines = TypeVar("Cosines", float, np.ndarray)


def agreement(rows: np.ndarray, stated: np.ndarray) -> float:
    """mean_p max_k cos(p, a_k) of an image's rows (R, D), at least one, and statements (S, D), at least one."""
    return float((stated @ rows.T).max(1).mean())


@dataclass(frozen=True)
class Shown:
    """The rows of C images, stacked once for many queries. owners: the images that have some; starts: where each one's begin
    among `rows`."""

    count: int
    owners: list[int]
    starts: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[np.ndarray]) -> Shown:
        owners = [index for index, own in enumerate(rows) if len(own)]
        starts = np.cumsum([0] + [len(rows[index]) for index in owners[:-1]])
        stacked = np.concatenate([rows[index] for index in owners]) if owners else np.zeros((0, 0))
        return cls(len(rows), owners, starts, stacked)

    def agreements(self, stated: np.ndarray) -> np.ndarray:
        """(C,) of the images with statements (S, D); NaN for one without rows."""
        found = np.full(self.count, np.nan)
        if self.owners:
            cosines = stated @ self.rows.T
            found[self.owners] = np.maximum.reduceat(cosines, self.starts, axis=1).mean(0)
        return found


def agreements(rows: Sequence[np.ndarray], stated: np.ndarray) -> np.ndarray:
    """(C,) of the images that have `rows`, C arrays (R_c, D); NaN for one without any."""
    return Shown.of(rows).agreements(stated)


def mix(whole: Cosines, subject: Cosines) -> Cosines:
    """The score of an image under `+subjects`, of its own cosine and its subjects' agreement; of one image or of each."""
    return (1 - SUBJECT_SHARE) * whole + SUBJECT_SHARE * subject


def mixed(whole: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """The same of each image; one whose agreement is NaN, without subjects, counts by its own cosine alone."""
    return np.where(np.isnan(subject), whole, mix(whole, subject))
