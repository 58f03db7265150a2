"""The Failures tab: run queries on both models, see where one hits and the other misses, and what those have in common.

The parts of the tab talk to each other in the browser; what they show they ask for by the parameters of the page's link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app import failures_state, failures_votes
from app.answers import HIDDEN, attempt
from app.failures import KINDS, Asked
from app.permalink import SearchState, check_gallery_id, parse_against
from app.tabs.search import read_upload
from app.widgets import widget
from app.workspace import DEMO, Workspace
from ssa_me.errors import InputError

RANKINGS = {"vector": "one vector", "subjects": "+ subjects"}
CLOSED = (
    "On a public page only the captions of the demo gallery can be run, and nobody can vote. Run SSA-ME studio on your own "
    "machine: python app.py"
)
UNEMBEDDED = "This gallery is not embedded with that version, and nothing is embedded on a public page. Choose another one."
Json = dict[str, Any]


@dataclass(frozen=True)
class FailuresTab:
    """The tab's parts that the page sets or listens to. table: triggers "inspect" with {run, row}."""

    setup: gr.HTML
    table: gr.HTML
    timer: gr.Timer


def setup_value(workspace: Workspace, head: Json | None, public: bool) -> Json:
    """What can be run in the gallery that the page's head shows, what runs, and which runs are kept."""
    gallery, against = (head or {}).get("current"), (head or {}).get("against")
    job = workspace.failures.job
    runs, trouble = attempt(workspace.failures.kept)
    state = job.state if job else None
    prints, _ = attempt(lambda: workspace.opponents.fingerprints(parse_against(against)))
    return {
        "models": prints,
        "gallery": gallery,
        "kinds": {"captions": KINDS["captions"]} if public else KINDS,
        "rankings": RANKINGS,
        "closed": CLOSED if public else "",
        "runs": runs or [],
        "trouble": trouble,
        "job": {"name": job.name, **_told(state)} if job and state else None,
    }


def _told(state: Any) -> Json:
    return {
        "phase": state.phase,
        "message": state.message,
        "fraction": state.fraction,
        "result": state.result,
    }


def create(workspace: Workspace, tab: gr.Tab, masthead: gr.HTML, public: bool) -> FailuresTab:
    """Build the tab and its events, inside `tab`. On a `public` page nothing that visitors bring is run."""
    setup = widget("failures_run", setup_value(workspace, None, public))
    with gr.Row(elem_classes="studio-failures"):
        with gr.Column(min_width=340):
            widget("failures_summary")
        with gr.Column(min_width=340):
            widget("failures_map", server_functions=[_cloud(workspace)])
    table = widget("failures", {}, server_functions=[_page(workspace)])
    widget("failures_vote", {"closed": CLOSED if public else ""}, server_functions=_voting(workspace, public))
    made = FailuresTab(setup, table, gr.Timer(0.7, active=False))
    _running(workspace, made, masthead, public)
    _showing(workspace, made, tab, masthead, public)
    return made


def opened(workspace: Workspace, event: gr.EventData) -> Json:
    """What the Inspect tab is set to for the row that was clicked: its query and its right image. Raises InputError where
    the run is gone."""
    sent = _sent(event)
    run = workspace.failures.open(sent.get("run"))
    row = run.row(sent.get("row"))
    return {
        "gallery": check_gallery_id(run.gallery_id),
        "text": row.query,
        "image": None,
        "id": row.target,
        "against": run.against,
        "settings": {"method": run.run.ranking},
    }


def _sent(event: gr.EventData) -> Json:
    return event._data if isinstance(event._data, dict) else {}


def _running(workspace: Workspace, made: FailuresTab, masthead: gr.HTML, public: bool) -> None:
    """The events that begin and end a run, and show how far it has come."""
    runs = workspace.failures

    def begun(work: Callable[[], object], head: Json) -> tuple[Any, Any]:
        _, trouble = attempt(work)
        if trouble:
            gr.Warning(trouble, duration=6)
        return setup_value(workspace, head, public), gr.Timer(active=_runs(workspace))

    def start_run(head: Json, event: gr.EventData) -> tuple[Any, Any]:
        def work() -> None:
            asked, data = _asked(_sent(event), head or {})
            if public and (asked.kind != "captions" or asked.gallery != DEMO):
                raise InputError(CLOSED)
            if public and asked.against and workspace.making.lacking(workspace.gallery(DEMO), asked.against):
                raise InputError(UNEMBEDDED)
            runs.start(asked, data)

        return begun(work, head)

    def resume_run(head: Json, event: gr.EventData) -> tuple[Any, Any]:
        def work() -> None:
            if public:
                raise InputError(CLOSED)
            runs.resume(_sent(event).get("run"))

        return begun(work, head)

    def stop_run() -> None:
        if not public and runs.job is not None:
            runs.job.cancel()

    def watch_run(head: Json) -> tuple[Any, Any]:
        return setup_value(workspace, head, public), gr.Timer(active=_runs(workspace))

    changed = [made.setup, made.timer]
    made.setup.run(start_run, masthead, changed, **HIDDEN)
    made.setup.resume(resume_run, masthead, changed, **HIDDEN)
    made.setup.cancel(stop_run, None, None, queue=False, **HIDDEN)
    made.timer.tick(watch_run, masthead, changed, concurrency_limit=None, **HIDDEN)


