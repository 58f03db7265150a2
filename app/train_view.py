"""What the Train tab's widgets are given: plain JSON of data sets, recipes, runs and versions. Knows no page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.jobs import Job as Task
from app.permissions import Allowed
from app.run_plan import RECIPES, WEIGHTS
from app.training import Training, going_on, log_path
from ssa_me.jobs import Job, TrainingLog, tail
from ssa_me.jobs.logs import Curve, read_log

if TYPE_CHECKING:
    from ssa_me.shelf import ModelVersion

Json = dict[str, Any]

TITLES = {"fast": "Fast", "balanced": "Balanced", "full": "Full"}
STAGES = {
    "sight": "Sight",
    "base": "Backbone",
    "baseline": "Baseline",
    "ssa-me": "SSA-ME",
    "salience": "Salience",
    "composition": "Subjects",
    "trust": "Trust in subjects",
}
LOSSES = {
    "loss": "All together",
    "nce": "Text against image",
    "composed": "Question and image",
    "claimed": "True or false caption",
    "attention": "Attention on the regions",
    "asked_attention": "Attention when asked",
    "subject": "Phrase against subject",
    "misalignment": "Wrong region wins",
    "claimed_phrase": "True or false phrase",
    "twin": "Text against twins",
    "bind": "Codes of subjects",
    "bind_answer": "Codes of answers",
    "relation": "Relations between subjects",
    "head": "Salience head",
    "named_head": "Salience head, named",
    "answer": "Answers",
    "region": "Regions and phrases",
    "named": "Phrases as texts",
}
MEASURES = {
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "ndcg@10": "nDCG@10",
    "pointing_game": "pointing game",
}
_TAIL = 30


def task_view(task: Task | None) -> Json | None:
    """A check or an import as it stands."""
    if task is None:
        return None
    state = task.state
    return {"name": task.name, "phase": state.phase, "message": state.message, "fraction": state.fraction, "result": state.result}  # fmt: skip


def form_view(training: Training, allowed: Allowed, galleries: Sequence[Any], closed: str) -> Json:
    """Everything that a run is chosen by."""
    sets = training.data.sets()
    return {
        "allowed": vars(allowed),
        "closed": closed,
        "sets": [one.to_json() | {"images": one.images} for one in sets],
        "galleries": [{"id": card.id, "name": card.name, "count": card.count} for card in galleries],
        "annotations": training.data.has_annotations,
        "check": task_view(training.data.check),
        "recipes": [recipe_view(name) for name in RECIPES],
        "versions": [{"id": one.id, "name": one.name} for one in training.shelf.versions()],
        "quotas": vars(training.quotas),
    }


def recipe_view(name: str) -> Json:
    """A recipe with what it says of itself and what can be adjusted."""
    from ssa_me.training.recipe import explain_recipe, load_recipe

    recipe = load_recipe(name)
    lora = recipe.adapters
    weights = {key: vars(recipe.objectives)[key] for key in WEIGHTS}
    return {
        "name": name,
        "title": TITLES[name],
        "text": explain_recipe(name),
        "steps": lora.steps,
        "batch": lora.batch,
        "chunks": lora.chunks,
    } | weights


def board_view(training: Training, allowed: Allowed, chosen: str | None, version: str | None) -> Json:
    """All runs, the one that is looked at with its log, and all versions, with one's before and after."""
    jobs = training.queue.jobs()
    shown = next((job for job in jobs if job.id == chosen), None) or latest(jobs)
    versions = training.shelf.versions()
    names = {one.id: one.name for one in versions}
    with_result = [one for one in versions if one.results.get("before_after")]
    looked_at = next((one for one in with_result if one.id == version), None)
    looked_at = looked_at or (with_result[-1] if with_result else None)
    return {
        "allowed": vars(allowed),
        "jobs": [job_view(job, names) for job in reversed(jobs)],
        "shown": run_view(shown) if shown is not None else None,
        "versions": [version_view(one, names) for one in versions],
        "in_use": training.shelf.in_use(),
        "result": comparison_view(looked_at) if looked_at is not None else None,
        "sets": [{"id": one.id, "name": one.name} for one in training.data.sets()],
        "importing": task_view(training.importing),
        "going_on": any(going_on(job) for job in jobs),
    }


def latest(jobs: Sequence[Job]) -> Job | None:
    """The run that is worth looking at first: the one that runs, else the newest."""
    runs = [job for job in jobs if job.kind == "train"]
    running = [job for job in runs if job.phase == "running"]
    return next(iter(running or runs[::-1]), None)


