"""The page on ZeroGPU: who lends a GPU, and in which order the page is started there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gradio as gr
import pytest
from packaging.requirements import Requirement

import app.studio
import app.workspace
from app.jobs import Job, JobState
from app.zero_gpu import VARIABLE, lender
from ssa_me.errors import InputError
from tests.app.conftest import ENTRY, free_port
from tests.app.lending import Spaces


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch) -> Spaces:
    module = Spaces()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv(VARIABLE, "true")
    return module


@pytest.mark.parametrize("value", [None, "", "false", "0"])
def test_nobody_lends_a_gpu_elsewhere(
    value: str | None, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE) if value is None else monkeypatch.setenv(VARIABLE, value)
    assert lender() is None


def test_a_zero_gpu_without_its_package_is_said_plainly(
    spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)
    with pytest.raises(InputError, match="no package spaces"):
        lender()


def test_a_function_runs_in_another_process_for_as_long_as_it_asked(spaces: Spaces) -> None:
    lend = lender()
    assert lend is not None
    process = lend(lambda seconds: os.getpid(), lambda seconds: seconds)
    assert process(17) != os.getpid()
    assert spaces.forks == [17]


def test_where_no_gpu_is_lent_the_page_says_so(spaces: Spaces) -> None:
    lend = lender()
    assert lend is not None
    spaces.refused = "You have exceeded your ZeroGPU quota. Try again in 1:00:00. "
    with pytest.raises(InputError, match=r"ZeroGPU gave no answer: .*Try again in 1:00:00\.$"):
        lend(print, lambda: 1)()


def test_a_job_is_counted_to_whoever_began_it() -> None:
    from gradio.context import LocalContext

    seen: list[object] = []

    def work(job: Job) -> JobState:
        seen.append(LocalContext.request.get(None))
        return JobState("done")

    request = gr.Request()
    token = LocalContext.request.set(request)
    try:
        job = Job("a visitor's", work)
    finally:
        LocalContext.request.reset(token)
    job.start().wait(10)
    assert seen == [request]


class _Started:
    """What stands for the workspace and the page: notes in which order they are asked for what."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.queued: dict[str, Any] = {}
        self.lend: object = None

    def workspace(self, *_: object, lend: object) -> _Started:
        self.lend = lend
        return self

    def load(self) -> None:
        self.order.append("load")

    def start(self) -> None:
        self.order.append("start")

    def build(self, *_: object) -> _Started:
        return self

    def queue(self, **options: Any) -> _Started:
        self.queued = options
        return self

    def launch(self, **_: object) -> None:
        self.order.append("launch")

    def block_thread(self) -> None: ...


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> _Started:
    made = _Started()
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(app.workspace, "Workspace", made.workspace)
    monkeypatch.setattr(app.studio, "build", made.build)
    monkeypatch.setattr(app.studio, "launch_options", lambda _: {})
    return made


def test_on_zero_gpu_the_model_is_loaded_before_the_page_is_served(
    spaces: Spaces, started: _Started, entry: ModuleType, tmp_path: Path
) -> None:
    asked = ["--public", "--workspace", str(tmp_path), "--port", str(free_port())]
    assert entry.main(asked) == 0
    assert started.order == ["load", "launch", "start"]
    assert started.lend is not None


def test_elsewhere_it_is_loaded_in_the_background(
    started: _Started, entry: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert entry.main(["--workspace", str(tmp_path), "--port", str(free_port())]) == 0
    assert started.order == ["launch", "start"]
    assert started.lend is None


def test_the_queue_has_room_for_many_and_an_end(
    spaces: Spaces, started: _Started, entry: ModuleType, tmp_path: Path
) -> None:
    entry.main(["--public", "--workspace", str(tmp_path), "--port", str(free_port())])
    assert started.queued == {"max_size": 64, "default_concurrency_limit": 4}


@pytest.mark.parametrize("asked", [["--public", "--training"], ["--no-public"]])
def test_nothing_trains_on_zero_gpu(
    asked: list[str],
    spaces: Spaces,
    started: _Started,
    entry: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert entry.main([*asked, "--workspace", str(tmp_path), "--port", str(free_port())]) == 2
    assert "--training" in capsys.readouterr().err
    assert started.order == []


def test_nothing_heavy_is_imported_before_the_lender() -> None:
    """`spaces` wants to be there before anything touches CUDA, and the telemetry off before Gradio is."""
    told = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='entry'); print({'torch', 'gradio'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", told, str(ENTRY)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=ENTRY.parent,
        env={**os.environ, "PYTHONPATH": str(ENTRY.parent)},
    )
    assert done.stdout.strip() == "set()"


def test_what_a_space_reads_fits_zero_gpu_and_a_new_installation() -> None:
    root = ENTRY.parent
    asked, pinned = (
        [
            Requirement(line.split("#")[0])
            for line in (root / name).read_text().splitlines()
            if line.split("#")[0]
        ]
        for name in ("requirements.txt", "constraints-zerogpu.txt")
    )
    (torch,) = (one for one in asked if one.name == "torch")
    there = {one.name: str(one.specifier).removeprefix("==") for one in pinned}
    assert torch.specifier.contains(there["torch"]), "ZeroGPU's PyTorch is within the range"
    assert torch.specifier.contains("2.13.0") and not torch.specifier.contains("2.13.1")
    assert all(str(one.specifier).startswith("==") for one in asked if one is not torch)
    head = (root / "README.md").read_text(encoding="utf-8").split("---")[1]
    assert 'python_version: "3.12.12"' in head
    (gradio,) = (one for one in asked if one.name == "gradio")
    assert f"sdk_version: {str(gradio.specifier).removeprefix('==')}\n" in head
