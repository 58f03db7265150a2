"""What a variant is measured by: binding, retrieval, localisation and modality neglect, beside the baseline's scores.

It knows an embedder and evaluation sets; it trains nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssa_me.embedder import SalientEmbedder
from ssa_me.evaluation import evaluate, run_mmeb
from ssa_me.evaluation.models import Model
from ssa_me.evaluation.neglect import run_neglect
from ssa_me.scenes import EVALUATION_SEED, write_binding, write_scenes
from ssa_me.scenes.neglect import write_neglect

Progress = Callable[[str], None]
Scores = dict[str, Any]
_SCENES_APART = 100_000
GENERATED = ("binding", "scenes", "neglect")
"""Names of the generated sets, beside which photographs stand under the names of their folders."""


LEAST = 4
"""The least size of generated sets: the neglect task needs two groups of three scenes."""


@dataclass(frozen=True)
class Sets:
    """Where the evaluation sets lie. photographs: ImageFolder sets given by the user, perhaps none."""

    scenes: Path
    binding: Path
    neglect: Path
    photographs: tuple[Path, ...]


def draw_sets(folder: Path, n: int, seed: int, photographs: Sequence[Path], progress: Progress) -> Sets:
    """Generate `n` scenes, `n` queries of each binding task and `n` scenes of the neglect task, whose colours are shared, below
    `folder`; what is there already is kept. Their seeds are those of evaluation."""
    sets = Sets(folder / "scenes", folder / "binding", folder / "neglect", tuple(photographs))
    first = EVALUATION_SEED + seed * _SCENES_APART
    _draw(sets.scenes, lambda out: write_scenes(out, n, first), progress)
    _draw(sets.binding, lambda out: write_binding(out, n, seed), progress)
    _draw(sets.neglect, lambda out: write_neglect(out, n, seed, colours="shared"), progress)
    return sets


def _draw(folder: Path, write: Callable[[Path], object], progress: Progress) -> None:
    """Have `folder` written, whole or not at all, unless it is there."""
    if folder.is_dir():
        return
    progress(f"drawing {folder.name}")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write(partial)
    partial.replace(folder)


def score(
    embedder: SalientEmbedder, sets: Sets, models: Sequence[Model], cache: Path, progress: Progress
) -> Scores:
    """The results of `mmeb`, `evaluate` and `neglect` for some models of a checkpoint, by set."""
    plain = tuple(model for model in models if model.ranking == "vector")
    found: Scores = {"binding": run_mmeb(sets.binding, embedder, models, progress=progress, cache=cache)}
    found["scenes"] = evaluate(sets.scenes, embedder, plain, "all", progress=progress)
    for folder in sets.photographs:
        found[folder.name] = evaluate(folder, embedder, plain, "all", progress=progress)
    found["neglect"] = run_neglect(sets.neglect, embedder, plain, progress=progress)
    return found


def at(scores: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What stands at `path`, or None where something on the way is missing."""
    value: Any = scores
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value
