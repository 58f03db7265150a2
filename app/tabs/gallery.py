"""The Gallery tab: the images of the open gallery, and making a new one of uploaded files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from app.answers import HIDDEN, attempt
from app.permalink import parse_against
from app.permissions import Allowed
from app.tabs import gallery_duplicates
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


def grid_value(workspace: Workspace, head: dict[str, Any] | None, offset: int = 0) -> dict[str, Any]:
    """A page of the images of the gallery that the page's head shows, and how they are searched; or why there is none."""
    gallery, against = (head or {}).get("current"), (head or {}).get("against")

    def work() -> dict[str, Any]:
        if not gallery:
            return {"empty": EMPTY}
        opened = workspace.gallery(gallery)
        shown = workspace.page(gallery, offset, against=parse_against(against))
        return shown | {"cards": workspace.tending.cards(opened), "read_only": opened.read_only}

    value, trouble = attempt(work)
    return value or {"empty": {"title": "This gallery cannot be shown", "text": trouble}}


def progress_value(workspace: Workspace) -> dict[str, Any] | None:
    job = workspace.making.job
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


def create(
    workspace: Workspace, masthead: gr.HTML, clock: gr.Timer, public: bool, allowed: Allowed
) -> GalleryTab:
    """Build the tab and its events. On a `public` page nobody can make a gallery; where deleting is not `allowed`, nobody
    removes an image. clock: looks at the head again."""
    with gr.Row(elem_classes="studio-gallery"):
        with gr.Column(scale=3, min_width=320):
            grid = widget("grid", removes=allowed.delete, makes=not public)
            duplicates = widget("duplicates", removes=allowed.delete)
        with gr.Column(scale=1, min_width=300):
            form = _form(public)
            progress = widget("progress")
    tab = GalleryTab(grid, progress, gr.Timer(0.5, active=False))
    _making(workspace, masthead, tab, form, public)
    _resuming(workspace, masthead, clock, tab, public)
    _showing(workspace, masthead, tab)
    _tending(workspace, masthead, tab, allowed)
    looking = gr.Timer(0.5, active=False)
    page = partial(grid_value, workspace)
    gallery_duplicates.create(workspace, masthead, duplicates, looking, allowed, grid, page)
    return tab


@dataclass(frozen=True)
class _Form:
    """What a new gallery is made with."""

    files: gr.File
    name: gr.Textbox
    make: gr.Button
    add: gr.Button


def _form(public: bool) -> _Form:
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
    add = gr.Button("Add to the open gallery", elem_id="new-add", visible=not public)
    return _Form(files, name, make, add)


def _begins(work: Callable[[], object], public: bool) -> bool:
    """Whether `work` on a gallery began, which it never does on a `public` page; the visitor is told why not."""

    def allowed() -> bool:
        if public:
            raise InputError(CLOSED)
        work()
        return True

    begun, trouble = attempt(allowed)
    if not begun:
        gr.Warning(trouble, duration=5)
    return bool(begun)


def _making(workspace: Workspace, masthead: gr.HTML, tab: GalleryTab, form: _Form, public: bool) -> None:
    """The events that begin and end work on a gallery."""

    def begin(work: Callable[[], object]) -> bool:
        return _begins(work, public)

    def start(paths: list[str] | None, title: str) -> tuple[Any, Any, Any, Any]:
        if not begin(lambda: workspace.making.begin(title or "", [Path(path) for path in paths or []])):
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        return progress_value(workspace), gr.Timer(active=True), None, ""

    def add(paths: list[str] | None, head: dict[str, Any]) -> tuple[Any, Any, Any]:
        files, current = [Path(path) for path in paths or []], (head or {}).get("current")
        if not begin(lambda: workspace.making.add(current, files)):
            return gr.skip(), gr.skip(), gr.skip()
        return progress_value(workspace), gr.Timer(active=True), None

    def resume() -> tuple[Any, Any]:
        if not begin(workspace.making.resume):
            return gr.skip(), gr.skip()
        return progress_value(workspace), gr.Timer(active=True)

    def refresh(head: dict[str, Any]) -> tuple[Any, Any]:
        if not begin(
            lambda: workspace.making.refresh(
                (head or {}).get("current"), parse_against((head or {}).get("against"))
            )
        ):
            return gr.skip(), gr.skip()
        return progress_value(workspace), gr.Timer(active=True)

    def cancel() -> None:
        if not public and workspace.making.job is not None:
            workspace.making.job.cancel()

    begun = [tab.progress, tab.timer]
    entered = [form.files, form.name]
    gr.on([form.make.click, form.name.submit], start, entered, [*begun, *entered], **HIDDEN)
    form.add.click(add, [form.files, masthead], [*begun, form.files], **HIDDEN)
    tab.progress.resume(resume, None, begun, **HIDDEN)
    tab.progress.cancel(cancel, None, None, queue=False, **HIDDEN)
    tab.grid.refresh(refresh, masthead, begun, **HIDDEN)


