"""What the Inspect tab is set to beside the query and the image: in a link, and as the browser sends it. Knows no model.

    l=LAYER & h=HEAD & p=PHRASES & r=REGIONS & a=METHOD & at=TARGET & ab=BASELINE & an=STEPS & as=SEED

`p` are phrases of one's own, a line each; `r` drawn regions, `x,y,width,height;…` in pixels of the upright image. Layers
and heads count from 1. What is not set is left out. Which methods there are, the attribution itself checks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.permalink import parse_number
from ssa_me.errors import InputError
from ssa_me.samples import BBox

MOST_PHRASES = 12
MOST_REGIONS = 6
LONGEST_PHRASE = 200
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_NAMES = {"attribution": "a", "target": "at", "baseline": "ab"}
_NUMBERS = {"layer": "l", "head": "h", "steps": "an", "seed": "as"}


@dataclass(frozen=True)
class InspectSettings:
    """None and "" stand for what the page shows by itself. layer, head: whose attention is shown, counted from 1.
    phrases: one's own. regions: drawn ones, None where the found ones are left as they are."""

    layer: int | None = None
    head: int | None = None
    phrases: tuple[str, ...] = ()
    regions: tuple[BBox, ...] | None = None
    attribution: str = ""
    target: str = ""
    baseline: str = ""
    steps: int | None = None
    seed: int | None = None

    def parameters(self) -> dict[str, str]:
        """As parts of a query string."""
        found = {short: str(value) for short, value in self._numbers().items() if value is not None}
        found |= {short: value for short, value in self._names().items() if value}
        if self.phrases:
            found["p"] = "\n".join(self.phrases)
        if self.regions is not None:
            found["r"] = ";".join(",".join(f"{number:g}" for number in region) for region in self.regions)
        return found

    def to_json(self) -> dict[str, Any]:
        """As the browser keeps them."""
        regions = None if self.regions is None else [list(region) for region in self.regions]
        return {
            "layer": self.layer,
            "head": self.head,
            "phrases": list(self.phrases),
            "regions": regions,
            "attribution": self.attribution,
            "target": self.target,
            "baseline": self.baseline,
            "steps": self.steps,
            "seed": self.seed,
        }

    def _numbers(self) -> dict[str, int | None]:
        return {"l": self.layer, "h": self.head, "an": self.steps, "as": self.seed}

    def _names(self) -> dict[str, str]:
        return {"a": self.attribution, "at": self.target, "ab": self.baseline}


def parse(parameters: Mapping[str, str]) -> InspectSettings:
    """The settings in a link. Raises InputError where one makes no sense."""
    regions = parameters.get("r")
    drawn = None if regions is None else [part.split(",") for part in regions.split(";") if part]
    values: dict[str, Any] = {name: parameters.get(short, "") for name, short in _NAMES.items()}
    values |= {name: parse_number(parameters.get(short, ""), name) for name, short in _NUMBERS.items()}
    return read(values | {"phrases": parameters.get("p", "").split("\n"), "regions": drawn})


def read(values: object) -> InspectSettings:
    """Settings that a browser sent: any of them can be forged. Raises InputError where one makes no sense."""
    if not isinstance(values, Mapping):
        return InspectSettings()
    return InspectSettings(
        layer=_from_one(values.get("layer"), "layer"),
        head=_from_one(values.get("head"), "head"),
        phrases=read_phrases(values.get("phrases")),
        regions=None if values.get("regions") is None else read_regions(values["regions"]),
        attribution=_name(values.get("attribution"), "attribution method"),
        target=_name(values.get("target"), "target"),
        baseline=_name(values.get("baseline"), "baseline"),
        steps=_whole(values.get("steps"), "number of steps"),
        seed=_whole(values.get("seed"), "seed"),
    )


def read_phrases(values: object) -> tuple[str, ...]:
    """Phrases as sent, each once, without blank ones. Raises InputError for too many, or one that is too long."""
    given = values if isinstance(values, list | tuple) else []
    phrases = tuple(dict.fromkeys(" ".join(str(value).split()) for value in given if str(value).strip()))
    if len(phrases) > MOST_PHRASES:
        raise InputError(f"There are {len(phrases)} phrases; {MOST_PHRASES} are shown at most. Remove some.")
    if any(len(phrase) > LONGEST_PHRASE for phrase in phrases):
        raise InputError(f"A phrase is longer than {LONGEST_PHRASE} characters. Shorten it.")
    return phrases


def read_regions(values: object) -> tuple[BBox, ...]:
    """Drawn boxes as sent. Raises InputError where one is no box with an area, or there are too many."""
    given = values if isinstance(values, list | tuple) else [None]
    if len(given) > MOST_REGIONS:
        raise InputError(
            f"There are {len(given)} regions; an image keeps {MOST_REGIONS} at most. Remove some."
        )
    return tuple(_box(value) for value in given)


def _box(value: object) -> BBox:
    try:
        x, y, width, height = (round(float(number), 1) for number in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise InputError("A region is not a box. Draw it again.") from None
    if not all(math.isfinite(number) and abs(number) < 1e6 for number in (x, y, width, height)):
        raise InputError("A region lies outside of the image. Draw it on the image.")
    if width <= 0 or height <= 0:
        raise InputError("A region has no area. Draw it again.")
    return x, y, width, height


def _name(value: object, what: str) -> str:
    if not value:
        return ""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InputError(f"The {what} is {str(value)[:20]!r}. Choose one from the list.")
    return value


def _whole(value: object, what: str) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 2**31:
        raise InputError(f"The {what} is {str(value)[:20]!r}. Give a whole number of 0 or more.")
    return value


def _from_one(value: object, what: str) -> int | None:
    number = _whole(value, what)
    if number == 0:
        raise InputError(f"There is no {what} 0: they count from 1.")
    return number
