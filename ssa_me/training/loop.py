"""One stage of optimisation: steps, log, checkpoints, resume. It knows nothing of what the losses mean.

A stage's state is one safetensors file (weights, Adam's moments) that carries its step, written whole or not at all.
Everything random in a step comes from seed and step, so that a resumed run equals an uninterrupted one. One process and
several run the same code: gradients are averaged by `processes`, so that no wrapper stands around a stage.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ssa_me.errors import InputError
from ssa_me.training import processes
from ssa_me.training.gradcache import Contrast, Losses, cached_step, plain_step
from ssa_me.training.recipe import Schedule

_LOG_EVERY = 10
_APART = 7_919_000_033  # between the seeds of two processes, whose dropout is not the same

Describe = Callable[[int], str]
"""What a step's batch is made of, in words."""


@dataclass(frozen=True)
class Watch:
    """What is measured beside the training, at step 0 of a stage, then `every` so many steps, and at its end. `measure`
    gets no gradient and changes nothing that a step depends on; its numbers go into the log."""

    every: int
    measure: Callable[[], Mapping[str, float]]


class Stage(Contrast[Any, Any, Any], Protocol):
    """What is trained: an `nn.Module` whose steps fall into parts."""

    def batch(self, step: int) -> Any:
        """A whole step, the same in every process, drawn from its number."""

    def cut(self, whole: Any, chunks: int) -> Sequence[Any]:
        """This process's share of it, cut into at most `chunks` parts."""


@dataclass(frozen=True)
class Run:
    """What all stages of a run share. `folder` holds the log and the states; `report` shows a line to the user.

    Of several processes the first one writes and reports.
    """

    folder: Path
    seed: int
    accelerator: Accelerator
    save_every: int
    report: Callable[[str], None]
    stop: threading.Event

    @property
    def first(self) -> bool:
        return processes.own() == 0

    def log(self, entry: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"time": round(time.time(), 3)} | entry) + "\n")


@contextmanager
def stopping_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, so that a run ends at a step with its checkpoint written."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    old = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def fit(
    name: str,
    stage: Stage,
    schedule: Schedule,
    run: Run,
    resume: bool,
    batch: Describe = str,
    watch: Watch | None = None,
) -> bool:
    """Train `stage` for `schedule.steps`; True when it came to its end, False when it was stopped (state is saved).

    `batch` names what a step saw. Raises ArithmeticError on a
    loss or gradient that is not finite, naming stage, step and batch; weights and state are then those before the step.
    """
    assert isinstance(stage, nn.Module)
    stage.to(run.accelerator.device).train()
    named = {key: p for key, p in stage.named_parameters() if p.requires_grad}
    optimizer = _optimizer(named, schedule)
    state = run.folder / f"{name}.safetensors"
    first = _load_state(state, named, optimizer) if resume and state.is_file() else 0
    processes.same_start(p.data for p in named.values())
    if watch is not None and first == 0:
        _measure(name, 0, stage, schedule, watch, run)
    clock = time.perf_counter()
    for step in range(first, schedule.steps):
        torch.manual_seed(run.seed * 1_000_003 + step + processes.own() * _APART)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, schedule)
        losses = _gradients(stage, step, schedule.chunks, run.accelerator)
        processes.mean_gradients(named.values())
        norm = run.accelerator.clip_grad_norm_(list(named.values()), schedule.clip)
        stopping = _agree(name, step, losses, norm, run, batch)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done = step + 1
        if done % _LOG_EVERY == 0 or done == schedule.steps:
            rate = schedule.batch * (done - first) / (time.perf_counter() - clock)
            _report(name, done, schedule, rate, losses, run)
        if watch is not None and (done % watch.every == 0 or done == schedule.steps):
            clock += _measure(name, done, stage, schedule, watch, run)
        if done % run.save_every == 0 or done == schedule.steps or stopping:
            if run.first:
                _save_state(state, named, optimizer, done)
            processes.wait()
        if stopping and done < schedule.steps:
            return False
    stage.eval()
    return True


