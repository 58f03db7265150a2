"""What is asked of a list beyond its ranking: conditions, alignment of subjects, no near-duplicates, another order.

Data and arithmetic: it knows no gallery and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ssa_me.errors import InputError
from ssa_me.gallery.filters import Filters

SortKey = Literal["score", "alignment"]
SORT_KEYS: tuple[SortKey, ...] = ("score", "alignment")


@dataclass(frozen=True)
class Refinement:
    """where: conditions on metadata. least_alignment: the cosine that a hit's subject must have with its phrase at least.
    hide_duplicates: hide an image whose cosine with one further up is so high or higher. sort: by score, or the k best by
    score in the order of their subjects' alignment.

    The k best that pass are listed, however far down. Raises InputError for a cosine outside of [-1, 1] or an unknown
    key.
    """

    where: Filters = field(default_factory=Filters)
    least_alignment: float | None = None
    hide_duplicates: float | None = None
    sort: SortKey = "score"

    def __post_init__(self) -> None:
        if self.sort not in SORT_KEYS:
            raise InputError(f"There is no order {self.sort!r}. Choose one of {', '.join(SORT_KEYS)}.")
        for name, value in (("alignment", self.least_alignment), ("duplicates", self.hide_duplicates)):
            if value is not None and not -1 <= value <= 1:
                raise InputError(f"The threshold of {name} is a cosine between -1 and 1, not {value}.")

    @property
    def looks_further(self) -> bool:
        """Whether hits may be left out, so that more than k must be looked at."""
        return self.least_alignment is not None or self.hide_duplicates is not None

    def to_json(self) -> dict[str, Any]:
        """What is not as it is by default."""
        values = {
            "where": self.where.to_json() or None,
            "least_alignment": self.least_alignment,
            "hide_duplicates": self.hide_duplicates,
            "sort": None if self.sort == "score" else self.sort,
        }
        return {key: value for key, value in values.items() if value is not None}


def distinct(rows: Sequence[np.ndarray], threshold: float) -> list[bool]:
    """Which of these unit vectors `(D,)`, in their order, have a cosine below `threshold` with all kept before them."""
    kept: list[np.ndarray] = []
    result = []
    for row in rows:
        alone = not kept or float((np.stack(kept) @ row).max()) < threshold
        result.append(alone)
        if alone:
            kept.append(row)
    return result
