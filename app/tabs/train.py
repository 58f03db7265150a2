"""The Train tab: data and its check, a recipe with its estimate, runs with live curves, and the versions that they make.

A run belongs to no page: every page finds it, and asks for its state once a second while anything goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd  # type: ignore[import-untyped]

from app import train_view
from app.answers import HIDDEN, attempt
from app.jobs import Job as Task
from app.permissions import CLOSED, Allowed
from app.widgets import widget
from app.workspace import Workspace
from ssa_me.errors import InputError

Json = dict[str, Any]
COLOURS = {"Baseline": "#2f6db8", "SSA-ME": "#b2530a", "Backbone": "#646a73", "Sight": "#646a73"}
PLOTS = {
    "loss": "Loss, all objectives (trained on)",
    "recall@1": "Recall@1 (held out)",
    "pointing": "Pointing game (held out)",
}
_EVERY = 1.0


@dataclass(frozen=True)
class TrainTab:
    """The tab's parts. `arrived` is what `arrive` fills when a visitor comes."""

    form: gr.HTML
    runs: gr.HTML
    versions: gr.HTML
    plots: tuple[gr.LinePlot, ...]
    chosen: gr.State
    timer: gr.Timer

    @property
    def board(self) -> list[Any]:
        return [self.runs, self.versions, *self.plots, self.timer]

    @property
    def arrived(self) -> list[Any]:
        return [self.form, *self.board]


class _Desk:
    """What the events of one page's tab share: the workspace, and what is allowed."""

    def __init__(self, workspace: Workspace, allowed: Allowed) -> None:
        self.workspace, self.training, self.allowed = workspace, workspace.training, allowed
        self.closed = "" if allowed.train else CLOSED["train"]

    def form(self, estimate: Json | None = None, trouble: str = "") -> Any:
        cards = self.workspace.galleries()
        view, wrong = attempt(lambda: train_view.form_view(self.training, self.allowed, cards, self.closed))
        return gr.skip() if view is None else view | {"estimate": estimate, "trouble": trouble or wrong}

    def board(self, chosen: Mapping[str, Any] | None) -> list[Any]:
        """Values of `TrainTab.board`."""
        at = chosen or {}
        view, _ = attempt(
            lambda: train_view.board_view(self.training, self.allowed, at.get("run"), at.get("version"))
        )
        if view is None:
            return [gr.skip(), gr.skip(), *[gr.skip() for _ in PLOTS], gr.Timer(active=False)]
        run = {key: view[key] for key in ("allowed", "jobs", "shown")}
        versions = {
            key: view[key] for key in ("allowed", "versions", "in_use", "result", "sets", "importing")
        }
        busy = view["going_on"] or self.working
        plots = self.plots((view["shown"] or {}).get("id"))
        return [run, versions, *plots, gr.Timer(active=busy)]

    @property
    def working(self) -> bool:
        """Whether a check or an import goes on."""
        tasks: tuple[Task | None, ...] = (self.training.data.check, self.training.importing)
        return any(task is not None and task.running for task in tasks)

    def plots(self, run: str | None) -> list[Any]:
        """The curves of a run; a plot without a point is not shown."""
        if run is None:
            return [gr.LinePlot(_frame([]), visible="hidden") for _ in PLOTS]
        log = self.training.log_of(self.training.queue.job(run))
        curves = {"loss": log.losses, "recall@1": log.held_out, "pointing": log.held_out}
        points = [train_view.rows(curves[name], name) for name in PLOTS]
        return [gr.LinePlot(_frame(rows), visible=True if rows else "hidden") for rows in points]

    def act(self, what: str, work: Callable[[], object]) -> bool:
        """Whether `work`, which needs leave for `what`, was done; the visitor is told why not."""

        def allowed() -> bool:
            self.allowed.check(what)
            work()
            return True

        done, trouble = attempt(allowed)
        if not done:
            gr.Warning(trouble, duration=8)
        return bool(done)


