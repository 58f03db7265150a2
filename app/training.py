"""What the Train tab asks of a workspace: data, runs and their curves, versions. Knows no page and loads no model itself.

Runs are processes of their own (`ssa_me.jobs`), so that they outlive page and program. Every value is checked here, since
any can come from a forged request; whether a visitor may ask for it (`permissions`) is the caller's to check.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.datasets import DataSets, Validated
from app.jobs import Job as Task
from app.jobs import JobState
from app.run_plan import RECIPES, WEIGHTS, Plan, Quotas, adjusted
from ssa_me.errors import InputError
from ssa_me.jobs import Job, JobQueue, TrainingLog, read_json, read_log

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.shelf import ModelVersion, Shelf

Json = dict[str, Any]
_KEPT_AS = {"train": "version", "compare": "noted"}
"""What a job's details say once its result is kept, by its kind."""
log = logging.getLogger(__name__)


class Training:
    """The data sets, runs and versions of a workspace. Thread-safe as that is."""

    def __init__(
        self, workspace: Workspace, quotas: Quotas | None = None, validated: Validated | None = None
    ) -> None:
        """`validated`: where the validated subjects of a gallery come from, None where there are none."""
        self._workspace, self.quotas = workspace, quotas or Quotas()
        folder = workspace.folder
        self.data = DataSets(folder / "data", workspace.gallery, validated=validated)
        self.queue = JobQueue(folder / "runs")
        self._shelf: Shelf | None = None
        self._import: Task | None = None
        self._lock = threading.RLock()
        self._settling = threading.Lock()

    # Finding again what runs

    def start(self) -> None:
        """Find the jobs of an earlier start of the program, and go on with those that wait."""
        if self.queue.folder.is_dir():
            self.queue.keep(self.settle)

    def settle(self, jobs: Sequence[Job]) -> None:
        """Make versions of runs that are done, and compare each with what it started from; never raises."""
        if not any(map(_unsettled, jobs)):
            return
        with self._settling:  # a comparison that is begun here has the queue call again, from another thread
            for job in filter(_unsettled, self.queue.jobs()):
                self._settle(job)

    def _settle(self, job: Job) -> None:
        keep = {"train": self._keep_run, "compare": self._keep_comparison}
        try:
            keep[job.kind](job)
        except InputError as error:
            self.queue.amend(job.id, version=None, noted=True, trouble=str(error))
        except Exception:
            log.exception("The job %s could not be settled", job.id)

    @property
    def shelf(self) -> Shelf:
        """The versions of the workspace, with the checkpoint that the page was started with at their head."""
        with self._lock:
            if self._shelf is None:
                from ssa_me.checkpoint import MINI
                from ssa_me.hub import locate
                from ssa_me.shelf import Shelf

                checkpoint = self._workspace.checkpoint
                base = locate(checkpoint) if checkpoint else MINI
                self._shelf = Shelf(self._workspace.folder / "versions", base)
            return self._shelf

    def checkpoint_in_use(self) -> Path | None:
        """The checkpoint of the version that was chosen; None where the page works with what it was started with."""
        from ssa_me.shelf.store import BASE

        if not (self._workspace.folder / "versions").is_dir():
            return None
        used = self.shelf.in_use()
        return None if used == BASE else self.shelf.version(used).checkpoint

    # Runs

    def plan(self, sent: Mapping[str, Any]) -> Plan:
        """The run that a form describes. Raises InputError where a value makes no sense or a quota is exceeded."""
        from ssa_me.training.recipe import load_recipe

        data = self.data.get(sent.get("data"))
        if sent.get("recipe") not in RECIPES:
            raise InputError(f"Choose a recipe: {', '.join(RECIPES)}.")
        recipe = adjusted(load_recipe(str(sent["recipe"])), sent, self.quotas)
        if data.scenes:
            recipe = dataclasses.replace(recipe, scenes=dataclasses.replace(recipe.scenes, count=data.scenes))
        start = self.shelf.version(sent.get("start") or "base")
        name = " ".join(str(sent.get("name") or "").split())[:60] or f"{data.name} · {recipe.name}"
        return Plan(data, recipe, start, name)

    def estimate(self, sent: Mapping[str, Any]) -> Json:
        """Time and memory of the run that a form describes, and what it shares the machine with."""
        from app import room
        from ssa_me.training import estimate as estimates

        plan = self.plan(sent)
        parameters, memory = room.size_of(plan.start.checkpoint, plan.recipe)
        device = room.device_of(self._workspace)
        rates = self._rates(parameters, device)
        found = estimates.estimate(
            plan.recipe,
            plan.data.images,
            parameters,
            device,
            room.cores(),
            room.tokens_of(plan.start.checkpoint),
            rates,
            memory,
        ).to_json()
        held = room.images_gb(plan.start.checkpoint, plan.data.images * plan.recipe.views)
        told = room.shared(device, found["memory_gb"], held)
        return found | {"parameters": parameters, "device": device} | told

    def begin(self, sent: Mapping[str, Any]) -> Job:
        """Put a run into the queue. Raises InputError as `plan` does, where too many wait, or where memory is short."""
        from app import room
        from ssa_me.training.recipe import write_recipe

        plan = self.plan(sent)
        waiting = [job for job in self.queue.jobs() if job.phase == "waiting"]
        if len(waiting) >= self.quotas.waiting:
            raise InputError(f"{len(waiting)} runs wait already. Let some end, or remove them.")
        about = self.estimate(sent)
        room.free(about)
        data = [] if plan.data.scenes else ["--data", str(plan.data.data)]
        held_out = ["--held-out", str(plan.data.data)] if plan.data.scenes else []
        arguments = ["train", *data, *held_out, "--recipe", "{folder}/recipe.toml", "--out", "{folder}/out"]
        arguments += [
            "--checkpoint",
            str(plan.start.checkpoint),
            "--device",
            about["device"],
            "--resume",
            "--json",
        ]
        details = {
            "recipe": plan.recipe.name,
            "steps": plan.recipe.adapters.steps,
            "batch": plan.recipe.adapters.batch,
            "weights": {name: vars(plan.recipe.objectives)[name] for name in WEIGHTS},
            "data": {"id": plan.data.id, "name": plan.data.name, "images": plan.data.images},
            "set": str(plan.data.data),
            "start": plan.start.id,
            "start_name": plan.start.name,
            "parameters": about["parameters"],
            "device": about["device"],
            "estimate": about["seconds"],
        }
        job = self.queue.add(
            "train", plan.name, arguments, details, {"recipe.toml": write_recipe(plan.recipe)}
        )
        self.queue.keep(self.settle)
        return job

    def steer(self, id: object, action: object) -> None:
        """Pause, stop or resume a run, keep one that was stopped as a version, or remove it from the list."""
        if action == "pause":
            self.queue.pause(id)
        elif action == "stop":
            self.queue.stop(id)
        elif action == "resume":
            self.queue.resume(id)
            self.queue.keep(self.settle)
        elif action == "keep":
            self._keep_as_it_is(self.queue.job(id))
        elif action == "remove":
            self.queue.remove(id)
        else:
            raise InputError("A run can be paused, stopped, resumed, kept or removed.")

    def log_of(self, job: Job) -> TrainingLog:
        return read_log(log_path(job))

    # Versions

    def use(self, id: object) -> ModelVersion:
        """Work with a version from now on: the model is loaded anew."""
        if self._workspace.starting.phase == "running":
            raise InputError("A model is being loaded. Wait for it, then choose again.")
        version = self.shelf.use(id)
        self._workspace.reload()
        return version

    def compare(self, before: object, after: object, data: object) -> Job:
        """Put a comparison of two versions on the held-out images of a set into the queue."""
        first, second = self.shelf.version(before), self.shelf.version(after)
        if first.id == second.id:
            raise InputError("Choose two versions that differ.")
        return self._compare(first, second, self.data.get(data).data)

    def bring(self, file: Path, name: str) -> Task:
        """Begin to import a checkpoint from an uploaded zip."""
        from ssa_me.shelf import import_checkpoint

        def work(task: Task) -> JobState:
            task.report(f"Unpacking {name} and loading it once …")
            made = self.shelf.add(name, lambda out: import_checkpoint(file, out), origin="imported")
            return JobState("done", f"{made.name} is in the list.", 1.0, {"version": made.id})

        if file.suffix.lower() != ".zip":
            raise InputError(
                "A version is imported from a zip. Choose one that was exported here, or a checkpoint's."
            )
        with self._lock:
            if self._import is not None and self._import.running:
                raise InputError("Another version is being imported. Wait for it.")
            self._import = Task(name, work)
            return self._import.start()

    @property
    def importing(self) -> Task | None:
        """The import that runs, or ran last."""
        return self._import

    def exported(self, id: str) -> tuple[Path, str]:
        """A version as a zip, made now unless it is there: its file and name. InputError where there is none."""
        from ssa_me.shelf import export_zip

        version = self.shelf.version(id)
        marks = "-".join(version.fingerprints.values())
        target = self._workspace.folder / "exports" / f"{version.id}-{marks}.zip"
        plain = (
            "".join(c if c.isascii() and c.isalnum() else "-" for c in version.name).strip("-")[:40]
            or "version"
        )
        with self._lock:
            if not target.is_file():
                export_zip(version.checkpoint, target, plain)
        return target, f"{plain}.zip"

    def sample_set(self) -> tuple[Path, str]:
        """The example of the data format as a zip: its file and name."""
        from ssa_me.training.sample_set import NAME, write_sample_set

        target = self._workspace.folder / "exports" / NAME
        with self._lock:
            if not target.is_file():
                write_sample_set(target)
        return target, NAME

    # Inside

    def _keep_run(self, job: Job) -> None:
        """A run that is done becomes a version; its log stays with the job."""
        out = job.folder / "out"
        _keep_log(job)
        made = self._add(job, lambda target: shutil.move(out, target), ())
        data = Path(str(job.details["set"]))
        parent = self.shelf.version(job.details["start"])
        if data.is_dir():
            self._compare(parent, made, data)
        self.queue.amend(job.id, version=made.id)  # at last: it says that nothing more comes of this run

    def _keep_as_it_is(self, job: Job) -> None:
        """A run that was left becomes a version as far as it came; the run itself can still be resumed."""
        from ssa_me.training.versions import unfinished

        out = job.folder / "out"
        if (
            job.kind != "train"
            or job.phase not in ("stopped", "paused")
            or not (out / "config.json").is_file()
        ):
            raise InputError(
                "Only a run that was stopped or paused after its first steps can be kept as it is."
            )
        made = self._add(job, lambda target: shutil.copytree(out, target), unfinished(out))
        self.queue.amend(job.id, kept=made.id)

    def _add(self, job: Job, bring: Any, left: tuple[str, ...]) -> ModelVersion:
        recipe = {key: job.details[key] for key in ("recipe", "steps", "batch", "weights")}
        return self.shelf.add(
            job.name,
            bring,
            parent=str(job.details["start"]),
            data=job.details["data"],
            recipe=recipe,
            unfinished=left,
        )

    def _compare(self, first: ModelVersion, second: ModelVersion, data: Path) -> Job:
        from app import room

        arguments = [
            "versions",
            "compare",
            str(first.checkpoint),
            str(second.checkpoint),
            "--data",
            str(data),
        ]
        arguments += ["--device", room.device_of(self._workspace), "--json"]
        names = {"before": first.name, "after": second.name}
        job = self.queue.add(
            "compare",
            f"{first.name} → {second.name}",
            arguments,
            {"before": first.id, "after": second.id, "names": names},
        )
        self.queue.keep(self.settle)
        return job

    def _keep_comparison(self, job: Job) -> None:
        found = read_json(job.folder / "stdout.json")
        if found is not None and job.details["after"] != "base":
            told = {key: value for key, value in found.items() if key != "data"}
            names = {"against": job.details["before"], "names": job.details["names"]}
            self.shelf.note(job.details["after"], before_after=told | names)
        self.queue.amend(job.id, noted=True)

    def _rates(self, parameters: int, device: str) -> dict[str, float]:
        """Samples a second by stage, of the latest run of a model of this size on this device."""
        rates: dict[str, float] = {}
        for job in self.queue.jobs():
            same = job.details.get("parameters") == parameters and job.details.get("device") == device
            if job.kind == "train" and same:
                rates |= self.log_of(job).rates
        return rates


def going_on(job: Job) -> bool:
    """Whether more is to come of a job: it waits, it runs, or its result is not kept yet."""
    return job.phase in ("waiting", "running") or _unsettled(job)


def _unsettled(job: Job) -> bool:
    return job.phase == "done" and _KEPT_AS[job.kind] not in job.details


def log_path(job: Job) -> Path:
    """Where the log of a run is: in its checkpoint as long as that is here, then beside the job."""
    inside = job.folder / "out" / "training" / "log.jsonl"
    return inside if inside.is_file() else job.folder / "log.jsonl"


def _keep_log(job: Job) -> None:
    inside = job.folder / "out" / "training" / "log.jsonl"
    if inside.is_file():
        shutil.copyfile(inside, job.folder / "log.jsonl")
