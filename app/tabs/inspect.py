"""The Inspect tab: one image and one query, looked at closely. Attention, salience, subjects, regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.answers import HIDDEN, attempt, token
from app.inspecting import NO_IMAGE, read_entry
from app.widgets import widget
from app.workspace import Workspace

PARTS = ("entry", "maps", "alignment", "redraw", "attribution")
EMPTY = {
    "title": "Look closely at one image",
    "text": "Type a query and choose an image of the gallery: where does each model look, what is salient, which region "
    "answers to which word? Or search first, open a result, and press Inspect.",
}


@dataclass(frozen=True)
class InspectTab:
    """The tab's parts. Set `entry` to `{gallery, text, image, id, settings}` and chain `inspect_event` to fill `shown`."""

    entry: gr.HTML
    maps: gr.HTML
    alignment: gr.HTML
    redraw: gr.HTML
    attribution: gr.HTML

    @property
    def shown(self) -> list[gr.HTML]:
        return [self.entry, self.maps, self.alignment, self.redraw, self.attribution]


def create(workspace: Workspace, masthead: gr.HTML, annotates: bool = True) -> InspectTab:
    """Build the tab and its events. `masthead` says which gallery is open; `annotates`: whether its image can be annotated."""

    def images(sent: dict[str, Any]) -> dict[str, Any]:
        """The images to choose from, for what is entered."""

        def work() -> dict[str, Any]:
            state, _ = read_entry(sent.get("entry"), sent.get("gallery"))
            return workspace.inspector.pick(state, sent.get("offset"))

        answer, trouble = attempt(work)
        return answer or {"error": trouble}

    entry = widget("asked", {}, server_functions=[images], annotates=annotates)
    maps = widget("maps", {"token": "", "empty": EMPTY})
    with gr.Row(elem_classes="studio-pair"):
        with gr.Column(min_width=480):
            alignment = widget("alignment")
        with gr.Column(min_width=480):
            redraw = widget("redraw")
    attribution = widget("attribution", server_functions=_attributing(workspace))
    tab = InspectTab(entry, maps, alignment, redraw, attribution)
    find = inspect_event(workspace)

    def adjust(entered: dict[str, Any], head: dict[str, Any], event: gr.EventData) -> tuple[Any, ...]:
        changed = event._data if isinstance(event._data, dict) else {}
        settings = (entered or {}).get("settings")
        return find((entered or {}) | {"settings": (settings or {}) | changed}, head)

    options: dict[str, Any] = {"trigger_mode": "always_last", "concurrency_limit": 2, **HIDDEN}
    entry.ask(find, [entry, masthead], tab.shown, **options)
    for part in (maps, alignment, redraw, attribution):
        part.adjust(adjust, [entry, masthead], tab.shown, **options)
    return tab


def _attributing(workspace: Workspace) -> list[Callable[[dict[str, Any]], dict[str, Any]]]:
    """What the attribution panel calls: begin {entry, kind}, look {key}, stop {key}; each says how far the work is."""
    work = workspace.inspector.attributions

    def begin(sent: dict[str, Any]) -> dict[str, Any]:
        answer, trouble = attempt(lambda: work.begin(*read_entry(sent.get("entry")), sent.get("kind")))
        return answer or {"phase": "failed", "message": trouble}

    def look(sent: dict[str, Any]) -> dict[str, Any]:
        return work.look(sent.get("key"))

    def stop(sent: dict[str, Any]) -> dict[str, Any]:
        return work.stop(sent.get("key"))

    return [begin, look, stop]


def inspect_event(workspace: Workspace) -> Any:
    """The event that answers what the tab's entry holds, in the gallery that it names or else the one that is open."""

    def answer(entered: object, masthead: dict[str, Any] | None) -> tuple[Any, ...]:
        def work() -> dict[str, dict[str, Any]]:
            head = masthead or {}
            kept = dict(entered) if isinstance(entered, Mapping) else {}
            state, settings = read_entry(kept | {"against": head.get("against")}, head.get("current"))
            return workspace.inspector.look(state, settings)

        value, trouble = attempt(work)
        if value is not None:
            fresh = {"token": token()}
            return tuple(value[name] | fresh for name in PARTS)
        kept = dict(entered) if isinstance(entered, Mapping) else {}
        said = {"empty": EMPTY} if trouble == NO_IMAGE else {"error": trouble}
        return kept | {"token": token()}, said | {"token": token()}, None, None, None

    return answer