def _showing(
    workspace: Workspace,
    made: FailuresTab,
    tab: gr.Tab,
    masthead: gr.HTML,
    public: bool,
) -> None:
    """The tab is opened, by hand or by a link, or another gallery is."""

    def show_runs(head: Json) -> tuple[Any, Any]:
        """Where nothing runs the timer stays as it is, since a run may have begun before this answer comes; the timer ends
        by itself."""
        return setup_value(workspace, head, public), gr.Timer(active=True) if _runs(workspace) else gr.skip()

    def switch_runs(event: gr.EventData) -> tuple[Any, Any]:
        return show_runs({"current": _sent(event).get("gallery"), "against": _sent(event).get("against")})

    changed = [made.setup, made.timer]
    tab.select(show_runs, masthead, changed, **HIDDEN)
    masthead.switch(switch_runs, None, changed, **HIDDEN)


def _runs(workspace: Workspace) -> bool:
    job = workspace.failures.job
    return job is not None and job.running


def _asked(sent: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[Asked, bytes | None]:
    """What a browser wants to run, in the gallery and against the version of its page's head. Raises InputError where a value
    makes no sense."""
    kind, ranking, n = str(sent.get("kind")), str(sent.get("ranking", "vector")), sent.get("n", 25)
    if ranking not in RANKINGS:
        raise InputError(f"The ranking is {ranking[:20]!r}. Choose one of {', '.join(RANKINGS)}.")
    if type(n) is not int:
        raise InputError("The number of binding queries is no whole number. Give one of 1 or more.")
    data, name = None, ""
    if kind == "list":
        if not sent.get("file"):
            raise InputError("There is no list of queries. Choose a .txt, .csv or .jsonl file first.")
        data, name = read_upload(sent["file"], "list"), str(sent.get("name") or "list.txt")[-80:]
    gallery, against = check_gallery_id(head.get("current")), parse_against(head.get("against"))
    return Asked(kind, gallery, ranking, n, name, against), data


def _page(workspace: Workspace) -> Callable[[Json], Json]:
    def failures_page(parameters: Json) -> Json:
        """One page of the table, by the parameters of the link."""

        def work() -> Json:
            state = failures_state.parse(parameters if isinstance(parameters, dict) else {})
            return workspace.failures.shown(state).page(state)

        value, trouble = attempt(work)
        return value or {"error": trouble}

    return failures_page


def _cloud(workspace: Workspace) -> Callable[[Json], Json]:
    def failures_cloud(asked: Json) -> Json:
        """The map, by the parameters of the link, the method and the column that colours it."""

        def work() -> Json:
            given = asked if isinstance(asked, dict) else {}
            parameters = given.get("parameters")
            state = failures_state.parse(parameters if isinstance(parameters, dict) else {})
            method, column = str(given.get("method") or "pca"), str(given.get("column") or "gain")
            return workspace.failures.shown(state).cloud(state, method, column)

        value, trouble = attempt(work)
        return value or {"error": trouble}

    return failures_cloud


def _voting(workspace: Workspace, public: bool) -> list[Callable[[Json], Json]]:
    """What the ballot asks the server for. Nobody votes on a `public` page."""

    def answer(asked: Json, work: Callable[..., Json], *more: str) -> Json:
        def allowed() -> Json:
            if public:
                raise InputError(CLOSED)
            given = asked if isinstance(asked, dict) else {}
            return work(*(given.get(name) for name in ("run", "row", "voter", *more)))

        value, trouble = attempt(allowed)
        return value or {"error": trouble}

    def explain(gallery: str, text: str, item: int, against: str | None) -> Json:
        return workspace.explain(SearchState(text=text, gallery=gallery, against=against), item)

    def failures_ballot(asked: Json) -> Json:
        return answer(asked, lambda *given: failures_votes.ballot(workspace.failures, *given))

    def failures_vote(asked: Json) -> Json:
        return answer(
            asked, lambda *given: failures_votes.vote(workspace.failures, *given), "phase", "choice"
        )

    def failures_maps(asked: Json) -> Json:
        return answer(asked, lambda *given: failures_votes.maps(workspace.failures, explain, *given))

    return [failures_ballot, failures_vote, failures_maps]