def job_view(job: Job, names: Mapping[str, str]) -> Json:
    log = read_log(log_path(job)) if job.kind == "train" else TrainingLog()
    told = {
        key: job.details.get(key)
        for key in ("recipe", "steps", "batch", "start_name", "version", "kept", "trouble")
    }
    return (
        told
        | {
            "id": job.id,
            "kind": job.kind,
            "name": job.name,
            "phase": job.phase,
            "wish": job.wish,
            "reason": job.reason,
            "data": (job.details.get("data") or {}).get("name"),
            "made": names.get(str(job.details.get("version"))),
            "resumable": job.phase in ("paused", "stopped", "interrupted", "failed"),
            "keepable": job.phase in ("paused", "stopped") and (job.folder / "out" / "config.json").is_file(),
        }
        | progress_of(job, log)
    )


def progress_of(job: Job, log: TrainingLog) -> Json:
    """Where a run is: both adapters have the same steps, one after the other, so that the rest can be told; what is trained
    behind SSA-ME's takes a tenth of that each, the salience head and the codes where they are trained."""
    total = int(job.details.get("steps") or 0)
    based = log.rates.get("base") or log.stage == "base"
    behind = [one for one in ("salience", "composition") if log.rates.get(one) or log.stage == one]
    parts = ({"base": 1.0} if based else {}) | {"baseline": 1.0, "ssa-me": 1.0}
    parts |= dict.fromkeys([*behind, "trust"], 0.1)
    order = [*parts]
    at = order.index(log.stage) if log.stage in order else 0
    done = sum(parts[name] for name in order[:at])
    fraction = None
    if log.steps and log.stage in order:
        fraction = (done + parts[log.stage] * log.step / log.steps) / sum(parts.values())
    left = log.seconds_left
    if left is not None and log.stage in order and log.rates.get(str(log.stage)):
        batch = int(job.details.get("batch") or 0)
        ahead = sum(parts[name] for name in order[at + 1 :])
        left += ahead * total * batch / (log.rates[str(log.stage)] / 1.2)
    return {
        "stage": STAGES.get(str(log.stage)),
        "step": log.step,
        "of": log.steps,
        "fraction": 1.0 if job.phase == "done" else fraction,
        "rate": log.rates.get(str(log.stage)),
        "left": left if job.phase == "running" else None,
    }


def run_view(job: Job) -> Json:
    """The run that is looked at: its losses as small curves, and the last lines that it said."""
    log = read_log(log_path(job))
    return {
        "id": job.id,
        "name": job.name,
        "losses": [
            {"name": LOSSES.get(name, name), "series": {c.stage: [list(p) for p in c.points] for c in curves}}
            for name, curves in _by_name(log.losses).items()
            if name != "loss"
        ],
        "tail": tail(job.folder / "stderr.txt", _TAIL),
    }


def rows(curves: Sequence[Curve], name: str) -> list[tuple[int, float, str]]:
    """One number's curves as rows (step, value, model), as a plot takes them."""
    return [
        (step, value, STAGES.get(curve.stage, curve.stage))
        for curve in curves
        if curve.name == name
        for step, value in curve.points
    ]


def _by_name(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve.name, []).append(curve)
    return found


def version_view(version: ModelVersion, names: Mapping[str, str]) -> Json:
    return {
        "id": version.id,
        "name": version.name,
        "origin": version.origin,
        "created": version.created,
        "parent": version.parent,
        "parent_name": names.get(str(version.parent)),
        "fingerprints": dict(version.fingerprints),
        "data": version.data,
        "recipe": version.recipe,
        "unfinished": [STAGES[name] for name in version.unfinished],
        "compared": bool(version.results.get("before_after")),
        "url": f"studio/version/{version.id}",
    }


def comparison_view(version: ModelVersion) -> Json:
    """The before/after of a version: a row a measure, baseline and SSA-ME beside each other, and what moved."""
    found = version.results["before_after"]
    table = []
    for measure, title in MEASURES.items():
        row: Json = {"measure": title}
        for model in ("baseline", "ssa-me"):
            gap = found["difference"].get(model, {}).get(measure)
            if gap is not None:
                row[model] = {"before": _of(found["before"][model], measure), "after": _of(found["after"][model], measure)} | gap  # fmt: skip
        if len(row) > 1:
            table.append(row)
    about = {
        key: found.get(key) for key in ("images", "queries", "regions", "split", "before_name", "after_name")
    }
    return {"id": version.id, "after": version.name, "before": found.get("names", {}).get("before"), "table": table, "moves": found.get("moves", [])[:40]} | about  # fmt: skip


def _of(scores: Mapping[str, Any], measure: str) -> float | None:
    return scores.get(measure) if measure == "pointing_game" else scores["text_to_image"].get(measure)
