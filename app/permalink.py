"""The state of a search as the query string of the page's address, and back. Knows no page and no model.

    ?q=TEXT & i=IMAGE & w=WEIGHT & k=COUNT & m=METHOD & s=SALIENCE & g=GALLERY & hit=ID

`i` is the content hash of an uploaded image; `w` is left out where there is no image, `m` for one vector an image, `s`
for the head's salience, `hit` where none is opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from ssa_me.errors import InputError

DEFAULT_K = 10
DEFAULT_WEIGHT = 0.5
METHODS = ("vector", "subjects", "rerank")
"""How both lists are ranked: one vector an image, with its subject vectors, or the best read again with the query."""

SALIENCES = ("head", "full")
"""What conditions the salience of an opened image and of a second ranking: the light head, or the whole pipeline."""

_IMAGE = re.compile(r"[0-9a-f]{64}")
_GALLERY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class SearchState:
    """What a search consists of. `image` is a content hash, `gallery` an id, `hit` the id of the opened image."""

    text: str = ""
    image: str | None = None
    weight: float = DEFAULT_WEIGHT
    k: int = DEFAULT_K
    method: str = METHODS[0]
    salience: str = SALIENCES[0]
    gallery: str | None = None
    hit: int | None = None

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


def parse(parameters: Mapping[str, str]) -> SearchState:
    """The search that a query string describes. Raises InputError where a parameter makes no sense."""
    hit = parameters.get("hit", "")
    if hit and not (hit.isascii() and hit.isdigit() and len(hit) < 16):
        raise InputError(f"The link's opened image is {hit[:20]!r}. It should be a number.")
    image, gallery = parameters.get("i"), parameters.get("g")
    return SearchState(
        text=parameters.get("q", ""),
        image=check_image_hash(image) if image else None,
        weight=parse_weight(parameters.get("w") or DEFAULT_WEIGHT),
        k=parse_count(parameters.get("k") or DEFAULT_K),
        method=parse_method(parameters.get("m") or METHODS[0]),
        salience=parse_salience(parameters.get("s") or SALIENCES[0]),
        gallery=check_gallery_id(gallery) if gallery else None,
        hit=int(hit) if hit else None,
    )


def build(state: SearchState) -> str:
    """The query string of `state`, with its question mark; "?" alone where there is nothing to say."""
    parameters: dict[str, str | int] = {}
    if state.text.strip():
        parameters["q"] = state.text
    if state.image:
        parameters["i"] = state.image
        parameters["w"] = f"{state.weight:g}"
    parameters["k"] = state.k
    if state.method != METHODS[0]:
        parameters["m"] = state.method
    if state.salience != SALIENCES[0]:
        parameters["s"] = state.salience
    if state.gallery:
        parameters["g"] = state.gallery
    if state.hit is not None:
        parameters["hit"] = state.hit
    return "?" + urlencode(parameters)
