"""Attributions, their sanity checks and the modality balance, computed beside the page. Imports no gradio.

A piece of work is named by what it is of, so that a page that asks again, after a reload or by a link, finds it where it
is, or its result. Results are kept in memory up to a number of bytes; few pieces run at once.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from app import views
from app.cache import json_bytes
from app.inspect_settings import InspectSettings
from app.jobs import Job, JobState
from app.permalink import SearchState
from app.views import Json, numbers
from ssa_me.byte_cache import ByteCache
from ssa_me.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from app.inspecting import Inspector
    from app.opponents import Opponents
    from ssa_me.attribution import Attribution, Quality, Settings
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.gallery.items import Item
    from ssa_me.samples import BBox

Result = TypeVar("Result")
KINDS = ("map", "sanity", "balance")
MODELS = ("ssa-me", "baseline", "difference")
METHOD, FILL, STEPS, SEED = "integrated-gradients", "blur", 32, 0
MOST_RUNNING = 2
RESULT_BYTES = 32 * 2**20
_PERMUTED = 4


@dataclass(frozen=True)
class _Task:
    """One image and one text, and how they are attributed. against: the version in the baseline's place. region: where the subject is, (H, W), and which that is."""

    image: Image.Image
    text: str
    query_image: Image.Image | None
    against: str | None
    method: str
    model: str
    settings: Settings
    region: np.ndarray | None
    region_name: str


class Attributions:
    """What the attribution panel asks of one workspace."""

    def __init__(self, inspector: Inspector, opponents: Opponents) -> None:
        self._inspector, self._opponents = inspector, opponents
        self._results: ByteCache[Json] = ByteCache(RESULT_BYTES, json_bytes)
        self._made: ByteCache[tuple[Attribution, Quality]] = ByteCache(
            RESULT_BYTES, lambda pair: pair[0].bytes
        )
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def begin(self, state: SearchState, settings: InspectSettings, kind: object) -> Json:
        """Begin a piece of work, or find it; answers as `look`. Raises InputError where it makes no sense, or where too
        much runs already."""
        if kind not in KINDS:
            raise InputError(f"There is nothing called {str(kind)[:20]!r} to compute.")
        state = self._inspector.placed(state)
        task, key = self._task(state, settings), self._key(state, settings, str(kind))
        with self._lock:
            job = self._jobs.get(key)
            if self._results.get(key) is None and (job is None or not job.running):
                self._tidy()
                if sum(job.running for job in self._jobs.values()) >= MOST_RUNNING:
                    raise InputError("Two attributions are being computed. Wait for one, or cancel it.")
                self._jobs[key] = Job(
                    "attribution", lambda job: self._work(job, task, key, str(kind))
                ).start()
        return self.look(key)

    def look(self, key: object) -> Json:
        """How far it has come: {key, phase, message, fraction, result}."""
        result = self._results.get(str(key))
        if result is not None:
            return {"key": key, "phase": "done", "message": "", "fraction": 1.0, "result": result}
        job = self._jobs.get(str(key))
        if job is None:
            return {"key": key, "phase": "gone", "message": "This is no longer here. Compute it again."}
        state = job.state
        return {"key": key, "phase": state.phase, "message": state.message, "fraction": state.fraction}

    def stop(self, key: object) -> Json:
        """End it at the next batch."""
        job = self._jobs.get(str(key))
        if job is not None:
            job.cancel()
        return self.look(key)

    def made(self, state: SearchState, settings: InspectSettings) -> tuple[Attribution, Quality] | None:
        """The attribution of these settings with its quality, where it was computed."""
        return self._made.get(self._key(state, settings, "map")) if settings.attribution else None

    def _key(self, state: SearchState, settings: InspectSettings, kind: str) -> str:
        prints = dict(self._opponents.embedder(state.against).info.fingerprints)
        of: list[object] = [prints, state.gallery, state.hit, state.text, kind]
        if kind == "balance":
            of += [state.image]
        else:
            of += [settings.attribution, settings.target, settings.baseline, settings.steps, settings.seed]
            of += [_regions(settings)]
        return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:32]

    def _task(self, state: SearchState, settings: InspectSettings) -> _Task:
        from ssa_me.attribution import Settings

        _, gallery, item = self._inspector.item(state)
        image = gallery.image(item.id)
        if not state.text.strip():
            raise InputError("There is no text to attribute. Enter a query.")
        model = settings.target or MODELS[0]
        if model not in MODELS:
            raise InputError(f"There is no score of {model!r}. Choose of {', '.join(MODELS)}.")
        if model == MODELS[2] and state.against:
            raise InputError(
                "The difference of two versions cannot be attributed: they are two models. Choose one of them."
            )
        named = tuple((f"region {n}", box) for n, box in enumerate(_regions(settings) or (), start=1))
        region, name = _known_region(item, self._inspector.explanation(state, settings).subjects.phrases)
        return _Task(
            image,
            state.text.strip(),
            self._inspector.query_image(state),
            state.against,
            settings.attribution or METHOD,
            model,
            Settings(
                baseline=settings.baseline or FILL,
                steps=settings.steps or STEPS,
                seed=SEED if settings.seed is None else settings.seed,
                regions=named,
            ),
            region,
            name,
        )

    def _work(self, job: Job, task: _Task, key: str, kind: str) -> JobState:
        from ssa_me.attribution import Cancelled

        try:
            result = {"map": self._map, "sanity": self._sanity, "balance": self._balance}[kind](
                job, task, key
            )
        except Cancelled:
            return JobState("cancelled", "Cancelled.")
        self._results.put(key, result)
        return JobState("done", "Ready.", 1.0)

    def _map(self, job: Job, task: _Task, key: str) -> Json:
        from ssa_me.attribution import assess

        found = self._attribute(job, task)
        doing = "Checking how far the map can be trusted"
        quality = self._watched(job, task, doing, assess, task.image, found, region=task.region)
        found = replace(found, version=_version(task))  # as the page calls it
        self._made.put(key, (found, quality))
        return attribution_view(found, quality) | {"region": task.region_name}

    def _attribute(self, job: Job, task: _Task) -> Attribution:
        from ssa_me.attribution import attribute

        _, version = self._behind(task)
        return self._watched(
            *(job, task, "Attributing", attribute),
            task.image,
            task.text,
            task.method,
            target="difference" if task.model == "difference" else "similarity",
            version=version,
            settings=task.settings,
        )

    def _sanity(self, job: Job, task: _Task, key: str) -> Json:
        from ssa_me.attribution import sanity_check

        found = self._attribute(job, task)
        doing = "The same with shuffled weights"
        done = self._watched(job, task, doing, sanity_check, task.image, found)
        stages = [{"name": name, "rho": rho} for name, rho in done.stages]
        return {"passed": done.passed, "reason": done.reason, "stages": stages}

    def _balance(self, job: Job, task: _Task, key: str) -> Json:
        from app.lent import run_on
        from ssa_me.attribution import modality_balance
        from ssa_me.samples import Sample
        from ssa_me.scenes import make_scene

        job.report("Weighing image against text")
        scenes = [make_scene(3_000_000 + n, 256) for n in range(_PERMUTED)]
        others = [Sample(scene.captions[0], scene.image) for scene in scenes]
        asked = task.image, task.text, task.query_image, others

        def balance(version: str) -> Json:
            embedder, _ = self._opponents.side(task.against, version)
            return run_on(embedder, modality_balance, *asked).to_json()

        own = balance("ssa-me")
        if task.against is None:
            return own
        theirs = balance("baseline")["models"]["ssa-me"]
        return own | {"models": {"baseline": theirs, "ssa-me": own["models"]["ssa-me"]}}

    def _behind(self, task: _Task) -> tuple[SalientEmbedder, str]:
        """The model whose score is attributed, and its version."""
        return self._opponents.side(task.against, _version(task))

    def _watched(
        self, job: Job, task: _Task, doing: str, work: Callable[..., Result], *args: Any, **kwargs: Any
    ) -> Result:
        """`work` on the task's model, reported and stopped batch by batch. On a GPU that is lent, to which only data goes, it
        runs as a whole, and is dropped at its end where it was to stop."""
        from app.lent import LentEmbedder, run_on
        from ssa_me.attribution import Cancelled

        (embedder, _), report = self._behind(task), _report(job, doing)
        if not isinstance(embedder, LentEmbedder):
            return work(embedder, *args, progress=report, cancelled=job.cancelled, **kwargs)
        job.report(doing)
        found = run_on(embedder, work, *args, **kwargs)
        if job.cancelled():
            raise Cancelled
        return found

    def _tidy(self) -> None:
        """Forget what ended, but for its last few; callers hold the lock."""
        ended = [key for key, job in self._jobs.items() if not job.running]
        for key in ended[:-8]:
            del self._jobs[key]


