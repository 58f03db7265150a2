"""Trains the variants of an ablation on one corpus with one set of image tokens, and measures each.

Everything lies below one folder: `study.json` what was asked for, `evaluation/` the sets, `NAME/` a checkpoint folder a
variant with its `scores.json`, that of the whole method also with `costs.json`. What is there already is not done again,
so that a study that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ssa_me.ablation.costs import costs
from ssa_me.ablation.report import Row, report
from ssa_me.ablation.scores import GENERATED, LEAST, Sets, draw_sets, score
from ssa_me.ablation.variants import EQUAL_TIME, FULL, PLAIN, VARIANTS, Variant, longer, of_steps
from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import BASELINE, MINI, SSA_ME, VERSIONS, has_adapter
from ssa_me.devices import choose_device
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.evaluation import MODELS
from ssa_me.samples import read_image_folder
from ssa_me.training.adapter_stages import TokenCache
from ssa_me.training.data import Corpus
from ssa_me.training.loop import Run, stopping_on_signals
from ssa_me.training.recipe import Recipe, load_recipe
from ssa_me.training.run import TrainRequest, copy_backbone, make_accelerator, prepare_corpus, sources_of
from ssa_me.training.versions import Versions

Progress = Callable[[str], None]


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
    """Train and measure; returns `{"finished", "out", "recipe", "steps", "rows": […], "costs", "table": markdown}`.

    Stopped by SIGTERM or Ctrl-C it ends after the step in hand; the same call goes on. Raises InputError on bad input,
    before anything is trained.
    """
    recipe = load_recipe(request.recipe)
    if request.steps is not None:
        recipe = of_steps(recipe, _at_least("--steps", request.steps, 1))
    chosen = _chosen(request.variants)
    _check_sets(request)
    _keep_to(request, recipe)
    start = request.checkpoint or MINI
    with stopping_on_signals() as stop:
        trained = _train(request, recipe, chosen, start, stop, progress)
    if not trained:
        return {"finished": False, "out": str(request.out), "next": "stopped; the same command goes on"}
    sets = draw_sets(request.out / "evaluation", request.n, request.seed, request.photographs, progress)
    rows = [_measure(request, variant, recipe.adapters.batch, sets, progress) for variant in chosen]
    spent = next((row.costs for row in rows if row.costs is not None), None)
    return {
        "finished": True,
        "out": str(request.out),
        "recipe": recipe.name,
        "steps": recipe.adapters.steps,
        "rows": [row.to_json() for row in rows],
        **({"costs": spent} if spent is not None else {}),
        "table": report(rows, recipe.adapters.steps),
    }


def _chosen(names: Sequence[str]) -> list[Variant]:
    known = {variant.name: variant for variant in VARIANTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"There is no variant {unknown[0]!r}. Choose from: {'; '.join(known)}.")
    wanted = {PLAIN, *names} if names else set(known)
    if EQUAL_TIME in wanted:
        wanted.add(FULL)  # its time is what is equal
    return [variant for variant in VARIANTS if variant.name in wanted]


def _check_sets(request: StudyRequest) -> None:
    """Raise InputError where the evaluation sets could not be drawn or read once all is trained."""
    _at_least("--n", request.n, LEAST)
    _at_least("--seed", request.seed, 0)
    names = [*GENERATED, *(folder.name for folder in request.photographs)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(
            f"Two evaluation sets are called {twice[0]!r}. Give --photographs folders of other names."
        )
    for folder in request.photographs:
        read_image_folder(folder)


def _at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise InputError(f"{option} must be at least {least}, not {value}.")
    return value


def _keep_to(request: StudyRequest, recipe: Recipe) -> None:
    """Write down what a study is made of, or raise InputError where its folder holds a study of something else."""
    asked = {
        "recipe": dataclasses.asdict(recipe),
        "checkpoint": str((request.checkpoint or MINI).resolve()),
        "data": {folder.name: request.weights.get(folder, 1.0) for folder in request.data},
        "photographs": [folder.name for folder in request.photographs],
        "n": request.n,
        "seed": request.seed,
    }
    asked = json.loads(json.dumps(asked))  # as it is read again: lists for tuples
    file = request.out / "study.json"
    if not file.is_file():
        request.out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
        return
    kept = json.loads(file.read_text(encoding="utf-8"))
    other = [key for key in asked if kept.get(key) != asked[key]]
    if other:
        raise InputError(
            f"{request.out} holds a study with another {other[0]}. Give a new folder to --out, or ask as {file} says."
        )


def _train(
    request: StudyRequest,
    recipe: Recipe,
    chosen: Sequence[Variant],
    start: Path,
    stop: threading.Event,
    progress: Progress,
) -> bool:
    """Train what is missing; False when stopped."""
    missing = [v for v in chosen if v.version and not has_adapter(request.out / slug(v.name), v.version)]
    if missing:
        device = choose_device(request.device)
        wanted = TrainRequest(request.data, request.out, request.recipe, start, weights=request.weights)
        sources = sources_of(wanted, recipe)
        if not sources:
            raise InputError("There is nothing to train on. Give --data, or a recipe with generated scenes.")
        backbone = Backbone.load(start, device.device, torch.float32)
        corpus = prepare_corpus(sources, backbone, progress)
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
    finished = versions.train(variant.version, recipe, folder, resume=True)
    for state in run.folder.glob("*.safetensors") if finished else ():
        state.unlink()
    return finished


def _dearness(out: Path) -> float:
    """The time of a step of SSA-ME over that of the baseline, as this study measured both."""
    full, plain = (_pace(out / slug(name)) for name in (FULL, PLAIN))
    assert full is not None and plain is not None
    return plain / full


def _pace(folder: Path) -> float | None:
    """The samples a second of a variant's adapter: the median of what its log says, which other work on the machine moves
    least; None where nothing was trained."""
    log = folder / "training" / "log.jsonl"
    if not log.is_file():
        return None
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    adapter = [line for line in lines if line["stage"] in VERSIONS and "samples_per_s" in line]
    return statistics.median(float(line["samples_per_s"]) for line in adapter)


def _complete(folder: Path, plain: Path, start: Path) -> None:
    """Make a whole checkpoint of a variant's folder: the backbone, and the study's baseline where it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "config.json").is_file():
        copy_backbone(start, folder)
    if not has_adapter(folder, BASELINE):
        shutil.copytree(plain / BASELINE, folder / BASELINE, dirs_exist_ok=True)


def _measure(request: StudyRequest, variant: Variant, batch: int, sets: Sets, progress: Progress) -> Row:
    folder = request.out / slug(variant.name)
    whole = variant.name == FULL
    names = list(MODELS) if whole else list(dict.fromkeys((BASELINE, variant.version or SSA_ME)))
    models = [MODELS[name] for name in names]

    def embedder() -> SalientEmbedder:
        return SalientEmbedder.load(folder, request.device)

    def measured() -> dict[str, Any]:
        progress(f"measuring {variant.name}")
        return score(embedder(), sets, models, request.out / "cache", progress)

    scores = _kept(folder / "scores.json", measured)
    spent = None
    if whole:
        spent = _kept(folder / "costs.json", lambda: costs(sets.scenes, embedder(), models, progress))
    pace = _pace(folder)
    seconds = None if pace is None else batch / pace
    return Row(variant, scores, tuple(path.name for path in request.photographs), seconds, spent)


def _kept(file: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `file` holds, else what `measure` finds, written there."""
    if not file.is_file():
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(measure()) + "\n", encoding="utf-8")
        partial.replace(file)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def slug(name: str) -> str:
    """The folder of a variant."""
    return name.replace(",", "").replace(" ", "-")
