"""The table of mined queries, a column an array: rows by number, outcomes, measures. It knows no model and no page.

Ranks count from 1 and are pessimistic under ties; `gain` is the baseline's rank less SSA-ME's, so more is better for
SSA-ME. What is not known of a query is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from ssa_me.evaluation.bootstrap import estimate
from ssa_me.evaluation.retrieval import Retrieval

Outcome = Literal["all", "fixed", "broken", "both-wrong", "both-right"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""With a cut-off k: SSA-ME has a right image among its first k and the baseline has not; the other way round; neither;
both."""

NUMBERS = {
    "rank_baseline": "baseline's rank",
    "rank_ssa_me": "SSA-ME's rank",
    "gain": "ranks gained",
    "alignment": "subject alignment",
    "misaligned": "misaligned",
    "size": "size of the subject",
    "length": "words",
}
"""The columns that can be sorted and filtered by a range, and what people read."""
_IDS = ("target", "top_baseline", "top_ssa_me")
_GAINS = ("ndcg_baseline", "ndcg_ssa_me")
COLUMNS = (*NUMBERS, *_IDS, *_GAINS)


@dataclass(frozen=True)
class FailureRow:
    """One query. target: the right image that SSA-ME ranks best. top_…: the image that each model puts first.

    alignment: the least cos(e(p), a) of the query's phrases with the region of the target that carries them; misaligned:
    whether another region scores higher for that phrase (None where nothing is annotated). size: that subject's share of
    the image's area. length: words of the query.
    """

    row: int
    query: str
    kind: str
    phrase: str
    target: int
    targets: tuple[int, ...]
    rank_baseline: int
    rank_ssa_me: int
    gain: int
    alignment: float | None
    misaligned: bool | None
    size: float | None
    length: int
    top_baseline: int
    top_ssa_me: int
    extra: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        values = {field.name: self.__dict__[field.name] for field in fields(self)}
        return values | {"targets": list(self.targets), "extra": dict(self.extra)}


