"""The Train tab's side of the workspace: data, runs and versions, with commands that are small scripts."""

from __future__ import annotations

import json
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import room, studio
from app.permissions import CLOSED, Allowed
from app.run_plan import Quotas
from app.train_view import STAGES, board_view, comparison_view, form_view, progress_of
from app.training import Training
from app.workspace import Workspace
from ssa_me.errors import InputError
from ssa_me.jobs import Job, JobQueue, TrainingLog
from ssa_me.samples import read_image_folder
from tests.app.fakes import FakeEmbedder

TRAIN = """
import json, pathlib, shutil, sys
args = sys.argv[1:]
if args[0] == "versions":
    gap = {"value": 0.1, "interval": [0.05, 0.2]}
    scores = {"text_to_image": {"recall@1": 0.5}, "pointing_game": 0.4}
    both = {"baseline": scores, "ssa-me": scores}
    print(json.dumps({"images": 3, "queries": 4, "regions": 5, "split": "val", "before": both, "after": both,
        "difference": {"baseline": {"recall@1": gap}, "ssa-me": {"recall@1": gap, "pointing_game": gap}}, "moves": []}))
    sys.exit(0)
out, start = (pathlib.Path(args[args.index(name) + 1]) for name in ("--out", "--checkpoint"))
shutil.copytree(start, out, dirs_exist_ok=True)
(out / "baseline" / "adapter_model.safetensors").open("ab").write(b" ")
(out / "training").mkdir(exist_ok=True)
lines = [{"stage": s, "step": n, "steps": 20, "loss": 2 - n / 20, "nce": 1.0, "samples_per_s": 8.0, "seconds_left": 3}
         for s in ("baseline", "ssa-me") for n in (10, 20)]
lines.append({"stage": "ssa-me", "step": 20, "steps": 20, "held_out": {"recall@1": 0.5, "pointing": 0.25}})
(out / "training" / "log.jsonl").write_text("".join(json.dumps(line) + chr(10) for line in lines))
print("{}")
"""


