"""What a search asks beyond its query, as the browser and a link keep it: which two lists, and what they leave out. Knows no
page and no model.

    lists=A,B & where=CONDITIONS & align=X & dup=X & sort=alignment & box=X,Y,WIDTH,HEIGHT & only=a|b|ab

`lists` is left out for the pairs of a method; `where` holds a condition a line (see `ssa_me.gallery.filters`); `align` is the
least alignment of a hit's subject, `dup` the cosine from which on near-duplicates are hidden; `box` is the region of the
query's image; `only` names the lists, first or second, that show only what the other one lacks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.gallery.refine import Refinement
    from ssa_me.samples import BBox

METHODS = ("vector", "subjects", "rerank")
"""How both lists are ranked: one vector an image, with its subject vectors, or the best read again with the query."""
PAIRS = {
    "vector": ("baseline", "ssa-me"),
    "subjects": ("baseline+subjects", "ssa-me+subjects"),
    "rerank": ("baseline+rerank", "ssa-me+rerank"),
}
SORTS = ("score", "alignment")
ONLY = ("", "a", "b", "ab")
MOST_CONDITIONS = 20
MOST_LETTERS = 500
_RANKING = re.compile(r"[a-z][a-z-]{0,39}(\+[a-z]{1,20})?")


@dataclass(frozen=True)
class Refining:
    """See the module. rankings: two names, or none for those of the search's method; conditions are checked by the search."""

    rankings: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    least_alignment: float | None = None
    hide_duplicates: float | None = None
    sort: str = SORTS[0]
    region: BBox | None = None
    only: str = ONLY[0]

    def refinement(self) -> Refinement:
        """The same for the library. Raises InputError where a condition is none."""
        from ssa_me.gallery.filters import parse_filters
        from ssa_me.gallery.refine import Refinement, SortKey

        sort: SortKey = "alignment" if self.sort == "alignment" else "score"
        return Refinement(parse_filters(self.where), self.least_alignment, self.hide_duplicates, sort)

    def to_json(self) -> dict[str, Any]:
        """As the browser keeps it; what `read` reads."""
        return {
            "rankings": list(self.rankings),
            "where": list(self.where),
            "least_alignment": self.least_alignment,
            "hide_duplicates": self.hide_duplicates,
            "sort": self.sort,
            "region": list(self.region) if self.region else None,
            "only": self.only,
        }

    def parameters(self) -> dict[str, str]:
        """As a link keeps it: what is not as it is by default."""
        found = {
            "lists": ",".join(self.rankings),
            "where": "\n".join(self.where),
            "align": "" if self.least_alignment is None else f"{self.least_alignment:g}",
            "dup": "" if self.hide_duplicates is None else f"{self.hide_duplicates:g}",
            "sort": "" if self.sort == SORTS[0] else self.sort,
            "box": ",".join(f"{number:g}" for number in self.region or ()),
            "only": self.only,
        }
        return {key: value for key, value in found.items() if value}


def settled(method: str, refining: Refining) -> tuple[str, Refining]:
    """A method and lists that agree: a pair of a method is kept as that method, any other two under the second's."""
    if not refining.rankings:
        return method, refining
    for name, pair in PAIRS.items():
        if pair == refining.rankings:
            return name, replace(refining, rankings=())
    return refining.rankings[1].partition("+")[2] or METHODS[0], refining


def read(values: object) -> Refining:
    """What a browser sent: any of it can be forged. Raises InputError where a value makes no sense."""
    if not isinstance(values, Mapping):
        return Refining()
    return Refining(
        rankings=_rankings(values.get("rankings") or ()),
        where=_where(values.get("where") or ()),
        least_alignment=_cosine(values.get("least_alignment"), "least alignment"),
        hide_duplicates=_cosine(values.get("hide_duplicates"), "threshold of near-duplicates"),
        sort=_one_of(values.get("sort") or SORTS[0], SORTS, "order"),
        region=None if values.get("region") is None else _region(values["region"]),
        only=_one_of(values.get("only") or ONLY[0], ONLY, "filter by the other list"),
    )


def parse(parameters: Mapping[str, str]) -> Refining:
    """What a link keeps. Raises InputError where a parameter makes no sense."""
    lists, where, box = (parameters.get(key, "") for key in ("lists", "where", "box"))
    return read(
        {
            "rankings": lists.split(",") if lists else (),
            "where": where.split("\n") if where else (),
            "least_alignment": parameters.get("align") or None,
            "hide_duplicates": parameters.get("dup") or None,
            "sort": parameters.get("sort"),
            "region": box.split(",") if box else None,
            "only": parameters.get("only"),
        }
    )


def _rankings(values: object) -> tuple[str, ...]:
    names = tuple(values) if isinstance(values, list | tuple) else ("",)
    for name in names:
        if not isinstance(name, str) or not _RANKING.fullmatch(name):
            raise InputError(f"There is no ranking {str(name)[:40]!r}. Choose one from the list.")
    if len(names) not in (0, 2) or len(set(names)) != len(names):
        raise InputError("Two different rankings are compared. Choose another one for one of the lists.")
    return names


def _where(values: object) -> tuple[str, ...]:
    given = values if isinstance(values, list | tuple) else (values,)
    texts = tuple(dict.fromkeys(str(value).strip() for value in given))
    texts = tuple(text for text in texts if text)
    if len(texts) > MOST_CONDITIONS or any(len(text) > MOST_LETTERS for text in texts):
        raise InputError(f"Give at most {MOST_CONDITIONS} conditions of {MOST_LETTERS} letters.")
    return texts


def _cosine(value: object, what: str) -> float | None:
    if value is None or value == "":
        return None
    number = _number(value)
    if not -1 <= number <= 1:
        raise InputError(f"The {what} is {str(value)[:20]!r}. Give a cosine between -1 and 1.")
    return number


def _region(value: object) -> BBox:
    numbers = [round(_number(part), 1) for part in value] if isinstance(value, list | tuple) else []
    if len(numbers) != 4 or not all(math.isfinite(n) and abs(n) < 1e6 for n in numbers):
        raise InputError("The region is no box in the image. Draw it again.")
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        raise InputError("The region has no area. Draw it again.")
    return x, y, width, height


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _one_of(value: object, values: tuple[str, ...], what: str) -> str:
    if value not in values:
        known = ", ".join(filter(None, values))
        raise InputError(f"The {what} is {str(value)[:20]!r}. Choose one of {known}.")
    return str(value)
