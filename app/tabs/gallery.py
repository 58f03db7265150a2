"""The Gallery tab: the images of the open gallery, and making a new one of uploaded files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from app.answers import attempt
from app.widgets import widget
from app.workspace import Workspace
from ssa_me.errors import InputError

EMPTY = {
    "title": "No gallery yet",
    "text": "Make one: choose a zip or some images, give it a name, and press Create.",
}
CLOSED = "New galleries cannot be made on a public page. Run SSA-ME studio on your own machine: python app.py"


@dataclass(frozen=True)
class GalleryTab:
    """The tab's parts that the page sets when a gallery is opened or the page is loaded."""

    grid: gr.HTML
    progress: gr.HTML
    timer: gr.Timer


def grid_value(workspace: Workspace, gallery: object, offset: int = 0) -> dict[str, Any]:
    value, trouble = attempt(lambda: workspace.page(gallery, offset) if gallery else {"empty": EMPTY})
    return value or {"empty": {"title": "This gallery cannot be shown", "text": trouble}}


def progress_value(workspace: Workspace) -> dict[str, Any] | None:
    job = workspace.ingest
    if job is None:
        return None
    state = job.state
    return {
        "name": job.name,
        "phase": state.phase,
        "message": state.message,
        "fraction": state.fraction,
        "result": state.result,
    }


def create(workspace: Workspace, masthead: gr.HTML, public: bool) -> GalleryTab:
    """Build the tab and its events. On a `public` page nobody can make a gallery."""
    with gr.Row(elem_classes="studio-gallery"):
        with gr.Column(scale=3, min_width=320):
            grid = widget("grid")
        with gr.Column(scale=1, min_width=300):
            gr.HTML(
                '<h2 id="new-gallery">New gallery</h2>' + (f"<p>{CLOSED}</p>" if public else ""),
                elem_classes="studio-side",
            )
            files = gr.File(
                label="A zip, or images",
                file_count="multiple",
                file_types=["image", ".zip"],
                elem_id="new-files",
                height=150,
                visible=not public,
            )
            name = gr.Textbox(
                label="Name",
                placeholder="My photographs",
                max_length=60,
                elem_id="new-name",
                visible=not public,
            )
            make = gr.Button("Create and index", variant="primary", elem_id="new-create", visible=not public)
            progress = widget("progress")
    timer = gr.Timer(0.5, active=False)
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def start(paths: list[str] | None, title: str) -> tuple[Any, Any, Any, Any]:
        def work() -> bool:
            if public:
                raise InputError(CLOSED)
            workspace.start_ingest(title or "", [Path(path) for path in paths or []])
            return True

        started, trouble = attempt(work)
        if not started:
            gr.Warning(trouble, duration=5)
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        return progress_value(workspace), gr.Timer(active=True), None, ""

    def poll(head: dict[str, Any]) -> tuple[Any, gr.Timer, Any]:
        job = workspace.ingest
        running = job is not None and job.running
        shown = gr.skip() if running else grid_value(workspace, (head or {}).get("current"))
        return progress_value(workspace), gr.Timer(active=running), shown

    def cancel() -> None:
        if not public and workspace.ingest is not None:
            workspace.ingest.cancel()

    def turn(head: dict[str, Any], event: gr.EventData) -> dict[str, Any]:
        offset = event._data.get("offset") if isinstance(event._data, dict) else None
        return grid_value(workspace, (head or {}).get("current"), offset if type(offset) is int else 0)

    def refresh(head: dict[str, Any]) -> tuple[Any, Any]:
        def work() -> bool:
            if public:
                raise InputError(CLOSED)
            workspace.start_refresh((head or {}).get("current"))
            return True

        started, trouble = attempt(work)
        if not started:
            gr.Warning(trouble, duration=5)
            return gr.skip(), gr.skip()
        return progress_value(workspace), gr.Timer(active=True)

    gr.on([make.click, name.submit], start, [files, name], [progress, timer, files, name], **hidden)
    timer.tick(poll, masthead, [progress, timer, grid], concurrency_limit=None, **hidden)
    progress.cancel(cancel, None, None, queue=False, **hidden)
    grid.refresh(refresh, masthead, [progress, timer], **hidden)
    grid.turn(turn, masthead, grid, **hidden)
    return GalleryTab(grid, progress, timer)
