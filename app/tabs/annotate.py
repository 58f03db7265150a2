"""The Annotate tab: proposed subjects one after another, judged by keyboard or touch. Its widget does the talking.

The widget calls the functions below and is answered at once, past the queue of Gradio's events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.annotating import Annotating
from app.annotation_wire import image_of
from app.answers import attempt, token
from app.logins import login_of
from app.widgets import widget
from app.workspace import Workspace
from ssa_me.errors import InputError

Json = dict[str, Any]
CLOSED = "Annotating is switched off on this page. Run SSA-ME studio on your own machine: python app.py"


@dataclass(frozen=True)
class AnnotateTab:
    """The tab's one part."""

    board: gr.HTML


def board_value(workspace: Workspace, allowed: bool, sent: Mapping[str, Any]) -> Json:
    """What the board is told to show: {gallery, id} as another tab sent it. Raises InputError where annotating is not
    `allowed`, or there is no such image."""
    if not allowed:
        raise InputError(CLOSED)
    gallery = sent.get("gallery") or workspace.default_gallery()
    image = workspace.gallery(gallery).item(image_of({"image": sent.get("id")}))
    return {"token": token(), "gallery": gallery, "image": image.id}


def create(annotating: Annotating, allowed: bool, examples: Sequence[str]) -> AnnotateTab:
    """Build the tab. `examples` are the queries that an effect is shown for. Where annotating is not `allowed`, each function refuses, whoever calls it."""

    def answer(work: Callable[[Mapping[str, Any]], Json], sent: Any, request: gr.Request) -> Json:
        """What `work` answers, or {"error": the sentence}. Whoever is logged in annotates under that name alone."""

        def allowed_work() -> Json:
            if not allowed:
                raise InputError(CLOSED)
            if not isinstance(sent, Mapping):
                raise InputError("The request did not arrive whole. Reload the page.")
            user = login_of(request)
            return work({**sent, "name": user} if user else sent) | ({"user": user} if user else {})

        value, trouble = attempt(allowed_work)
        return value if value is not None else {"error": trouble, "closed": not allowed}

    def arrive(sent: Any, request: gr.Request) -> Json:
        return answer(annotating.arrive, sent, request)

    def prepare(sent: Any, request: gr.Request) -> Json:
        return answer(annotating.prepare, sent, request)

    def decide(sent: Any, request: gr.Request) -> Json:
        return answer(annotating.decide, sent, request)

    def go(sent: Any, request: gr.Request) -> Json:
        return answer(annotating.go, sent, request)

    def undo(sent: Any, request: gr.Request) -> Json:
        return answer(annotating.undo, sent, request)

    def settings(sent: Any, request: gr.Request) -> Json:
        return answer(annotating.settings, sent, request)

    def snap(sent: Any, request: gr.Request) -> Json:
        return answer(annotating.snap, sent, request)

    def export(sent: Any, request: gr.Request) -> Json:
        return answer(annotating.export, sent, request)

    def effect(sent: Any, request: gr.Request) -> Json:
        return answer(lambda sent: annotating.effect(sent, examples), sent, request)

    called = [arrive, prepare, decide, go, undo, settings, snap, export, effect]
    return AnnotateTab(widget("annotate", {}, styles=["regions"], server_functions=called))
