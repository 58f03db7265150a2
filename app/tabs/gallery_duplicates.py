"""The near-duplicates of the open gallery, in the Gallery tab: looking for them, turning pages, removing copies. While they are
shown, a style sheet hides the images of the gallery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.answers import HIDDEN, attempt
from app.permissions import Allowed
from app.workspace import Workspace
from ssa_me.nearness import NEAR_DUPLICATE


def create(
    workspace: Workspace,
    masthead: gr.HTML,
    shown: gr.HTML,
    timer: gr.Timer,
    allowed: Allowed,
    grid: gr.HTML,
    grid_value: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """The events of `shown`, the near-duplicates, which `grid` opens; `timer` looks how far a search is. What is not `allowed`
    is refused in the event, whoever sends it."""

    def look(head: dict[str, Any], event: gr.EventData) -> tuple[dict[str, Any], gr.Timer]:
        """Begin a search, also one that was stopped."""
        sent, current = _sent(event), (head or {}).get("current")
        threshold = sent.get("threshold", NEAR_DUPLICATE)
        _, trouble = attempt(lambda: workspace.duplicates.begin(current, threshold))
        if trouble:
            failed = {"id": current, "threshold": threshold, "phase": "failed", "message": trouble}
            return failed, gr.Timer(active=False)
        return _view(workspace, current, sent)

    def turn(head: dict[str, Any], event: gr.EventData) -> tuple[dict[str, Any], gr.Timer]:
        return _view(workspace, (head or {}).get("current"), _sent(event))

    def poll(value: dict[str, Any] | None) -> tuple[Any, gr.Timer]:
        if not isinstance(value, dict):
            return gr.skip(), gr.Timer(active=False)
        return _view(workspace, value.get("id"), value)

    def cancel(head: dict[str, Any], event: gr.EventData) -> None:
        current = (head or {}).get("current")
        attempt(lambda: workspace.duplicates.cancel(current, _sent(event).get("threshold")))

    def remove(head: dict[str, Any], event: gr.EventData) -> tuple[dict[str, Any], gr.Timer, dict[str, Any]]:
        sent, current = _sent(event), (head or {}).get("current")

        def work() -> str:
            allowed.check("delete")
            gone = workspace.tending.remove(current, sent.get("ids"))
            return f"{gone:,} image{'' if gone == 1 else 's'} removed from the gallery. Originals stay where they are."

        said, trouble = attempt(work)
        value, timer = _view(workspace, current, sent, said or trouble)
        return value | {"removed": said is not None}, timer, grid_value(head or {})

    def leave() -> tuple[None, gr.Timer]:
        return None, gr.Timer(active=False)

    found = [shown, timer]
    grid.twins(look, masthead, found, **HIDDEN)
    shown.find(look, masthead, found, **HIDDEN)
    shown.turn(turn, masthead, found, **HIDDEN)
    shown.cancel(cancel, masthead, None, queue=False, **HIDDEN)
    shown.remove(remove, masthead, [*found, grid], **HIDDEN)
    shown.leave(leave, None, found, **HIDDEN)
    masthead.switch(leave, None, found, **HIDDEN)
    timer.tick(poll, shown, found, concurrency_limit=None, **HIDDEN)


def _view(
    workspace: Workspace, current: object, sent: dict[str, Any], said: str = ""
) -> tuple[dict[str, Any], gr.Timer]:
    """What is shown of a search: how far it is, its groups, or why there are none."""
    threshold = sent.get("threshold", NEAR_DUPLICATE)
    value, trouble = attempt(lambda: workspace.duplicates.view(current, threshold, sent.get("offset", 0)))
    value = value or {"id": current, "threshold": threshold, "phase": "failed", "message": trouble}
    return value | {"said": said}, gr.Timer(active=value["phase"] == "running")


def _sent(event: gr.EventData) -> dict[str, Any]:
    return event._data if isinstance(event._data, dict) else {}