@dataclass(frozen=True)
class FailureTable:
    """Q queries. candidates: ids that a query is ranked among, none for all; chances: of a right first place by guessing.
    numbers: column of `COLUMNS` → (Q,) float64. extra: free columns, "" where a query has none."""

    queries: tuple[str, ...]
    kinds: tuple[str, ...]
    phrases: tuple[str, ...]
    targets: tuple[tuple[int, ...], ...]
    clusters: tuple[str, ...]
    candidates: tuple[tuple[int, ...], ...]
    chances: tuple[float, ...]
    numbers: Mapping[str, np.ndarray]
    extra: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.queries)

    def row(self, at: int) -> FailureRow:
        """Row number `at`. Raises IndexError where there is none."""
        if not 0 <= at < len(self):
            raise IndexError(at)
        number = {name: float(self.numbers[name][at]) for name in (*NUMBERS, *_IDS)}
        misaligned = _known(number["misaligned"])
        return FailureRow(
            row=at,
            query=self.queries[at],
            kind=self.kinds[at],
            phrase=self.phrases[at],
            target=int(number["target"]),
            targets=self.targets[at],
            rank_baseline=int(number["rank_baseline"]),
            rank_ssa_me=int(number["rank_ssa_me"]),
            gain=int(number["gain"]),
            alignment=_known(number["alignment"]),
            misaligned=None if misaligned is None else bool(misaligned),
            size=_known(number["size"]),
            length=int(number["length"]),
            top_baseline=int(number["top_baseline"]),
            top_ssa_me=int(number["top_ssa_me"]),
            extra={name: values[at] for name, values in self.extra.items() if values[at]},
        )

    @cached_property
    def lowered(self) -> tuple[str, ...]:
        """The queries in lower case, to look for a text in."""
        return tuple(query.casefold() for query in self.queries)

    def text_column(self, name: str) -> tuple[str, ...]:
        """A column of texts: query, kind, phrase, or a free one. Raises KeyError where there is none."""
        own = {"query": self.lowered, "kind": self.kinds, "phrase": self.phrases}
        return own[name] if name in own else self.extra[name]

    def text_places(self, name: str) -> np.ndarray:
        """The place (Q,) of each query's text in the alphabetic order of a column's different texts; found once."""
        if name not in self._places:
            self._places[name] = np.unique(
                np.array(self.text_column(name), dtype=object), return_inverse=True
            )[1]
        return self._places[name]

    @cached_property
    def _places(self) -> dict[str, np.ndarray]:
        return {}

    def outcome(self, outcome: Outcome, k: int) -> np.ndarray:
        """Which queries (Q,) have that outcome at the cut-off `k`."""
        if outcome == "all":
            return np.ones(len(self), dtype=bool)
        before, after = self.numbers["rank_baseline"] <= k, self.numbers["rank_ssa_me"] <= k
        wanted = {
            "fixed": ~before & after,
            "broken": before & ~after,
            "both-wrong": ~before & ~after,
            "both-right": before & after,
        }
        return wanted[outcome]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def measure(table: FailureTable, rows: np.ndarray | None = None, seed: int = 0) -> dict[str, Any]:
    """Measures of both models and their difference, SSA-ME less baseline, with 95 % intervals of the paired bootstrap
    clustered by image or scene, over `rows` (default: all; one or more). A lower mean rank is better.

    `{"queries", "chance", "models": {version: {measure: mean}}, "difference": {measure: {"value", "interval"}}}`
    """
    chosen = np.arange(len(table)) if rows is None else rows
    clusters = [table.clusters[int(at)] for at in chosen]
    found: dict[str, dict[str, np.ndarray]] = {}
    for version, name in (("baseline", "baseline"), ("ssa-me", "ssa_me")):
        ranks, gains = table.numbers[f"rank_{name}"][chosen], table.numbers[f"ndcg_{name}"][chosen]
        found[version] = Retrieval(ranks, gains).measures() | {"mean_rank": ranks}
    difference: dict[str, Any] = {}
    for label, values in found["ssa-me"].items():
        estimated = estimate(values - found["baseline"][label], clusters, seed=seed)
        if estimated is not None:
            difference[label] = estimated.to_json()
    return {
        "queries": len(chosen),
        "chance": float(np.mean([table.chances[int(at)] for at in chosen])),
        "models": {
            v: {label: float(values.mean()) for label, values in of.items()} for v, of in found.items()
        },
        "difference": difference,
    }


def counted(table: FailureTable, k: int) -> dict[str, int]:
    """How many queries have each outcome at the cut-off `k`."""
    return {outcome: int(table.outcome(outcome, k).sum()) for outcome in OUTCOMES}


def table_to_json(table: FailureTable) -> dict[str, Any]:
    """The table as columns; NaN is null."""
    numbers = {
        name: [None if np.isnan(value) else float(value) for value in values]
        for name, values in table.numbers.items()
    }
    return {
        "queries": table.queries,
        "kinds": table.kinds,
        "phrases": table.phrases,
        "targets": table.targets,
        "clusters": table.clusters,
        "candidates": table.candidates,
        "chances": table.chances,
        "numbers": numbers,
        "extra": table.extra,
    }


def table_from_json(found: Mapping[str, Any]) -> FailureTable:
    """What `table_to_json` wrote."""
    numbers = {name: np.array(found["numbers"][name], dtype=np.float64) for name in COLUMNS}
    texts: dict[str, Sequence[str]] = {
        name: found[name] for name in ("queries", "kinds", "phrases", "clusters")
    }
    return FailureTable(
        queries=tuple(texts["queries"]),
        kinds=tuple(texts["kinds"]),
        phrases=tuple(texts["phrases"]),
        targets=tuple(tuple(int(id) for id in ids) for ids in found["targets"]),
        clusters=tuple(texts["clusters"]),
        candidates=tuple(tuple(int(id) for id in ids) for ids in found["candidates"]),
        chances=tuple(float(chance) for chance in found["chances"]),
        numbers=numbers,
        extra={str(name): tuple(values) for name, values in found["extra"].items()},
    )
