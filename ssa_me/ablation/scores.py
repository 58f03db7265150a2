"""What a variant is measured by: binding, retrieval, localisation and modality neglect, beside the baseline's scores.

It reads a checkpoint folder and evaluation sets; it trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssa_me.embedder import SalientEmbedder
from ssa_me.evaluation import evaluate, parse_models, run_mmeb
from ssa_me.evaluation.neglect import run_neglect
from ssa_me.scenes import EVALUATION_SEED, write_binding, write_scenes
from ssa_me.scenes.binding import TASKS
from ssa_me.scenes.neglect import write_neglect

Progress = Callable[[str], None]
Scores = dict[str, Any]


_SCENES_APART = 100_000


@dataclass(frozen=True)
class Sets:
    """Where the evaluation sets lie. photographs: ImageFolder sets given by the user, perhaps none."""

    scenes: Path
    binding: Path
    neglect: Path
    photographs: tuple[Path, ...]


def draw_sets(folder: Path, n: int, seed: int, photographs: Sequence[Path], progress: Progress) -> Sets:
    """Generate `n` scenes, `n` queries of each binding task and `n` scenes of the neglect task below `folder`; what is
    there already is kept. Their seeds are those of evaluation."""
    sets = Sets(folder / "scenes", folder / "binding", folder / "neglect", tuple(photographs))
    if not (sets.scenes / "metadata.jsonl").is_file():
        progress("drawing scenes")
        write_scenes(sets.scenes, n, EVALUATION_SEED + seed * _SCENES_APART)
    if not (sets.binding / f"{TASKS[-1]}.jsonl").is_file():
        progress("drawing binding tasks")
        write_binding(sets.binding, n, seed)
    if not (sets.neglect / "neglect.jsonl").is_file():
        progress("drawing the neglect task")
        write_neglect(sets.neglect, n, seed)
    return sets


def score(checkpoint: Path, sets: Sets, names: str, device: str, cache: Path, progress: Progress) -> Scores:
    """The results of `mmeb`, `evaluate` and `neglect` for the models `names` of a checkpoint, by set."""
    embedder = SalientEmbedder.load(checkpoint, device)
    models = parse_models(names)
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
