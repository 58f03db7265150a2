"""Two processes of `accelerate launch` train what one trains; a process that is told to end leaves its state."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssa_me.training import TrainRequest, run

ROOT = Path(__file__).resolve().parents[2]
ALONE = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def command(recipe: Path, out: Path, *options: str) -> list[str]:
    return ["-m", "ssa_me", "train", "--recipe", str(recipe), "--out", str(out), "--device", "cpu", *options]


def start(*arguments: str) -> subprocess.Popen:
    environment = os.environ | ALONE
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def recipe(tmp_path: Path, recipe_text: str) -> Path:
    """A batch of two families of four, so that each process has one of its own; dropout is drawn anew by each."""
    path = tmp_path / "tiny.toml"
    path.write_text(recipe_text.replace("batch = 4", "batch = 8"), encoding="utf-8")
    return path


def test_two_processes_come_to_the_weights_of_one(recipe, tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", free_port()]
    together = start(*launch, *command(recipe, tmp_path / "two"))
    run(TrainRequest((), tmp_path / "one", recipe, device="cpu"), lambda _: None)
    _, said = together.communicate(timeout=240)
    assert together.returncode == 0, said[-3000:]
    logs = [
        [json.loads(line) for line in (tmp_path / name / "training" / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    # the first process alone writes
    assert [line["stage"] for line in logs[1]] == ["base", "baseline", "ssa-me", "composition", "trust"]
    for one, two in zip(*logs, strict=True):
        parts = one.keys() - {"time", "samples_per_s", "seconds_left"}
        assert {key: two[key] for key in parts} == pytest.approx({key: one[key] for key in parts}, abs=2e-4)
    for path in (tmp_path / "one").rglob("*.safetensors"):
        expected, found = load_file(path), load_file(tmp_path / "two" / path.relative_to(tmp_path / "one"))
        for key, value in expected.items():
            # in 16 bits a last place is 1/128 of a value
            torch.testing.assert_close(
                found[key].float(), value.float(), atol=2e-5, rtol=1e-2, msg=f"{path.name} {key}"
            )


def test_a_run_that_is_told_to_end_leaves_its_state_and_goes_on_from_there(recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace("steps = 2", "steps = 2000", 1))
    out = tmp_path / "out"
    process = start(*command(recipe, out, "--json"))
    state, deadline = out / "training" / "base.safetensors", time.monotonic() + 120
    while not state.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    answer, said = process.communicate(timeout=60)
    assert process.returncode != 0 and json.loads(answer)["finished"] is False, said[-3000:]
    steps = int(_step_of(state))
    assert 0 < steps < 2000 and not list((out / "training").glob("*.partial"))
    recipe.write_text(recipe.read_text().replace("steps = 2000", f"steps = {steps + 1}"))
    assert run(TrainRequest((), out, recipe, device="cpu", resume=True), lambda _: None)["finished"]


def _step_of(state: Path) -> str:
    from safetensors import safe_open

    with safe_open(state, framework="pt") as file:
        return file.metadata()["step"]
