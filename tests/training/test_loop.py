"""The loop: learning rates, the log, and runs that stop, fail or are resumed as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ssa_me.errors import InputError
from ssa_me.training import loop
from ssa_me.training.loop import Run, fit, learning_rate, stopping_on_signals
from ssa_me.training.recipe import Schedule

QUICK = Schedule(steps=8, batch=4, learning_rate=0.1, warmup=2, weight_decay=0.1)


class Line(nn.Module):
    """Fits y = 2x on points that are drawn anew at each step. `at`: what to do at a step."""

    def __init__(self, at: dict[int, Callable[[], Tensor | None]] | None = None, width: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, width))
        self.bias = nn.Parameter(torch.ones(1))
        self.at = at or {}
        self.steps: list[int] = []

    def batch(self, step: int) -> int:
        self.steps.append(step)
        return step

    def cut(self, whole: int, chunks: int) -> list[Tensor]:
        return list(torch.randn(4, self.weight.shape[1]).chunk(chunks))

    def represent(self, part: Tensor) -> tuple[dict[str, Tensor], None]:
        return {"errors": part @ self.weight.T + self.bias - 2 * part.sum(1, keepdim=True)}, None

    def compare(self, whole: int, representations: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = representations["errors"].pow(2).mean()
        extra = self.at.get(whole, lambda: None)()
        return {"loss": loss if extra is None else loss * extra, "part": loss.detach() / 2}

    def beside(self, part: Tensor, kept: None, representations: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": torch.zeros(())}


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys() and one
    unequal = [name for name in one if not torch.equal(one[name], other[name])]
    assert not unequal


def lines_of(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


# --- schedule --------------------------------------------------------------------------------------------------------


def test_learning_rates_by_hand():
    schedule = Schedule(steps=12, learning_rate=2.0, warmup=4)
    # warm-up 1/4 … 4/4; then 0.05 + 0.475·(1 + cos πs) of the peak for s = 0, 1/8 … 7/8
    expected = {0: 0.5, 1: 1.0, 3: 2.0, 4: 2.0, 6: 2 * (0.525 + 0.475 * 0.5**0.5), 8: 1.05, 12: 0.1, 99: 0.1}
    for step, rate in expected.items():
        assert learning_rate(step, schedule) == pytest.approx(rate)
    rates = [learning_rate(step, schedule) for step in range(4, 12)]
    assert rates == sorted(rates, reverse=True) and rates[-1] > 0.1


def test_without_warm_up_or_steps_left_the_rate_is_defined():
    assert learning_rate(0, Schedule(steps=4, learning_rate=1.0, warmup=0)) == 1.0
    assert learning_rate(1, Schedule(steps=2, learning_rate=1.0, warmup=10)) == pytest.approx(0.2)
    assert learning_rate(10, Schedule(steps=10, learning_rate=1.0, warmup=10)) == 1.0


# --- training --------------------------------------------------------------------------------------------------------


def test_a_stage_learns_and_ends_in_evaluation_mode(make_run):
    line = Line()
    assert fit(
        "line", line, Schedule(steps=60, learning_rate=0.3, warmup=5, weight_decay=0.0), make_run(), False
    )
    torch.testing.assert_close(line.weight.data, torch.full((1, 3), 2.0), atol=0.1, rtol=0)
    torch.testing.assert_close(line.bias.data, torch.zeros(1), atol=0.1, rtol=0)
    assert line.steps == list(range(60)) and not line.training


def test_only_matrices_decay(make_run):
    line = Line({step: lambda: torch.zeros(()) for step in range(2)})  # without a gradient Adam only decays
    line.weight.data.fill_(1)
    fit("line", line, Schedule(steps=2, learning_rate=0.5, warmup=0, weight_decay=0.2), make_run(), False)
    rates = [0.5, 0.5 * 0.525]
    torch.testing.assert_close(
        line.weight.data, torch.full((1, 3), (1 - 0.2 * rates[0]) * (1 - 0.2 * rates[1]))
    )
    assert line.bias.item() == 1


def test_frozen_parameters_stay_and_are_not_saved(make_run):
    line, run = Line(), make_run()
    line.bias.requires_grad_(False)
    fit("line", line, QUICK, run, False)
    assert line.bias.item() == 1
    other = Line()
    with pytest.raises(InputError, match="another model or recipe: it lacks bias"):
        fit("line", other, QUICK, run, resume=True)


def test_the_log_is_one_json_object_a_line(make_run):
    said: list[str] = []
    run = make_run(said=said)
    fit("line", Line(), Schedule(steps=24, batch=4, warmup=2, learning_rate=0.1), run, False)
    lines = lines_of(run)
    assert [line["step"] for line in lines] == [10, 20, 24]
    for line in lines:
        assert line["stage"] == "line" and line["steps"] == 24
        assert line["loss"] > 0 and line["part"] == pytest.approx(line["loss"] / 2, abs=1e-5)
        assert line["samples_per_s"] > 0 and line["seconds_left"] >= 0
        assert 0 < line["learning_rate"] <= 0.1 and line["time"] > 1.6e9
    assert len(said) == 1 and said[0].startswith("line 24/24  loss ")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_state(make_run, value):
    line, run = Line({5: lambda: torch.tensor(value)}), make_run(save_every=2)
    message = f"stage line: the loss is {value} at step 5; its batch: points 5"
    with pytest.raises(ArithmeticError, match=message):
        fit("line", line, QUICK, run, False, batch=lambda step: f"points {step}")
    assert all(p.isfinite().all() for p in line.parameters())
    again, straight = Line(), Line()
    assert fit("line", again, QUICK, run, resume=True) and again.steps == [4, 5, 6, 7]
    assert fit("line", straight, QUICK, make_run("straight"), False)
    assert_equal(weights_of(again), weights_of(straight))


def test_a_gradient_that_is_not_finite_ends_the_run_too(make_run):
    line, run = Line(), make_run(save_every=2)
    line.weight.register_hook(lambda gradient: gradient * (float("nan") if len(line.steps) == 6 else 1))
    with pytest.raises(ArithmeticError, match="the gradient's norm is nan at step 5"):
        fit("line", line, QUICK, run, False)
    assert all(p.isfinite().all() for p in line.parameters())
    again = Line()
    assert fit("line", again, QUICK, run, resume=True) and again.steps == [4, 5, 6, 7]


# --- stop and resume -------------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(make_run):
    run, straight = make_run(), Line()
    stopped = Line({3: lambda: run.stop.set()})
    assert fit("line", stopped, QUICK, run, False) is False
    assert stopped.steps == [0, 1, 2, 3] and (run.folder / "line.safetensors").is_file()
    run.stop.clear()
    resumed = Line()
    assert fit("line", resumed, QUICK, run, resume=True) is True
    assert resumed.steps == [4, 5, 6, 7]
    assert fit("line", straight, QUICK, make_run("straight"), False) is True
    assert_equal(weights_of(resumed), weights_of(straight))
    assert not list(run.folder.glob("*.partial"))


def test_on_a_full_disk_the_state_before_stays(make_run, monkeypatch):
    run, save = make_run(save_every=2), loop.save_file

    def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        save(tensors, path, metadata)
        if metadata["step"] == "6":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(loop, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        fit("line", Line(), QUICK, run, False)
    assert not list(run.folder.glob("*.partial"))
    monkeypatch.undo()
    again, straight = Line(), Line()
    assert fit("line", again, QUICK, run, resume=True) and again.steps == [4, 5, 6, 7]
    assert fit("line", straight, QUICK, make_run("straight"), False)
    assert_equal(weights_of(again), weights_of(straight))


def test_a_stop_at_the_last_step_is_the_end(make_run):
    run = make_run()
    assert fit("line", Line({7: lambda: run.stop.set()}), QUICK, run, False) is True


def test_a_finished_stage_is_loaded_and_not_trained_again(make_run):
    run, first, second = make_run(), Line(), Line()
    fit("line", first, QUICK, run, False)
    assert fit("line", second, QUICK, run, resume=True) is True
    assert second.steps == [] and not second.training
    assert_equal(weights_of(first), weights_of(second))


def test_without_resume_an_old_state_is_not_touched_until_it_is_replaced(make_run):
    run, first, second = make_run(), Line(), Line()
    fit("line", first, QUICK, run, False)
    fit("line", second, QUICK, run, resume=False)
    assert second.steps == list(range(8))
    assert_equal(weights_of(first), weights_of(second))


def test_resume_without_a_state_starts_anew(make_run):
    line = Line()
    assert fit("line", line, QUICK, make_run(), resume=True) and line.steps == list(range(8))


def test_a_state_of_another_shape_is_refused(make_run):
    run = make_run()
    fit("line", Line(width=3), QUICK, run, False)
    with pytest.raises(InputError, match="weight has another shape"):
        fit("line", Line(width=4), QUICK, run, resume=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_its_state_written(make_run, number):
    before = signal.getsignal(number)
    with stopping_on_signals() as stop:
        run = make_run()
        run = Run(run.folder, run.seed, run.accelerator, run.save_every, run.report, stop)
        line = Line({2: lambda: os.kill(os.getpid(), number)})
        assert fit("line", line, QUICK, run, False) is False
    assert line.steps == [0, 1, 2]
    assert (run.folder / "line.safetensors").is_file()
    assert signal.getsignal(number) is before


def test_in_another_thread_signals_are_left_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with stopping_on_signals() as stop:
            seen.append((signal.getsignal(signal.SIGTERM) is before, stop.is_set()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, False)]


# --- the real stages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["base", "baseline", "ssa-me"])
@pytest.mark.parametrize("chunks", [1, 2])
def test_every_stage_resumes_to_the_bit(make_run, make_stage, name, chunks):
    schedule = Schedule(steps=4, batch=4, learning_rate=1e-2, warmup=1, chunks=chunks)
    straight = make_stage(name, batch=4, dropout=0.1)
    start = weights_of(straight)
    assert fit(name, straight, schedule, make_run("straight"), False)
    run, stopped = make_run("stopped"), make_stage(name, batch=4, dropout=0.1)
    draw = stopped.batch
    stopped.batch = lambda step: (run.stop.set() if step == 1 else None, draw(step))[1]
    assert fit(name, stopped, schedule, run, False) is False
    run.stop.clear()
    torch.manual_seed(12345)  # what happened in between does not matter
    resumed = make_stage(name, batch=4, dropout=0.1)
    assert fit(name, resumed, schedule, run, resume=True) is True
    assert_equal(weights_of(resumed), weights_of(straight))
    assert any(not torch.equal(start[key], value) for key, value in weights_of(straight).items())


def test_in_chunks_a_run_comes_to_the_same_weights(make_run, make_stage):
    ends = []
    for chunks in (1, 3):
        stage = make_stage("ssa-me")
        schedule = Schedule(steps=3, batch=8, learning_rate=1e-3, warmup=1, chunks=chunks)
        fit("ssa-me", stage, schedule, make_run(f"chunks {chunks}"), False)
        ends.append(weights_of(stage))
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, atol=1e-4, rtol=0, msg=lambda m, n=name: f"{n}: {m}")
