"""Conditions on what a gallery knows of its images, such as `split=test`, and the SQL that answers them.

    KEY=VALUE  KEY!=VALUE  KEY~PART  KEY>=N  KEY<=N  KEY>N  KEY<N

KEY is `file_name`, `width`, `height`, `caption` (any of them), `subject` (the phrase of any), or a key of the data set's
own, `split` among them; of a list any entry counts. `~` asks for a part of the text, in any case; `!=` also holds where
the key is not there. All conditions must hold. It knows no database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ssa_me.errors import InputError

OPERATORS = ("!=", ">=", "<=", "=", "~", ">", "<")
MOST = 20
MOST_LETTERS = 500
_CONDITION = re.compile(r"\s*([^=~<>!]+?)\s*(!=|>=|<=|=|~|>|<)\s*(.*?)\s*", re.DOTALL)
_PLACES = {
    "file_name": "(SELECT images.file_name AS value, 'text' AS type)",
    "width": "(SELECT images.width AS value, 'integer' AS type)",
    "height": "(SELECT images.height AS value, 'integer' AS type)",
    "caption": "json_each(images.captions)",
    "subject": "(SELECT json_extract(one.value, '$.phrase') AS value, 'text' AS type FROM json_each(images.subjects) AS one)",
}
_TEXT = "(CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(value AS TEXT) END)"


@dataclass(frozen=True)
class Condition:
    """One condition. operator is one of `OPERATORS`; value as it was written."""

    key: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}{self.operator}{self.value}"

    def sql(self) -> tuple[str, list[object]]:
        """SQL over the table `images`, with a function `folded`, and its parameters."""
        place = _PLACES.get(self.key, "json_each(images.extra, ?)")
        values: list[object] = [] if self.key in _PLACES else [f'$."{self.key}"']
        negated = "NOT " if self.operator == "!=" else ""
        if self.operator in ("=", "!="):
            number = _number(self.value)
            holds = f"({_TEXT} = ? OR (type IN ('integer', 'real') AND value = ?))"
            values += [self.value, number]
        elif self.operator == "~":
            holds = f"instr(folded({_TEXT}), ?) > 0"
            values.append(self.value.casefold())
        else:
            holds = f"type IN ('integer', 'real') AND value {self.operator} ?"
            values.append(_number(self.value))
        return f"{negated}EXISTS (SELECT 1 FROM {place} WHERE {holds})", values


@dataclass(frozen=True)
class Filters:
    """Conditions that must all hold; none at all lets everything through."""

    conditions: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def __str__(self) -> str:
        return ", ".join(map(str, self.conditions))

    def sql(self) -> tuple[str, list[object]]:
        """A WHERE clause over the table `images`, with a function `folded`, and its parameters."""
        parts = [condition.sql() for condition in self.conditions]
        return " AND ".join(part for part, _ in parts) or "1", [value for _, own in parts for value in own]

    def to_json(self) -> list[str]:
        return [str(condition) for condition in self.conditions]


def parse_filters(texts: Iterable[str]) -> Filters:
    """Conditions as they are written. Raises InputError where one is none, or a bound is no number."""
    conditions = tuple(_parse(text) for text in texts)
    if len(conditions) > MOST:
        raise InputError(f"There are {len(conditions)} conditions; give at most {MOST}.")
    return Filters(conditions)


def _parse(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None or len(text) > MOST_LETTERS or '"' in match[1] or not match[3]:
        raise InputError(
            f"{text[:60]!r} is no condition. Write KEY=VALUE, KEY!=VALUE, KEY~PART, or KEY>=NUMBER, such as split=test."
        )
    if match[2] in (">=", "<=", ">", "<") and _number(match[3]) is None:
        raise InputError(f"{text!r} compares with {match[3]!r}, which is no number.")
    return Condition(match[1], match[2], match[3])


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


FIELDS = """SELECT key, CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(value AS TEXT) END AS text,
    count(*) AS count FROM images, json_each(images.extra)
    WHERE type IN ('text', 'integer', 'real', 'true', 'false') GROUP BY key, text ORDER BY key, count DESC, text"""
"""Every key of the data set's own that has plain values, each value with how many images have it."""