def _optimizer(named: Mapping[str, nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    decayed = [p for p in named.values() if p.ndim > 1]
    plain = [p for p in named.values() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=schedule.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def _gradients(stage: Stage, step: int, chunks: int, accelerator: Accelerator) -> Losses:
    """Leave the gradient of a step in the parameters, and return its losses."""
    whole = stage.batch(step)
    parts = stage.cut(whole, chunks)
    means = (processes.gather, accelerator.backward, accelerator.autocast)
    with _attention_kernel(accelerator.device):  # the backward pass may compute layers again
        if chunks == 1:
            return plain_step(stage, whole, parts[0], *means)
        return cached_step(stage, whole, parts, *means)


def _agree(
    name: str, step: int, losses: Mapping[str, Tensor], norm: Tensor | None, run: Run, batch: Describe
) -> bool:
    """Whether any process has been told to stop. ArithmeticError where loss or gradient of any are not finite."""
    loss, size = losses["loss"].float(), torch.zeros(()) if norm is None else norm
    told = torch.stack([loss, size.to(loss), torch.tensor(float(run.stop.is_set())).to(loss)])
    loss_of_all, gradient, stop = processes.mean(told).tolist()
    for what, value in (("loss", loss_of_all), ("gradient's norm", gradient)):
        if not math.isfinite(value):
            raise ArithmeticError(
                f"stage {name}: the {what} is {value} at step {step}; its batch: {batch(step)}"
            )
    return stop > 0


def _report(
    name: str, done: int, schedule: Schedule, rate: float, losses: Mapping[str, Tensor], run: Run
) -> None:
    """A line in the log, and now and then one for the user."""
    told = processes.gather_objects([{key: float(value) for key, value in losses.items()}])
    if not run.first:
        return
    keys = dict.fromkeys(key for one in told for key in one)
    values = {key: round(sum(one.get(key, 0.0) for one in told) / len(told), 5) for key in keys}
    left = (schedule.steps - done) * schedule.batch / rate
    entry: dict[str, Any] = {"stage": name, "step": done, "steps": schedule.steps}
    entry |= {"samples_per_s": round(rate, 1)} | values
    entry |= {"learning_rate": learning_rate(done - 1, schedule), "seconds_left": round(left)}
    run.log(entry)
    if done % (5 * _LOG_EVERY) == 0 or done == schedule.steps:
        shown = "  ".join(f"{key} {value:.3f}" for key, value in values.items())
        run.report(f"{name} {done}/{schedule.steps}  {shown}  {rate:.0f} samples/s  {left / 60:.1f} min left")


def _measure(name: str, done: int, stage: Stage, schedule: Schedule, watch: Watch, run: Run) -> float:
    """A line of what is watched in the log; returns the seconds that it took, which are none of the training's."""
    assert isinstance(stage, nn.Module)
    started = time.perf_counter()
    if run.first:
        stage.eval()
        with torch.no_grad(), run.accelerator.autocast():
            found = {key: round(float(value), 5) for key, value in watch.measure().items()}
        stage.train()
        run.log({"stage": name, "step": done, "steps": schedule.steps, "held_out": found})
    return time.perf_counter() - started


@contextmanager
def _attention_kernel(device: torch.device) -> Iterator[None]:
    """On a CPU the fused kernel's backward pass is far slower than plain matrix products."""
    if device.type != "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield


def learning_rate(step: int, schedule: Schedule) -> float:
    """Linear warm-up from 0, then a cosine from the peak towards 5 % of it, which the step after the last would have."""
    if step < schedule.warmup:
        return schedule.learning_rate * (step + 1) / schedule.warmup
    share = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    return schedule.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def _save_state(
    path: Path, named: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, step: int
) -> None:
    tensors: dict[str, Tensor] = {}
    for key, parameter in named.items():
        tensors[f"weight/{key}"] = parameter.detach().contiguous()
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}/{key}"] = value.detach().clone().contiguous()
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial, metadata={"step": str(step)})
        partial.replace(path)
    except (OSError, SafetensorError):  # a full disk: the state before stays
        partial.unlink(missing_ok=True)
        raise


def _load_state(path: Path, named: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> int:
    with safe_open(path, framework="pt") as file:
        keys = set(file.keys())
        missing = [key for key in named if f"weight/{key}" not in keys]
        if missing:
            raise InputError(
                f"{path} is of another model or recipe: it lacks {missing[0]}. Train into a new folder."
            )
        for key, parameter in named.items():
            value = file.get_tensor(f"weight/{key}")
            if value.shape != parameter.shape:
                raise InputError(
                    f"{path} is of another model or recipe: {key} has another shape. Use a new folder."
                )
            parameter.data.copy_(value)
            moments = {m: f"{m}/{key}" for m in ("step", "exp_avg", "exp_avg_sq")}
            if moments["exp_avg"] in keys:
                optimizer.state[parameter] = {
                    m: file.get_tensor(stored).to(parameter.device) for m, stored in moments.items()
                }
        return int(file.metadata()["step"])