@pytest.fixture
def workspace(tmp_path: Path, trained_checkpoint: Path) -> Iterator[Workspace]:
    """Not started; its model is the tiny checkpoint, and its runs are a script that copies it."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    made = Workspace(tmp_path / "ws", str(trained_checkpoint), "cpu", load=FakeEmbedder, demo_images=4)
    made.training.queue = JobQueue(made.folder / "runs", program=(sys.executable, str(script)))
    yield made
    until(lambda: all(job.phase != "running" for job in made.training.queue.jobs()))


@pytest.fixture
def sample(workspace: Workspace) -> str:
    """The id of the sample set, uploaded and checked."""
    packed, _ = workspace.training.sample_set()
    state = workspace.training.data.from_upload([packed]).wait(60)
    assert state.phase == "done", state.message
    return str(state.result["set"])


def until(found: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return value


def settled(training: Training) -> list[Job]:
    """All jobs once nothing waits, runs or is to be settled."""

    def rest() -> list[Job] | None:
        jobs = training.queue.jobs()
        open_ = [j for j in jobs if j.phase in ("waiting", "running")]
        open_ += [j for j in jobs if j.phase == "done" and not {"version", "noted"} & set(j.details)]
        made = [j for j in jobs if j.details.get("version")]
        if len([j for j in jobs if j.kind == "compare"]) < len(made):
            return None
        return None if open_ else jobs

    return list(until(rest))


# --- data ------------------------------------------------------------------------------------------------------------


def test_an_upload_is_checked_and_kept(workspace: Workspace, sample: str, tmp_path: Path) -> None:
    data = workspace.training.data
    one = data.get(sample)
    assert (one.images, one.report["held_out"], one.source) == (24, 8, "upload")
    assert len(read_image_folder(one.data)) == 32
    assert [other.id for other in data.sets()] == [sample]
    data.delete(sample)
    assert data.sets() == [] and not one.folder.exists()
    for id in (sample, "../x", None):
        with pytest.raises(InputError, match="no such data set"):
            data.get(id)


def test_images_beside_their_metadata_are_a_set_too(
    workspace: Workspace, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    files = [tmp_path / "red.png", tmp_path / "blue.png", tmp_path / "metadata.jsonl"]
    files[0].write_bytes(picture("red"))
    files[1].write_bytes(picture("blue"))
    files[2].write_text(
        '{"file_name": "red.png", "captions": ["red"]}\n{"file_name": "blue.png", "text": "blue"}\n{'
    )
    state = workspace.training.data.from_upload(files).wait(60)
    report = workspace.training.data.get(state.result["set"]).report
    assert report["train"] == 2 and [one[0] for one in report["wrong"]] == ["metadata.jsonl, line 3"]


def test_what_is_hostile_or_useless_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    data = workspace.training.data
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("../../out.png", "x")
    for name, words in (("a.zip", "no zip file"), ("b.zip", "no image that can be used")):
        state = data.from_upload([tmp_path / name]).wait(60)
        assert state.phase == "failed" and words in state.message
        assert str(tmp_path) not in state.message.replace(name, "")
    with pytest.raises(InputError, match="no files"):
        data.from_upload([])
    with pytest.raises(InputError, match="between 10 and"):
        data.from_scenes(3)
    with pytest.raises(InputError, match="not the name of a gallery"):
        data.from_gallery("../x")
    workspace.start()
    workspace._start.wait(60)
    with pytest.raises(InputError, match="is validated yet"):
        data.from_annotations("scenes")
    assert list(data.folder.iterdir()) == []


def test_a_gallery_is_a_data_set(workspace: Workspace) -> None:
    workspace.start()
    assert workspace._start.wait(60).phase == "done"
    state = workspace.training.data.from_gallery("scenes").wait(60)
    one = workspace.training.data.get(state.result["set"])
    assert (one.name, one.images, one.report["located"] > 4) == ("Scenes", 4, True)


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_page_looks_on_until_what_came_of_a_run_is_kept(
    workspace: Workspace, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may see that a run has ended before its version is there: it must not stop looking then."""
    training = workspace.training

    def board() -> dict[str, Any]:
        return board_view(training, Allowed(), None, None)

    assert not board()["going_on"]
    with monkeypatch.context() as patch:
        patch.setattr(training, "settle", lambda jobs: None)
        training.begin({"data": sample, "recipe": "fast", "steps": 20, "batch": 4, "name": "Birds"})
        until(lambda: training.queue.jobs()[0].phase == "done")
        until(lambda: training.queue._keeper is None)
    seen = board()
    assert [one["phase"] for one in seen["jobs"]] == ["done"] and len(seen["versions"]) == 1
    assert seen["going_on"]

    seen_when = []
    amend = training.queue.amend

    def told(id: str, **details: Any) -> Job:
        seen_when.append((sorted(details), board()["going_on"], board()["result"] is not None))
        return amend(id, **details)

    monkeypatch.setattr(training.queue, "amend", told)
    training.settle(training.queue.jobs())
    settled(training)
    assert seen_when == [(["version"], True, False), (["noted"], True, True)]
    assert not board()["going_on"]


def test_a_run_becomes_a_version_and_is_compared(workspace: Workspace, sample: str) -> None:
    training = workspace.training
    sent = {"data": sample, "recipe": "fast", "steps": 20, "batch": 4, "attention": 0.3, "name": "Birds"}
    about = training.estimate(sent)
    assert about["seconds"] > 0 and not about["measured"] and about["needed_gb"] > 0.9
    assert about["parameters"] > 1000 and "shares the processor" in about["shares"]
    job = training.begin(sent)
    run, compared = settled(training)
    assert (run.id, run.phase, compared.kind, compared.phase) == (job.id, "done", "compare", "done")
    version = training.shelf.version(run.details["version"])
    assert (version.name, version.parent, version.recipe["weights"]["attention"]) == ("Birds", "base", 0.3)
    assert version.data == {"id": sample, "name": "ssa-me-sample-set", "images": 24}
    assert version.results["before_after"]["against"] == "base"
    recipe = (job.folder / "recipe.toml").read_text()
    assert "steps = 20" in recipe and "batch = 4" in recipe and "attention = 0.3" in recipe
    log = training.log_of(training.queue.job(job.id))
    assert log.step == 20 and log.held_out, "the log stays when the checkpoint has moved"
    again = training.estimate(sent)
    # what composes subjects is ten times as fast as SSA-ME's adapter, which had 8 samples a second
    stages = {"baseline": 10, "ssa-me": 10, "composition": 72, "trust": 48}
    assert again["measured"] and again["stages"] == stages

    board = json.loads(json.dumps(board_view(training, Allowed(), None, None)))
    assert [one["name"] for one in board["versions"]][1:] == ["Birds"]
    assert board["shown"]["id"] == job.id and board["result"]["id"] == version.id
    assert board["jobs"][1]["made"] == "Birds" and board["jobs"][1]["fraction"] == 1.0
    row = comparison_view(version)["table"][0]
    assert row["ssa-me"]["before"] == 0.5 and row["baseline"]["interval"] == [0.05, 0.2]
    form = json.loads(json.dumps(form_view(training, Allowed(), workspace.galleries(), "")))
    assert [one["name"] for one in form["recipes"]] == ["fast", "balanced", "full"]


