"""Builds the page: head, tabs, permalink, endpoints. Wiring only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from app import answers, api, inspect_settings, permalink
from app.answers import HIDDEN
from app.exports import export_routes
from app.failures_routes import failure_routes
from app.inspecting import entry_of
from app.logins import behind_login
from app.permalink import SearchState
from app.permissions import Allowed
from app.reports import report_routes
from app.routes import image_routes
from app.tabs import annotate as annotate_tab
from app.tabs import failures as failures_tab
from app.tabs import gallery as gallery_tab
from app.tabs import inspect as inspect_tab
from app.tabs import search as search_tab
from app.tabs import train as train_tab
from app.theme import STYLE, THEME
from app.views import model_view
from app.widgets import SHARED_SCRIPTS, widget
from app.workspace import Workspace

SHOWN = ("inspect", "failures", "annotate", "train", "gallery")
"""The tabs beside the first that a link can open."""


@dataclass(frozen=True)
class _Parts:
    """What the page's own events read and set. find: the event that answers what the query bar holds."""

    masthead: gr.HTML
    tabs: gr.Tabs
    search: search_tab.SearchTab
    inspect: inspect_tab.InspectTab
    failures: failures_tab.FailuresTab
    annotate: annotate_tab.AnnotateTab
    train: train_tab.TrainTab
    gallery: gallery_tab.GalleryTab
    clock: gr.Timer
    find: Any

    @property
    def asked(self) -> list[gr.HTML]:
        return [self.search.query, self.masthead]

    @property
    def found(self) -> list[gr.HTML]:
        return [self.search.ranking, self.search.notice]


