"""Trains the variants of an ablation on one corpus with one set of image tokens, and measures each.

Everything lies below one folder: `evaluation/` the sets, `NAME/` a checkpoint folder a variant with its `scores.json`. What is
there already is not done again, so that a study that was stopped goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ssa_me.ablation.report import RANKINGS, Row, report
from ssa_me.ablation.scores import Scores, Sets, draw_sets, score
from ssa_me.ablation.variants import FULL, PLAIN, VARIANTS, Variant, longer
from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import BASELINE, MINI, SSA_ME, has_adapter
from ssa_me.devices import choose_device
from ssa_me.errors import InputError
from ssa_me.training.adapter_stages import TokenCache
from ssa_me.training.data import Corpus
from ssa_me.training.loop import Run, stopping_on_signals
from ssa_me.training.recipe import Recipe, load_recipe
from ssa_me.training.run import TrainRequest, copy_backbone, make_accelerator, prepare_corpus, sources_of
from ssa_me.training.versions import Versions

Progress = Callable[[str], None]
EQUAL_TIME = "baseline, equal time"


@dataclass(frozen=True)
class StudyRequest:
    """What the `ablate` command asks for. data, weights: as in training. photographs: held-out sets to measure on. n: size
    of each generated set. steps: of each adapter, instead of the recipe's. variants: names; none means all."""

    recipe: str | Path
    data: tuple[Path, ...]
    out: Path
    checkpoint: Path | None = None
    photographs: tuple[Path, ...] = ()
    device: str = "auto"
    n: int = 200
    seed: int = 7
    steps: int | None = None
    variants: tuple[str, ...] = ()
    weights: Mapping[Path, float] = field(default_factory=dict)


def run_study(request: StudyRequest, progress: Progress) -> dict[str, Any]:
    """Train and measure; returns `{"recipe", "steps", "rows": […], "table": markdown}`.

    Stopped by SIGTERM or Ctrl-C it ends after the step in hand; the same call goes on. Raises InputError on bad input.
    """
    recipe = _shortened(load_recipe(request.recipe), request.steps)
    chosen = _chosen(request.variants)
    start = request.checkpoint or MINI
    request.out.mkdir(parents=True, exist_ok=True)
    with stopping_on_signals() as stop:
        trained = _train(request, recipe, chosen, start, stop, progress)
    if not trained:
        return {"finished": False, "out": str(request.out), "next": "stopped; the same command goes on"}
    sets = draw_sets(request.out / "evaluation", request.n, request.seed, request.photographs, progress)
    rows = [_measure(request, variant, sets, progress) for variant in chosen]
    return {
        "finished": True,
        "out": str(request.out),
        "recipe": recipe.name,
        "steps": recipe.adapters.steps,
        "rows": [row.to_json() for row in rows],
        "table": report(rows, recipe.adapters.steps),
    }


def _chosen(names: Sequence[str]) -> list[Variant]:
    known = {variant.name: variant for variant in VARIANTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"There is no variant {unknown[0]!r}. Choose from: {'; '.join(known)}.")
    wanted = dict.fromkeys((PLAIN, *names)) if names else dict.fromkeys(known)
    if EQUAL_TIME in wanted:
        wanted |= {FULL: None}  # its time is what is equal
    return [known[name] for name in known if name in wanted]


def _shortened(recipe: Recipe, steps: int | None) -> Recipe:
    if steps is None:
        return recipe
    if steps < 1:
        raise InputError(f"--steps must be at least 1, not {steps}.")
    return replace(recipe, adapters=replace(recipe.adapters, steps=steps))


def _train(
    request: StudyRequest,
    recipe: Recipe,
    chosen: Sequence[Variant],
    start: Path,
    stop: Any,
    progress: Progress,
) -> bool:
    """Train what is missing; False when stopped."""
    missing = [v for v in chosen if v.version and not _is_trained(request.out / slug(v.name), v.version)]
    if missing:
        device = choose_device(request.device)
        wanted = TrainRequest(request.data, request.out, request.recipe, start, weights=request.weights)
        backbone = Backbone.load(start, device.device, torch.float32)
        corpus = prepare_corpus(sources_of(wanted, recipe), backbone, progress)
        progress("computing image tokens")
        cache = TokenCache.of(corpus, backbone)
        accelerator = make_accelerator(recipe, device)
        for variant in sorted(missing, key=lambda v: v.name == EQUAL_TIME):
            folder = request.out / slug(variant.name)
            run = Run(folder / "training", recipe.seed, accelerator, recipe.save_every, progress, stop)
            run.folder.mkdir(parents=True, exist_ok=True)
            changed = longer(_dearness(request.out)) if variant.name == EQUAL_TIME else variant.change
            if not _train_one(variant, changed(recipe), folder, start, run, corpus, cache):
                return False
    for variant in chosen:
        _complete(request.out / slug(variant.name), request.out / slug(PLAIN), start)
    return True


def _train_one(
    variant: Variant, recipe: Recipe, folder: Path, start: Path, run: Run, corpus: Corpus, cache: TokenCache
) -> bool:
    assert variant.version is not None
    run.report(f"{variant.name}: {recipe.adapters.steps} steps")
    adapters = Adapters(Backbone.load(start, run.accelerator.device, torch.float32))
    versions = Versions(adapters, corpus, cache, run, f"Ablation: {variant.says}.")
    began = time.perf_counter()
    finished = versions.train(variant.version, recipe, folder, resume=True)
    seconds = (time.perf_counter() - began) / max(1, recipe.adapters.steps)
    if finished:
        (folder / "training" / "seconds_a_step").write_text(f"{seconds:.4f}\n", encoding="utf-8")
    return finished


def _dearness(out: Path) -> float:
    """The time of a step of SSA-ME over that of the baseline, as this study measured both."""
    full, plain = (
        float((out / slug(name) / "training" / "seconds_a_step").read_text(encoding="utf-8"))
        for name in (FULL, PLAIN)
    )
    return full / plain


def _is_trained(folder: Path, version: str) -> bool:
    return has_adapter(folder, version)


def _complete(folder: Path, plain: Path, start: Path) -> None:
    """Make a whole checkpoint of a variant's folder: the backbone, and the study's baseline where it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "config.json").is_file():
        copy_backbone(start, folder)
    if not has_adapter(folder, BASELINE):
        shutil.copytree(plain / BASELINE, folder / BASELINE, dirs_exist_ok=True)


def _measure(request: StudyRequest, variant: Variant, sets: Sets, progress: Progress) -> Row:
    folder = request.out / slug(variant.name)
    kept = folder / "scores.json"
    if kept.is_file():
        scores: Scores = json.loads(kept.read_text(encoding="utf-8"))
    else:
        progress(f"measuring {variant.name}")
        names = ",".join(RANKINGS) if variant.name == FULL else _models_of(variant)
        scores = score(folder, sets, names, request.device, request.out / "cache", progress)
        kept.write_text(json.dumps(scores) + "\n", encoding="utf-8")
    photographs = tuple(path.name for path in request.photographs)
    return Row(variant, scores, photographs, _seconds(folder))


def _models_of(variant: Variant) -> str:
    return BASELINE if variant.version == BASELINE else f"{BASELINE},{SSA_ME}"


def _seconds(folder: Path) -> float | None:
    path = folder / "training" / "seconds_a_step"
    return float(path.read_text(encoding="utf-8")) if path.is_file() else None


def slug(name: str) -> str:
    """The folder of a variant."""
    return name.replace(",", "").replace(" ", "-")
