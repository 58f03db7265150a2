"""The state of the page as the query string of its address, and back. Knows no page and no model.

    ?tab=TAB & q=TEXT & i=IMAGE & w=WEIGHT & k=COUNT & m=METHOD & s=SALIENCE & g=GALLERY & vs=VERSION & v=MODELS & hit=ID & …

`i` is the content hash of an uploaded image; `w` is left out where there is no image, `m` for one vector an image, `s`
for the head's salience, `hit` where none is opened, `tab` for the search. `v` are the fingerprints of the versions that
gave what the link shows; `vs` is the version of the model that stands in the baseline's place. Which lists are compared and what they leave out: see `refining`. What a tab keeps beside these
it reads and writes itself: see `InspectSettings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from app import refining
from app.refining import METHODS, Refining
from ssa_me.errors import InputError

DEFAULT_K = 10
DEFAULT_WEIGHT = 0.5
SALIENCES = ("head", "full")
"""What conditions the salience of an opened image and of a second ranking: the light head, or the whole pipeline."""

TABS = ("search", "inspect", "failures", "annotate", "train", "gallery")
_MODELS = re.compile(r"[0-9a-f]{8,64}(-[0-9a-f]{8,64})*")
_IMAGE = re.compile(r"[0-9a-f]{64}")
_GALLERY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_VERSION = re.compile(r"base|[0-9a-f]{12}")


@dataclass(frozen=True)
class SearchState:
    """What a search consists of. `image` is a content hash, `gallery` an id, `hit` the id of the opened image, `models`
    the fingerprints that a link names, `against` the version in the baseline's place, `tab` where it is shown, `refining`
    which lists are compared and what is left out."""

    text: str = ""
    image: str | None = None
    weight: float = DEFAULT_WEIGHT
    k: int = DEFAULT_K
    method: str = METHODS[0]
    salience: str = SALIENCES[0]
    gallery: str | None = None
    against: str | None = None
    hit: int | None = None
    tab: str = TABS[0]
    models: tuple[str, ...] = ()
    refining: Refining = field(default_factory=Refining)

    @property
    def is_empty(self) -> bool:
        return not self.text.strip() and self.image is None


def check_gallery_id(value: object) -> str:
    """`value` as the id of a gallery; InputError where it cannot be one (it also becomes the name of a folder)."""
    if not isinstance(value, str) or not _GALLERY.fullmatch(value):
        raise InputError("That is not the name of a gallery. Choose one from the list.")
    return value


def check_image_hash(value: object) -> str:
    """`value` as the content hash of an upload; InputError where it cannot be one."""
    if not isinstance(value, str) or not _IMAGE.fullmatch(value):
        raise InputError("That is not an uploaded image. Upload the image again.")
    return value


def parse_against(value: object) -> str | None:
    """`value` as the id of the version in the baseline's place, None where there is none; InputError otherwise."""
    if not value:
        return None
    if not isinstance(value, str) or not _VERSION.fullmatch(value):
        raise InputError("That is not a version of the model. Choose one from the list.")
    return value


def parse_count(value: object) -> int:
    """`value` as the number of results; InputError unless it is a whole number of 1 or more."""
    try:
        number = float(value)  # type: ignore[arg-type]
        if number != int(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"The number of results is {str(value)[:20]!r}. Give a whole number of 1 or more."
        ) from None
    if number < 1:
        raise InputError(f"The number of results is {number:g}. Give a whole number of 1 or more.")
    return int(number)


def parse_weight(value: object) -> float:
    """`value` as the weight of the image, in [0, 1]; InputError otherwise."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= 1:
        raise InputError(
            f"The weight of the image is {str(value)[:20]!r}. Give a number from 0 (text) to 1 (image)."
        )
    return number


def parse_method(value: object) -> str:
    """`value` as one of `METHODS`; InputError otherwise."""
    if value not in METHODS:
        raise InputError(f"The ranking is {str(value)[:20]!r}. Choose one of {', '.join(METHODS)}.")
    return str(value)


def parse_salience(value: object) -> str:
    """`value` as one of `SALIENCES`; InputError otherwise."""
    if value not in SALIENCES:
        raise InputError(f"The salience is {str(value)[:20]!r}. Choose one of {', '.join(SALIENCES)}.")
    return str(value)


def parse_tab(value: object) -> str:
    """`value` as one of `TABS`; InputError otherwise."""
    if value not in TABS:
        raise InputError(f"The link's tab is {str(value)[:20]!r}. It should be one of {', '.join(TABS)}.")
    return str(value)


def parse_models(value: str) -> tuple[str, ...]:
    """The fingerprints in `value`, joined by hyphens; InputError where they are none."""
    if value and not _MODELS.fullmatch(value):
        raise InputError(f"The link's models are {value[:40]!r}. They should be fingerprints.")
    return tuple(value.split("-")) if value else ()


def read_models(values: object) -> tuple[str, ...]:
    """Fingerprints as a browser sent them; InputError where they are none."""
    return parse_models("-".join(str(value) for value in values) if isinstance(values, list) else "")


def parse_number(value: str, what: str) -> int | None:
    """`value` as a whole number of 0 or more, None where it is empty; InputError, naming `what`, otherwise."""
    if value and not (value.isascii() and value.isdigit() and len(value) < 16):
        raise InputError(f"The link's {what} is {value[:20]!r}. It should be a number.")
    return int(value) if value else None


def parse(parameters: Mapping[str, str]) -> SearchState:
    """The search that a query string describes. Raises InputError where a parameter makes no sense."""
    image, gallery = parameters.get("i"), parameters.get("g")
    method, refined = refining.settled(
        parse_method(parameters.get("m") or METHODS[0]), refining.parse(parameters)
    )
    return SearchState(
        text=parameters.get("q", ""),
        image=check_image_hash(image) if image else None,
        weight=parse_weight(parameters.get("w") or DEFAULT_WEIGHT),
        k=parse_count(parameters.get("k") or DEFAULT_K),
        method=method,
        salience=parse_salience(parameters.get("s") or SALIENCES[0]),
        gallery=check_gallery_id(gallery) if gallery else None,
        against=parse_against(parameters.get("vs")),
        hit=parse_number(parameters.get("hit", ""), "opened image"),
        tab=parse_tab(parameters.get("tab") or TABS[0]),
        models=parse_models(parameters.get("v", "")),
        refining=refined,
    )


def build(state: SearchState, settings: Mapping[str, str] | None = None) -> str:
    """The query string of `state` and a tab's own `settings`, with its question mark."""
    parameters: dict[str, str | int] = {}
    if state.tab != TABS[0]:
        parameters["tab"] = state.tab
    if state.text.strip():
        parameters["q"] = state.text
    if state.image:
        parameters["i"] = state.image
        parameters["w"] = f"{state.weight:g}"
    parameters["k"] = state.k
    if state.method != METHODS[0] and not state.refining.rankings:
        parameters["m"] = state.method
    if state.salience != SALIENCES[0]:
        parameters["s"] = state.salience
    parameters |= state.refining.parameters()
    if state.gallery:
        parameters["g"] = state.gallery
    if state.against:
        parameters["vs"] = state.against
    if state.models:
        parameters["v"] = "-".join(state.models)
    if state.hit is not None:
        parameters["hit"] = state.hit
    parameters |= settings or {}
    return "?" + urlencode(parameters)
