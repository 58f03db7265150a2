"""How events answer: bad input as a sentence, a bug as one calm sentence and a log entry. Knows no model."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from app import permalink, refining
from app.jobs import CALM
from app.permalink import SearchState
from ssa_me.errors import InputError

log = logging.getLogger(__name__)
Result = TypeVar("Result")
HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""How the page's own events are wired: no endpoint for other programs, no spinner of Gradio's."""


def attempt(work: Callable[[], Result]) -> tuple[Result | None, str]:
    """What `work` returns and "", or None and the sentence to show. Never raises."""
    try:
        return work(), ""
    except InputError as error:
        return None, str(error)
    except Exception:
        log.exception("An event failed")
        return None, CALM


def token() -> str:
    """A fresh name for an answer, by which a widget knows that it is a new one."""
    return uuid.uuid4().hex


def notice(text: str = "", kind: str = "warning") -> dict[str, str]:
    """A value of the notice widget."""
    return {"token": token(), "kind": kind, "text": text}


def read_asked(values: Mapping[str, Any], head: Mapping[str, Any] | None) -> SearchState:
    """The search that a browser sent, of the gallery and against the version that its page's head shows. Raises InputError as
    `read_state` does."""
    shown = head or {}
    return read_state({**values, "against": shown.get("against")}, shown.get("current"))


def read_state(values: Mapping[str, Any], gallery: object) -> SearchState:
    """The search that a browser sent. Raises InputError where a value makes no sense: any of them can be forged."""
    text = values.get("text") or ""
    image = values.get("image")
    if isinstance(image, Mapping):
        image = image.get("hash")
    if not isinstance(text, str):
        raise InputError("The query is not a text.")
    method, refined = refining.settled(
        permalink.parse_method(values.get("method") or refining.METHODS[0]),
        refining.read(values.get("refining")),
    )
    return SearchState(
        text=text,
        image=permalink.check_image_hash(image) if image else None,
        weight=permalink.parse_weight(values.get("weight", permalink.DEFAULT_WEIGHT)),
        k=permalink.parse_count(values.get("k", permalink.DEFAULT_K)),
        method=method,
        salience=permalink.parse_salience(values.get("salience", permalink.SALIENCES[0])),
        gallery=permalink.check_gallery_id(gallery) if gallery else None,
        against=permalink.parse_against(values.get("against")),
        models=permalink.read_models(values.get("models")),
        refining=refined,
    )