def _resuming(
    workspace: Workspace, masthead: gr.HTML, clock: gr.Timer, tab: GalleryTab, public: bool
) -> None:
    """The events of a gallery whose making was interrupted."""

    def go_on(head: dict[str, Any]) -> tuple[Any, Any, Any]:
        current = (head or {}).get("current")
        if not _begins(lambda: workspace.making.resume(current), public):
            return gr.skip(), gr.skip(), gr.skip()
        shown = grid_value(workspace, head) | {"unfinished": None}
        return progress_value(workspace), gr.Timer(active=True), shown

    def leave_as_it_is(head: dict[str, Any]) -> tuple[Any, Any]:
        """Give up what was interrupted; the head is looked at again, since a gallery without images is gone then."""
        current = (head or {}).get("current")
        begun = _begins(lambda: workspace.making.give_up(current), public)
        return grid_value(workspace, head), gr.Timer(active=True) if begun else gr.skip()

    tab.grid.resume(go_on, masthead, [tab.progress, tab.timer, tab.grid], **HIDDEN)
    tab.grid.leave(leave_as_it_is, masthead, [tab.grid, clock], **HIDDEN)


def _showing(workspace: Workspace, masthead: gr.HTML, tab: GalleryTab) -> None:
    """The events that show the gallery's images, and how far the work on it has come."""

    def poll(head: dict[str, Any]) -> tuple[Any, gr.Timer, Any]:
        job = workspace.making.job
        running = job is not None and job.running
        shown = gr.skip() if running else grid_value(workspace, head)
        return progress_value(workspace), gr.Timer(active=running), shown

    def turn(head: dict[str, Any], event: gr.EventData) -> dict[str, Any]:
        offset = event._data.get("offset") if isinstance(event._data, dict) else None
        return grid_value(workspace, head, offset if type(offset) is int else 0)

    shown = [tab.progress, tab.timer, tab.grid]
    tab.timer.tick(poll, masthead, shown, concurrency_limit=None, **HIDDEN)
    tab.grid.turn(turn, masthead, tab.grid, **HIDDEN)


def _tending(workspace: Workspace, masthead: gr.HTML, tab: GalleryTab, allowed: Allowed) -> None:
    """The event that removes images."""

    def sent(event: gr.EventData) -> tuple[Any, int]:
        data = event._data if isinstance(event._data, dict) else {}
        offset = data.get("offset")
        return data.get("ids"), offset if type(offset) is int else 0

    def remove(head: dict[str, Any], event: gr.EventData) -> dict[str, Any]:
        ids, offset = sent(event)
        current = (head or {}).get("current")

        def work() -> str:
            allowed.check("delete")
            gone = workspace.tending.remove(current, ids)
            return f"{gone:,} image{'' if gone == 1 else 's'} removed from the gallery. Originals stay where they are."

        said, trouble = attempt(work)
        return grid_value(workspace, head, offset) | {"said": said or trouble}

    tab.grid.remove(remove, masthead, tab.grid, **HIDDEN)
