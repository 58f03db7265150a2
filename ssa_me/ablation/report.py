"""The tables of an ablation out of the scores of its variants. It trains and measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssa_me.ablation.scores import Scores, at
from ssa_me.ablation.variants import FULL, Variant
from ssa_me.checkpoint import BASELINE, SSA_ME

RANKINGS = tuple(
    f"{version}{ranking}" for ranking in ("", "+subjects", "+rerank") for version in (BASELINE, SSA_ME)
)
Format = Callable[[float], str]


@dataclass(frozen=True)
class Column:
    """A measure: its title, the set it is of, its path in a model's object and, where that differs, in the difference."""

    title: str
    where: str
    path: tuple[str, ...]
    difference: str
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
        return Column(title, where, ("localisation", "salience", "pointing_game"), "", _percent)

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
    """A variant with its scores. seconds: of a training step, None where nothing was trained."""

    variant: Variant
    scores: Scores
    photographs: tuple[str, ...]
    seconds: float | None

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
        found = at(
            self.scores, (column.where, "difference", f"{SSA_ME} - {BASELINE}", *_nested(column.difference))
        )
        return found if self.model == SSA_ME and isinstance(found, Mapping) else None

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


def _nested(path: str) -> tuple[str, ...]:
    return (path,) if path else ("",)


def report(rows: Sequence[Row], steps: int) -> str:
    """Markdown: the table of variants, and that of the whole method's rankings."""
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
    full = [row for row in rows if row.variant.name == FULL]
    return "\n".join([*lines, *(["", *_rankings(full[0])] if full else [])]) + "\n"


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


def _rankings(row: Row) -> list[str]:
    """The binding tasks under each ranking of the whole method."""
    models = at(row.scores, ("binding", "models")) or {}
    subsets = list(next(iter(models.values()))["subsets"]) if models else []
    lines = [_line(["ranking", *subsets, "all"]), _line(["---"] * (len(subsets) + 2))]
    for name, model in models.items():
        hits = [_percent(model["subsets"][subset]["hit@1"]) for subset in subsets]
        lines.append(_line([name, *hits, _percent(model["overall"])]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