def _regions(settings: InspectSettings) -> tuple[BBox, ...] | None:
    """The drawn regions as far as the method takes regions away; any other is not moved by them."""
    from ssa_me.attribution import METHODS

    method = METHODS.get(settings.attribution or METHOD)
    return settings.regions if method is not None and method.features == "subjects" else None


def _version(task: _Task) -> str:
    return "ssa-me" if task.model == "difference" else task.model


def options(opposed: bool = False) -> Json:
    """What can be chosen, for the panel: methods, baselines, models (no difference of two that are `opposed`), and the
    formulas of the numbers."""
    from ssa_me.attribution import BASELINES, FORMULAS, METHODS

    methods = [
        {
            "name": name,
            "title": method.title,
            "summary": method.summary,
            "signed": method.signed,
            "regions": method.features == "subjects",
            "source": method.source,
        }
        for name, method in METHODS.items()
    ]
    chosen = {"attribution": METHOD, "target": MODELS[0], "baseline": FILL, "steps": STEPS, "seed": SEED}
    models = list(MODELS[:2] if opposed else MODELS)
    return {
        "methods": methods,
        "models": models,
        "baselines": dict(BASELINES),
        "formulas": dict(FORMULAS),
        "defaults": chosen,
    }


def attribution_view(found: Attribution, quality: Quality) -> Json:
    """What the panel shows of an attribution: its map on the image tokens, words, parts, and how far it is to be trusted."""
    from ssa_me.attribution import METHODS

    words = [
        {"text": word.text, "start": word.start, "end": word.end, "value": numbers([word.value])[0]}
        for word in found.words
    ]
    return found.to_json() | {
        "size": list(found.image_size),
        "boxes": numbers(found.boxes),
        "values": numbers(found.values),
        "query": found.text,
        "words": words,
        "signed": METHODS[found.method].signed,
        "steps": found.settings.steps,
        "constant": found.constant,
        "quality": quality.to_json(),
    }


def _known_region(item: Item, phrases: tuple[str, ...]) -> tuple[np.ndarray | None, str]:
    """The mask (H, W) of the annotated subject that a phrase names, and its label; None and "" where none is known."""
    for phrase in phrases:
        for subject in item.subjects:
            placed = subject.bbox is not None or subject.segmentation is not None
            if placed and views.agrees(phrase, subject.phrase):
                return subject.mask(item.width, item.height), subject.phrase
    return None, ""


def _report(job: Job, doing: str) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        job.report(f"{doing}: {done:,} of {total:,}", done / max(1, total))

    return progress