def build(
    workspace: Workspace, public: bool = False, annotating: bool = False, training: bool = False
) -> gr.Blocks:
    """The page of a workspace. On a `public` one nobody can make a gallery or delete anything, nor annotate or train unless
    `annotating` or `training` is allowed."""
    allowed, annotates = Allowed.on(public, training), annotating or not public
    with gr.Blocks(
        title="SSA-ME studio", fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)
    ) as page:
        masthead = widget("masthead", masthead_value(workspace, None))
        clock = gr.Timer(0.7, active=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Search", id="search"):
                search = search_tab.create(workspace, masthead, public, annotates)
            with gr.Tab("Inspect", id="inspect"):
                inspect = inspect_tab.create(workspace, masthead, annotates)
            with gr.Tab("Failures", id="failures") as tab:
                failures = failures_tab.create(workspace, tab, masthead, public)
            with gr.Tab("Annotate", id="annotate"):
                annotate = annotate_tab.create(workspace.annotating, annotates, search_tab.EXAMPLES)
            with gr.Tab("Train", id="train"):
                train = train_tab.create(workspace, allowed)
            with gr.Tab("Gallery", id="gallery"):
                gallery = gallery_tab.create(workspace, masthead, clock, public, allowed)
        api.create(workspace)
        find = search_tab.search_event(workspace)
        parts = _Parts(masthead, tabs, search, inspect, failures, annotate, train, gallery, clock, find)
        _on_arrival(workspace, page, parts)
        page.load(lambda: train_tab.arrive(workspace, allowed), None, train.arrived, **HIDDEN)
        train.versions.use(lambda: gr.Timer(active=True), None, clock, **HIDDEN)
        _while_starting(workspace, parts)
        _on_another_gallery(workspace, parts)
        _on_similar(workspace, parts)
        _on_inspect(workspace, page, parts)
        _on_failure(workspace, parts)
        _on_annotate(workspace, parts, annotates)
    return page


def _on_arrival(workspace: Workspace, page: gr.Blocks, parts: _Parts) -> None:
    """A visitor comes, by a link or without one: everything is shown, and a link's search is answered."""

    def arrive(request: gr.Request) -> tuple[Any, ...]:
        state, entered, trouble = read_link(workspace, dict(request.query_params))
        head = masthead_value(workspace, state.gallery, state.against)
        job = workspace.making.job
        return (
            head,
            entered | {"linked": not trouble and state.tab == "search"} if entered else gr.skip(),
            search_tab.empty_ranking(workspace, head["current"], arrival=True),
            answers.notice(trouble) if trouble else gr.skip(),
            gallery_tab.grid_value(workspace, head),
            gallery_tab.progress_value(workspace),
            gr.Timer(active=job is not None and job.running),
            gr.Timer(active=workspace.starting.phase == "running"),
        )

    def follow(entered: dict[str, Any], head: dict[str, Any]) -> tuple[Any, Any]:
        return parts.find(entered, head) if (entered or {}).get("linked") else (gr.skip(), gr.skip())

    gallery = parts.gallery
    arrived = [
        parts.masthead,
        parts.search.query,
        *parts.found,
        gallery.grid,
        gallery.progress,
        gallery.timer,
        parts.clock,
    ]
    page.load(arrive, None, arrived, **HIDDEN).then(follow, parts.asked, parts.found, **HIDDEN)


def _while_starting(workspace: Workspace, parts: _Parts) -> None:
    """While the workspace starts: how far it has come, and the demo gallery as soon as it is there."""

    def look(head: dict[str, Any], shown: dict[str, Any]) -> tuple[Any, Any, Any, gr.Timer]:
        before = (head or {}).get("current")
        new = masthead_value(workspace, before, (head or {}).get("against"))
        grid: Any = gr.skip()
        ranking: Any = gr.skip()
        if new["current"] != before or new["starting"]["phase"] != "running":
            grid = gallery_tab.grid_value(workspace, new)
            if "empty" in (shown or {}):
                ranking = search_tab.empty_ranking(workspace, new["current"], arrival=True)
        return new, grid, ranking, gr.Timer(active=new["starting"]["phase"] == "running")

    ranking = parts.search.ranking
    looked = [parts.masthead, parts.gallery.grid, ranking, parts.clock]
    parts.clock.tick(look, [parts.masthead, ranking], looked, concurrency_limit=None, **HIDDEN)


def _on_another_gallery(workspace: Workspace, parts: _Parts) -> None:
    """Another gallery or version to compare with is chosen in the head, or a new gallery is to be shown: it opens, and the
    search runs in it; what is inspected is looked at anew under another version."""

    def switch(shown: dict[str, Any], event: gr.EventData) -> tuple[Any, Any]:
        sent = event._data if isinstance(event._data, dict) else {}
        against = sent["against"] if "against" in sent else (shown or {}).get("against")
        head = masthead_value(workspace, sent.get("gallery"), against)
        return head, gallery_tab.grid_value(workspace, head)

    def again(entered: dict[str, Any], head: dict[str, Any]) -> tuple[Any, Any]:
        """The search of the query bar in the gallery that was chosen, or the hint where nothing is entered."""
        state, _ = answers.attempt(lambda: answers.read_state(entered or {}, None))
        if state is None or state.is_empty:
            # no notice: what was asked meanwhile may have answered already
            return search_tab.empty_ranking(workspace, (head or {}).get("current")), gr.skip()
        return parts.find((entered or {}) | {"hit": None}, head)

    def inspect_again(entry: dict[str, Any], head: dict[str, Any]) -> tuple[Any, ...]:
        kept = entry or {}
        if kept.get("id") is None or kept.get("against") == (head or {}).get("against"):
            return (gr.skip(),) * len(inspect.shown)
        return look(kept, head)

    inspect, look = parts.inspect, inspect_tab.inspect_event(workspace)
    opened = [parts.masthead, parts.gallery.grid]
    parts.masthead.switch(switch, parts.masthead, opened, **HIDDEN).then(
        again, parts.asked, parts.found, **HIDDEN
    ).then(inspect_again, [inspect.entry, parts.masthead], inspect.shown, **HIDDEN)
    parts.gallery.progress.show(switch, parts.masthead, opened, **HIDDEN).then(
        again, parts.asked, parts.found, **HIDDEN
    ).then(lambda: gr.Tabs(selected="search"), None, parts.tabs, **HIDDEN)


def _on_similar(workspace: Workspace, parts: _Parts) -> None:
    """More like an image of the grid or of a ranking: it becomes the query."""

    def similar(head: dict[str, Any], event: gr.EventData) -> tuple[Any, Any, Any]:
        chosen = event._data.get("id") if isinstance(event._data, dict) else None
        entered, trouble = answers.attempt(
            lambda: search_tab.query_value(
                workspace, SearchState(image=workspace.keep_image((head or {}).get("current"), chosen))
            )
        )
        return entered or gr.skip(), answers.notice(trouble), gr.Tabs(selected="search")

    def like(event: gr.EventData) -> tuple[Any, Any]:
        """More like a part of the opened image, under the lists and filters that there are."""
        sent = event._data if isinstance(event._data, dict) else {}
        entered, trouble = answers.attempt(lambda: search_tab.like_value(workspace, sent))
        return entered or gr.skip(), answers.notice(trouble)

    chosen = [parts.search.query, parts.search.notice, parts.tabs]
    parts.search.opened.like(like, None, chosen[:2], **HIDDEN).success(
        parts.find, parts.asked, parts.found, **HIDDEN
    )
    for images in (parts.gallery.grid, parts.search.ranking):
        images.similar(similar, parts.masthead, chosen, **HIDDEN).then(
            parts.find, parts.asked, parts.found, **HIDDEN
        )


def _on_inspect(workspace: Workspace, page: gr.Blocks, parts: _Parts) -> None:
    """An opened result is to be inspected, or a link leads to what was: the Inspect tab opens with all set."""
    tab, find = parts.inspect, inspect_tab.inspect_event(workspace)

    def begin(event: gr.EventData) -> tuple[Any, Any]:
        sent = event._data if isinstance(event._data, dict) else {}
        asked = sent.get("state")
        asked = asked if isinstance(asked, dict) else {}
        settings = {key: asked.get(key) for key in ("weight", "method", "salience")}
        kept = {key: asked.get(key) for key in ("gallery", "text", "image", "against")}
        return kept | {"id": sent.get("id"), "settings": settings}, gr.Tabs(selected="inspect")

    def follow(head: dict[str, Any], request: gr.Request) -> tuple[Any, ...]:
        parameters = dict(request.query_params)
        if parameters.get("tab") not in SHOWN:
            return (gr.skip(),) * (len(tab.shown) + 1)
        state, trouble = answers.attempt(lambda: permalink.parse(parameters))
        settings, unset = answers.attempt(lambda: inspect_settings.parse(parameters))
        chosen = gr.Tabs(selected=parameters["tab"])
        if parameters["tab"] != "inspect":
            return (*(gr.skip(),) * len(tab.shown), chosen)
        if state is None or settings is None:
            return gr.skip(), {"token": answers.token(), "error": trouble or unset}, None, None, None, chosen
        return (*find(entry_of(state, settings), (head or {}) | {"against": state.against}), chosen)

    asked = [tab.entry, parts.masthead]
    parts.search.opened.inspect(begin, None, [tab.entry, parts.tabs], **HIDDEN).then(
        find, asked, tab.shown, **HIDDEN
    )
    page.load(follow, parts.masthead, [*tab.shown, parts.tabs], **HIDDEN)


def _on_failure(workspace: Workspace, parts: _Parts) -> None:
    """A query of the failures is opened: the Inspect tab shows it in its gallery, with its right image."""
    tab, find = parts.inspect, inspect_tab.inspect_event(workspace)

    def open_failure(event: gr.EventData) -> tuple[Any, Any, Any]:
        entry, trouble = answers.attempt(lambda: failures_tab.opened(workspace, event))
        if entry is None:
            gr.Warning(trouble, duration=6)
            return gr.skip(), gr.skip(), gr.skip()
        return (
            masthead_value(workspace, entry["gallery"], entry["against"]),
            entry,
            gr.Tabs(selected="inspect"),
        )

    opened = [parts.masthead, tab.entry, parts.tabs]
    parts.failures.table.inspect(open_failure, None, opened, **HIDDEN).success(
        find, [tab.entry, parts.masthead], tab.shown, **HIDDEN
    )


def _on_annotate(workspace: Workspace, parts: _Parts, allowed: bool) -> None:
    """An image that is opened or inspected is to be annotated: the Annotate tab shows its first subject, in its gallery."""

    def annotate(event: gr.EventData) -> tuple[Any, Any, Any]:
        sent = event._data if isinstance(event._data, dict) else {}
        value, trouble = answers.attempt(lambda: annotate_tab.board_value(workspace, allowed, sent))
        if value is None:
            gr.Warning(trouble, duration=6)
            return gr.skip(), gr.skip(), gr.skip()
        return masthead_value(workspace, value["gallery"]), value, gr.Tabs(selected="annotate")

    shown = [parts.masthead, parts.annotate.board, parts.tabs]
    for part in (parts.search.opened, parts.inspect.entry):
        part.annotate(annotate, None, shown, **HIDDEN)


def launch_options(workspace: Workspace) -> dict[str, Any]:
    """Everything about `launch` but the address: look, limits, and what is not to be collected or served."""
    routes = [
        *image_routes(workspace),
        *report_routes(workspace),
        *export_routes(workspace),
        *failure_routes(workspace.failures),
    ]
    return {
        "theme": THEME,
        "css": STYLE,
        "head": "".join(f"<script>{s.read_text(encoding='utf-8')}</script>" for s in SHARED_SCRIPTS),
        "app_kwargs": {
            "routes": [behind_login(route) for route in routes],
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "strict_cors": True,
        "share": False,
        "max_file_size": "512mb",
        "state_session_capacity": 200,
        "favicon_path": str(Path(__file__).with_name("favicon.svg")),
    }


def read_link(
    workspace: Workspace, parameters: dict[str, str]
) -> tuple[SearchState, dict[str, Any] | None, str]:
    """The search of a link, what the query bar shows of it (None where that is nothing), and what is wrong with it.
    What is still there of a link whose gallery or image is gone is kept."""
    parsed, trouble = answers.attempt(lambda: permalink.parse(parameters))
    state = parsed or SearchState()
    _, gallery_gone = answers.attempt(lambda: state.gallery and workspace.gallery(state.gallery))
    _, version_gone = answers.attempt(lambda: state.against and workspace.opponents.spaces(state.against))
    _, image_gone = answers.attempt(lambda: workspace.query_image(state.image))
    left = replace(state, image=None) if image_gone else state
    entered = None if left.is_empty else search_tab.query_value(workspace, left)
    return state, entered, trouble or gallery_gone or version_gone or image_gone


def masthead_value(workspace: Workspace, current: object, against: object = None) -> dict[str, Any]:
    """What the page's head shows; `current` where there is such a gallery, else the first; `against` where there is such a
    version beside the one in use, else none."""
    cards = workspace.galleries()
    ids = [card.id for card in cards]
    model, starting = workspace.model(), workspace.starting
    opponents, _ = answers.attempt(workspace.opponents.choices)
    opponents = opponents or []
    return {
        "galleries": [{"id": card.id, "name": card.name, "count": card.count} for card in cards],
        "current": current if current in ids else next(iter(ids), None),
        "opponents": opponents,
        "against": against if against in [one["id"] for one in opponents] else None,
        "model": model_view(model) if model else None,
        "starting": {"phase": starting.phase, "message": starting.message, "fraction": starting.fraction},
    }
