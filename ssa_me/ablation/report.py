"""The tables of an ablation out of the scores of its variants. It trains and measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssa_me.ablation.scores import Scores, at
from ssa_me.ablation.variants import Variant
from ssa_me.checkpoint import BASELINE, SSA_ME

Format = Callable[[float], str]


@dataclass(frozen=True)
class Column:
    """A measure: its title, the set it is of, its path in a model's object, its name among the differences (None: it has
    none), and how it is written."""

    title: str
    where: str
    path: tuple[str, ...]
    difference: str | None
    show: Format


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _plain(value: float) -> str:
    return f"{value:.2f}"


def columns(photographs: Sequence[str]) -> list[Column]:
    """The measures of the table, in order."""

    def recall(title: str, where: str) -> Column:
        path = ("text_to_image", "recall@10")
        return Column(title, where, path, "text_to_image.recall@10", _percent)

    def attention(title: str, where: str) -> Column:
        path = ("localisation", "attention", "pointing_game")
        return Column(title, where, path, "localisation.attention.pointing_game", _percent)

    def salience(title: str, where: str) -> Column:
        return Column(title, where, ("localisation", "salience", "pointing_game"), None, _percent)

    return [
        Column("binding hit@1", "binding", ("overall",), "overall", _percent),
        recall("scenes recall@10", "scenes"),
        *(recall(f"{name} recall@10", name) for name in photographs),
        attention("attention on the subject, scenes", "scenes"),
        *(attention(f"attention, {name}", name) for name in photographs),
        salience("salience on the subject, scenes", "scenes"),
        *(salience(f"salience, {name}", name) for name in photographs),
        Column("joint queries hit@1", "neglect", ("hit@1",), "hit@1", _percent),
        Column("imbalance", "neglect", ("imbalance",), "imbalance", _plain),
    ]


@dataclass(frozen=True)
class Row:
    """A variant with its scores. seconds: of a training step, None where nothing was trained. costs: of the whole method
    what `costs.py` measures, None of the others."""

    variant: Variant
    scores: Scores
    photographs: tuple[str, ...]
    seconds: float | None
    costs: Mapping[str, Any] | None = None

    @property
    def model(self) -> str:
        return BASELINE if self.variant.version == BASELINE else SSA_ME

    def value(self, column: Column) -> float | None:
        found = at(self.scores, (column.where, "models", self.model, *column.path))
        if isinstance(found, Mapping):
            found = found.get("value")
        return None if found is None else float(found)

    def difference(self, column: Column) -> Mapping[str, Any] | None:
        """From the study's baseline, with its interval; None where the variant is a baseline."""
        if column.difference is None or self.model == BASELINE:
            return None
        pair = f"{SSA_ME} - {BASELINE}"
        found = at(self.scores, (column.where, "difference", pair, column.difference))
        return found if isinstance(found, Mapping) else None

    def to_json(self) -> dict[str, Any]:
        measures = {
            column.title: {"value": self.value(column), "difference": self.difference(column)}
            for column in columns(self.photographs)
        }
        return {
            "name": self.variant.name,
            "says": self.variant.says,
            "seconds_a_step": self.seconds,
            "measures": measures,
        }


def report(rows: Sequence[Row], steps: int) -> str:
    """Markdown: the table of variants, and those of the whole method's rankings and of its two ways to salience."""
    shown = [c for c in columns(rows[0].photographs) if any(row.value(c) is not None for row in rows)]
    lines = [
        f"Adapters of {steps} steps. In brackets the difference from the baseline and its 95 % interval, in points.",
        "",
        _line(["variant", *(column.title for column in shown), "s a step"]),
        _line(["---"] * (len(shown) + 2)),
    ]
    for row in rows:
        seconds = "–" if row.seconds is None else f"{row.seconds:.2f}"
        cells = [_cell(row, column) for column in shown]
        lines.append(_line([f"**{row.variant.name}**: {row.variant.says}", *cells, seconds]))
    for row in rows:
        if row.costs is not None:
            lines += ["", *_rankings(row, row.costs["rankings"]), "", *_salience(row.costs["salience"])]
    return "\n".join(lines) + "\n"


def _cell(row: Row, column: Column) -> str:
    value, difference = row.value(column), row.difference(column)
    if value is None:
        return "–"
    if difference is None:
        return column.show(value)
    scale = 100 if column.show is _percent else 1
    digits = 1 if scale == 100 else 2
    gap, (low, high) = difference["value"] * scale, (scale * bound for bound in difference["interval"])
    return f"{column.show(value)} ({gap:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}])"


def _rankings(row: Row, spent: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The binding tasks under each ranking of the whole method, and what a ranking costs."""
    models: Mapping[str, Any] = row.scores["binding"]["models"]
    subsets = list(next(iter(models.values()))["subsets"])
    header = ["ranking", *subsets, "all", "ms a query", "bytes an image"]
    lines = [_line(header), _line(["---"] * len(header))]
    for name, model in models.items():
        hits = [_percent(model["subsets"][subset]["hit@1"]) for subset in subsets]
        cost = (f"{spent[name]['milliseconds']:.1f}", f"{spent[name]['bytes']:,.0f}")
        lines.append(_line([name, *hits, _percent(model["overall"]), *cost]))
    return lines


def _salience(found: Mapping[str, Any]) -> list[str]:
    """The head against full salience, on the phrases of the generated scenes."""
    gap, (low, high) = 100 * found["difference"]["value"], (100 * b for b in found["difference"]["interval"])
    head, full = found["head"], found["full"]
    beside = f"{_percent(head['pointing_game'])} ({gap:+.1f} [{low:+.1f}, {high:+.1f}])"
    return [
        _line([f"salience of {found['phrases']} named subjects", "points at them", "ms a subject"]),
        _line(["---"] * 3),
        _line(["head", beside, f"{head['milliseconds']:.1f}"]),
        _line(["full: expert × relevance", _percent(full["pointing_game"]), f"{full['milliseconds']:.1f}"]),
        _line(["listing a query's subjects, once", "–", f"{found['listing']:.1f}"]),
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