def create(workspace: Workspace, allowed: Allowed) -> TrainTab:
    """Build the tab and its events. What is not `allowed` is refused in each event, whoever sends it."""
    desk = _Desk(workspace, allowed)
    with gr.Row(elem_classes="studio-train"):
        with gr.Column(scale=2, min_width=330):
            files = gr.File(
                label="A zip, or images with their metadata.jsonl",
                file_count="multiple",
                file_types=["image", ".zip", ".jsonl"],
                elem_id="train-files",
                height=140,
                visible=allowed.bring,
            )
            form = widget("trainform")
        with gr.Column(scale=3, min_width=330):
            runs = widget("runs")
            with gr.Row(elem_classes="studio-plots"):
                plots = tuple(_plot(name) for name in PLOTS)
            versions = widget("versions")
            bring = gr.UploadButton(
                "Import a version: a zip of a checkpoint",
                file_types=[".zip"],
                elem_id="train-import",
                size="sm",
                visible=allowed.bring,
            )
    tab = TrainTab(form, runs, versions, plots, gr.State({}), gr.Timer(_EVERY, active=False))
    _on_data(desk, tab, files)
    _on_runs(desk, tab)
    _on_versions(desk, tab, bring)
    return tab


def arrive(workspace: Workspace, allowed: Allowed) -> list[Any]:
    """Values of `TrainTab.arrived` for a visitor who comes: what runs is found again."""
    if workspace.starting.phase == "running":  # the libraries of training come after the model, not before it
        return [{"loading": True}, gr.skip(), gr.skip(), *[gr.skip() for _ in PLOTS], gr.Timer(active=True)]
    desk = _Desk(workspace, allowed)
    return [desk.form(), *desk.board(None)]


def _on_data(desk: _Desk, tab: TrainTab, files: gr.File) -> None:
    """Uploads and other sources are checked; the estimate follows what is chosen; a run is started."""

    def upload(paths: list[str] | None) -> list[Any]:
        if paths:
            desk.act("bring", lambda: desk.training.data.from_upload([Path(path) for path in paths]))
        return [None, desk.form(), gr.Timer(active=True)]

    def check(event: gr.EventData) -> list[Any]:
        sent, data = _sent(event), desk.training.data
        work = {
            "gallery": lambda: data.from_gallery(sent.get("gallery")),
            "annotations": lambda: data.from_annotations(sent.get("gallery")),
            "scenes": lambda: data.from_scenes(sent.get("count")),
        }.get(str(sent.get("source")))
        if work is not None:
            desk.act("bring", work)
        return [desk.form(), gr.Timer(active=True)]

    def cancel() -> None:
        task = desk.training.data.check
        if desk.allowed.bring and task is not None:
            task.cancel()

    def drop(event: gr.EventData) -> Any:
        desk.act("delete", lambda: desk.training.data.delete(_sent(event).get("set")))
        return desk.form()

    def ask(event: gr.EventData) -> Any:
        found, trouble = attempt(lambda: desk.training.estimate(_settings(event)))
        return desk.form(found, trouble)

    def begin(chosen: Json, event: gr.EventData) -> list[Any]:
        """A run that was started is looked at, unless it waits for another that runs."""
        started = desk.act("train", lambda: desk.training.begin(_settings(event)))
        now = {**(chosen or {}), "run": None} if started else chosen
        return [now, *desk.board(now)]

    files.upload(upload, files, [files, tab.form, tab.timer], **HIDDEN)
    tab.form.check(check, None, [tab.form, tab.timer], **HIDDEN)
    tab.form.cancel(cancel, None, None, queue=False, **HIDDEN)
    tab.form.drop(drop, None, tab.form, **HIDDEN)
    tab.form.ask(ask, None, tab.form, trigger_mode="always_last", **HIDDEN)
    tab.form.start(begin, tab.chosen, [tab.chosen, *tab.board], **HIDDEN)