def test_what_a_form_may_not_ask(workspace: Workspace, sample: str) -> None:
    training = workspace.training
    training.quotas = Quotas(steps=100, batch=64, waiting=1)
    for more, words in (
        ({"data": "nope"}, "no such data set"),
        ({"recipe": "../mini"}, "Choose a recipe"),
        ({"steps": 101}, "between 1 and 100 steps"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"steps": 1.5}, "whole number"),
        ({"batch": 65}, "between 2 and 64 images"),
        ({"chunks": 99}, "into 1 to 16 chunks"),
        ({"head": -1}, "of 0 or more"),
        ({"head": float("nan")}, "head is nan"),
        ({"start": "../../etc"}, "not the name of a version"),
    ):
        with pytest.raises(InputError, match=words):
            training.begin({"data": sample, "recipe": "fast"} | more)
    assert training.queue.jobs() == []


def test_too_many_and_too_large_runs_are_refused(
    workspace: Workspace, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = workspace.training
    sent = {"data": sample, "recipe": "fast"}
    monkeypatch.setattr(room, "free_gb", lambda device: (0.2, 8.0))
    with pytest.raises(InputError, match=r"needs about .* GB, and 0\.2 GB are free beside this page"):
        training.begin(sent)
    monkeypatch.undo()
    training.quotas = Quotas(waiting=1)
    training.queue.slots = 0
    training.begin(sent)
    with pytest.raises(InputError, match="1 runs wait already"):
        training.begin(sent)
    for job in training.queue.jobs():
        training.steer(job.id, "stop")
    with pytest.raises(InputError, match="paused, stopped, resumed"):
        training.steer(job.id, "explode")
    with pytest.raises(InputError, match="after its first steps"):
        training.steer(job.id, "keep")
    training.steer(job.id, "remove")
    assert training.queue.jobs() == []


def test_a_run_that_ended_while_the_page_was_down_is_found(workspace: Workspace, sample: str) -> None:
    training = workspace.training
    job = training.queue.add("train", "Late", *_request(training, sample))
    training.queue.tick()
    until(lambda: training.queue.job(job.id).phase == "done")
    assert len(training.shelf.versions()) == 1
    training.start()
    settled(training)
    assert [one.name for one in training.shelf.versions()][1:] == ["Late"]


def _request(training: Training, sample: str) -> tuple[list[str], dict[str, Any]]:
    base = str(training.shelf.base)
    arguments = ["train", "--out", "{folder}/out", "--checkpoint", base]
    data = training.data.get(sample)
    details = {"recipe": "fast", "steps": 20, "batch": 4, "weights": {}, "data": {"name": "x", "images": 1}}
    return arguments, details | {"set": str(data.data), "start": "base", "start_name": "base"}


def test_a_stopped_run_is_kept_as_it_is(workspace: Workspace, sample: str) -> None:
    training = workspace.training
    job = training.queue.add("train", "Half", *_request(training, sample))
    training.steer(job.id, "pause")
    shutil.copytree(training.shelf.base, job.folder / "out")
    (job.folder / "out" / "training").mkdir()
    (job.folder / "out" / "training" / "unfinished.json").write_text('["ssa-me"]')
    training.steer(job.id, "keep")
    (kept,) = training.shelf.versions()[1:]
    assert kept.unfinished == ("ssa-me",) and (job.folder / "out").is_dir()


# --- versions --------------------------------------------------------------------------------------------------------


def test_a_version_goes_out_comes_in_and_is_used(workspace: Workspace) -> None:
    training = workspace.start().training
    assert workspace._start.wait(60).phase == "done"
    packed, name = training.exported("base")
    assert name.endswith(".zip")
    state = training.bring(packed, "Back").wait(120)
    assert state.phase == "done", state.message
    assert training.checkpoint_in_use() is None
    training.use(state.result["version"])
    assert training.checkpoint_in_use() == training.shelf.version(state.result["version"]).checkpoint
    assert workspace._start.wait(60).phase == "done"
    training.use("base")
    assert training.checkpoint_in_use() is None
    workspace._start.wait(60)
    with pytest.raises(InputError, match="imported from a zip"):
        training.bring(Path("x.bin"), "x")
    with pytest.raises(InputError, match="versions that differ"):
        training.compare("base", "base", "x")


# --- a public page ---------------------------------------------------------------------------------------------------


def test_what_is_switched_off() -> None:
    nothing, trains = Allowed.on(public=True), Allowed.on(public=True, training=True)
    for what, words in CLOSED.items():
        with pytest.raises(InputError, match=words[:20]):
            nothing.check(what)
        Allowed.on(public=False).check(what)
    trains.check("train")
    with pytest.raises(InputError):
        trains.check("delete")


class Sent:
    """An event with what a forged request may carry."""

    def __init__(self, data: Any) -> None:
        self._data = data


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("upload", (["a.zip"],)),
        ("check", (Sent({"source": "scenes", "count": 50}),)),
        ("drop", (Sent({"set": "a" * 12}),)),
        ("begin", ({}, Sent({"settings": {"recipe": "fast"}}))),
        ("steer", ({}, Sent({"id": "a" * 12, "action": "resume"}))),
        ("steer", ({}, Sent({"id": "a" * 12, "action": "remove"}))),
        ("use", ({}, Sent({"id": "base"}))),
        ("rename", ({}, Sent({"id": "a" * 12, "name": "x"}))),
        ("remove", ({}, Sent({"id": "a" * 12}))),
        ("compare_two", ({}, Sent({"before": "base", "after": "a" * 12, "data": "b" * 12}))),
        ("take", ("a.zip", {})),
    ],
)
def test_a_forged_event_does_nothing_on_a_public_page(
    event: str, arguments: tuple[Any, ...], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, called = workspace.training, list[str]()
    for owner, name in (
        (training.data, "from_upload"),
        (training.data, "from_scenes"),
        (training.data, "delete"),
        (training, "begin"),
        (training, "steer"),
        (training, "use"),
        (training, "compare"),
        (training, "bring"),
        (training.shelf, "rename"),
        (training.shelf, "delete"),
    ):
        monkeypatch.setattr(
            owner, name, lambda *_, n=name: called.append(n) or Job("a", "", "", (), 0.0, Path())
        )
    for public in (True, False):
        page = studio.build(workspace, public=public)
        (function,) = {
            f.fn
            for f in page.fns.values()
            if f.fn is not None and f.name == event and "tabs.train" in f.fn.__module__
        }
        function(*arguments)
        assert len(called) == (0 if public else 1)


@pytest.mark.parametrize(
    ("stage", "rates", "fraction", "left"),
    [
        (
            "baseline",
            {"baseline": 19.2},
            0.5 / 2.1,
            30 + 1.1 * 100,
        ),  # 16 samples a second, with what lies between
        ("ssa-me", {"baseline": 24.0, "ssa-me": 19.2}, 1.5 / 2.1, 30 + 0.1 * 100),
        (
            "composition",
            {"ssa-me": 19.2, "composition": 500.0},
            2.05 / 2.2,
            30 + 0.1 * 100 * 16 / (500 / 1.2),
        ),
        ("trust", {"ssa-me": 19.2, "composition": 500.0, "trust": 400.0}, 2.15 / 2.2, 30),
        ("salience", {"ssa-me": 19.2, "salience": 500.0}, 2.05 / 2.2, 30 + 0.1 * 100 * 16 / (500 / 1.2)),
        ("ssa-me", {"base": 9.0, "ssa-me": 19.2}, 2.5 / 3.1, 30 + 0.1 * 100),
        ("base", {}, 0.5 / 3.1, 30),
        ("sight", {"sight": 9.0}, None, 30),
    ],
)
def test_how_far_a_run_is_by_its_stages(
    stage: str, rates: dict[str, float], fraction: float | None, left: float
) -> None:
    job = Job("a", "train", "", (), 0.0, Path(), {"steps": 100, "batch": 16}, "running")
    log = TrainingLog(stage=stage, step=50, steps=100, seconds_left=30.0, rates=rates)
    found = progress_of(job, log)
    assert (found["stage"], found["step"], found["of"]) == (STAGES[stage], 50, 100)
    assert found["fraction"] == (None if fraction is None else pytest.approx(fraction))
    assert found["left"] == pytest.approx(left)
