"""How long a run of adapters will take and how much memory, before it starts.

Time comes from a rate that was measured in an earlier run of the same model on the same device, else from the model's
size: a guess, and told as one. Memory comes from `plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ssa_me.checkpoint import BASELINE, SSA_ME, VERSIONS
from ssa_me.training.recipe import Recipe

FLOPS = {"cpu": 2e10, "cuda": 5e13}
"""Arithmetic a second that a training step gets out of one core of a CPU, and of a GPU: cautious round numbers."""
_PASSES = {BASELINE: 4.0, SSA_ME: 5.5}
"""Forward passes' worth of arithmetic a sample takes: image, text, questions, and backward through frozen weights."""
_FROZEN = 10.0
"""So many times an adapter's samples a second go through what is trained behind it: images and texts are read once."""
_WHOLE = ("sight", "base")
"""Stages in which all that they read learns, at half an adapter's samples a second."""
_START = 15.0
_PREPARED = 40.0
"""Seconds to start, and images a second that are decoded and seen by the vision tower (by one core)."""


@dataclass(frozen=True)
class Estimate:
    """seconds of the whole run, and by stage; `measured`: by rates of an earlier run. memory_gb: what the process needs at
    its peak, the weights included; None where the model's shape is not known."""

    seconds: float
    stages: Mapping[str, float]
    measured: bool
    memory_gb: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds),
            "stages": {name: round(value) for name, value in self.stages.items()},
            "measured": self.measured,
            "memory_gb": self.memory_gb,
        }


def estimate(
    recipe: Recipe,
    images: int,
    parameters: int,
    device: str,
    cores: int,
    tokens: int = 256,
    rates: Mapping[str, float] | None = None,
    memory: Mapping[str, Any] | None = None,
) -> Estimate:
    """Of a run of `recipe` on `images` images. tokens: of an image with its text. rates: samples a second by stage, of an earlier run; memory: `versions` of
    a plan's report."""
    power = FLOPS["cuda"] if device.startswith("cuda") else FLOPS["cpu"] * cores
    guessed = {v: power / (2.0 * parameters * tokens * _PASSES[v]) for v in VERSIONS}
    known = {v: rates[v] for v in VERSIONS if rates and rates.get(v)}
    pace = {v: known.get(v) or guessed[v] for v in VERSIONS}
    stages: dict[str, float] = {}
    for name, schedule in recipe.schedules.items():
        samples = schedule.steps * schedule.batch
        if name == "adapters":
            stages |= {v: samples / pace[v] for v in VERSIONS}
        elif samples:
            guess = guessed[BASELINE] / 2 if name in _WHOLE else _FROZEN * pace[SSA_ME]
            stages[name] = samples / ((rates or {}).get(name) or guess)
    before = _START + (images + recipe.composition.scenes + recipe.trust.scenes) * recipe.views / (
        _PREPARED * max(1, cores)
    )
    needed = [float(one["memory_gb"]["total"]) for one in (memory or {}).values()]
    return Estimate(
        seconds=before + sum(stages.values()),
        stages=stages,
        measured=len(known) == len(VERSIONS),
        memory_gb=round(max(needed), 2) if needed else None,
    )