def _on_runs(desk: _Desk, tab: TrainTab) -> None:
    """Runs are steered and looked at, and their state is asked for as long as anything goes on."""

    def steer(chosen: Json, event: gr.EventData) -> list[Any]:
        sent = _sent(event)
        what = "delete" if sent.get("action") == "remove" else "train"
        desk.act(what, lambda: desk.training.steer(sent.get("id"), sent.get("action")))
        return desk.board(chosen)

    def show(chosen: Json, event: gr.EventData) -> list[Any]:
        now = {**(chosen or {}), "run": str(_sent(event).get("id"))}
        return [now, *desk.board(now)]

    def tick(chosen: Json, shown: Json | None) -> list[Any]:
        if desk.workspace.starting.phase == "running" and "sets" not in (shown or {}):
            return [gr.skip() for _ in tab.arrived]
        check = desk.training.data.check
        before = ((shown or {}).get("check") or {}).get("phase")
        moved = check is not None and (check.running or before == "running")
        known = len((shown or {}).get("versions") or []) == len(desk.training.shelf.versions())
        again = moved or not known
        form = desk.form((shown or {}).get("estimate")) if again else gr.skip()
        return [form, *desk.board(chosen)]

    tab.runs.steer(steer, tab.chosen, tab.board, queue=False, **HIDDEN)
    tab.runs.show(show, tab.chosen, [tab.chosen, *tab.board], **HIDDEN)
    tab.timer.tick(tick, [tab.chosen, tab.form], tab.arrived, concurrency_limit=None, **HIDDEN)


def _on_versions(desk: _Desk, tab: TrainTab, bring: gr.UploadButton) -> None:
    """Versions are used, renamed, deleted, compared and imported."""

    training = desk.training

    def done(what: str, work: Callable[[], object], chosen: Json) -> list[Any]:
        desk.act(what, work)
        return [desk.form(), *desk.board(chosen)]

    def use(chosen: Json, event: gr.EventData) -> list[Any]:
        return done("train", lambda: training.use(_sent(event).get("id")), chosen)

    def rename(chosen: Json, event: gr.EventData) -> list[Any]:
        sent = _sent(event)
        return done("train", lambda: training.shelf.rename(sent.get("id"), str(sent.get("name"))), chosen)

    def remove(chosen: Json, event: gr.EventData) -> list[Any]:
        return done("delete", lambda: training.shelf.delete(_sent(event).get("id")), chosen)

    def compare_two(chosen: Json, event: gr.EventData) -> list[Any]:
        sent = _sent(event)
        work = lambda: training.compare(sent.get("before"), sent.get("after"), sent.get("data"))  # noqa: E731
        return done("train", work, chosen)

    def result(chosen: Json, event: gr.EventData) -> list[Any]:
        now = {**(chosen or {}), "version": str(_sent(event).get("id"))}
        return [now, *desk.board(now)]

    def take(path: str | None, chosen: Json) -> list[Any]:
        if path:
            desk.act("bring", lambda: desk.training.bring(Path(path), Path(path).stem))
        return [None, *desk.board(chosen)]

    tab.versions.use(use, tab.chosen, tab.arrived, **HIDDEN)
    tab.versions.rename(rename, tab.chosen, tab.arrived, **HIDDEN)
    tab.versions.remove(remove, tab.chosen, tab.arrived, **HIDDEN)
    tab.versions.compare(compare_two, tab.chosen, tab.arrived, **HIDDEN)
    tab.versions.result(result, tab.chosen, [tab.chosen, *tab.board], **HIDDEN)
    bring.upload(take, [bring, tab.chosen], [bring, *tab.board], **HIDDEN)


def _plot(name: str) -> gr.LinePlot:
    return gr.LinePlot(
        _frame([]),
        x="step",
        y="value",
        color="model",
        color_map=COLOURS,
        title=PLOTS[name],
        x_title="step",
        y_title=" ",
        y_lim=[0, None if name == "loss" else 1],
        y_axis_format=None if name == "loss" else ".2~f",
        color_title=" ",
        height=190,
        min_width=200,
        show_label=False,
        buttons=[],
        visible="hidden",
        elem_id=f"train-plot-{name.replace('@', '-')}",
    )


def _frame(rows: list[tuple[int, float, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["step", "value", "model"])


def _sent(event: gr.EventData) -> Json:
    return event._data if isinstance(event._data, dict) else {}


def _settings(event: gr.EventData) -> Json:
    settings = _sent(event).get("settings")
    if not isinstance(settings, dict):
        raise InputError("The settings did not arrive. Reload the page.")
    return settings
