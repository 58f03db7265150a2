"""Binding tasks as a gallery: every query has twelve scenes of its own, one of which shows its words bound as it says.

The scenes are drawn once and indexed like any others, so that all that works on a gallery works on them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.errors import InputError
from ssa_me.failures import watching
from ssa_me.failures.queries import FailureQuery, QuerySet
from ssa_me.failures.words import KINDS
from ssa_me.gallery.ingest import Progress, ingest
from ssa_me.gallery.items import Item
from ssa_me.gallery.store import Gallery, is_gallery
from ssa_me.samples import METADATA, Record, write_metadata
from ssa_me.scenes.binding import TASKS, binding_task
from ssa_me.scenes.export import in_processes

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

SOURCE, FILE = "source", "binding.json"
MOST = 500
SEED = 1
_QUALITY = 92


def binding_gallery(
    folder: Path,
    n: int,
    embedder: SalientEmbedder,
    *,
    seed: int = SEED,
    size: int = 256,
    workers: int | None = None,
    progress: watching.Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Gallery | None:
    """The gallery of `n` queries of each of the four tasks, made in `folder` or finished there; None where it was
    cancelled: the same call goes on. Raises InputError where `n` is out of range or the gallery holds something else."""
    if not 1 <= n <= MOST:
        raise InputError(f"The number of binding queries of each kind is 1 to {MOST}, not {n}.")
    tell, stopped = progress or watching.silent, cancelled or watching.never
    source = folder / SOURCE
    if not is_gallery(folder):
        Gallery.create(folder, f"Binding tasks ({n} of each kind)", str(embedder.info.checkpoint))
    gallery = Gallery.open(folder)
    if not (source / METADATA).is_file() and not _draw(source, n, seed, size, workers, tell, stopped):
        return None
    if len(read_tasks(gallery)) != n * len(TASKS):
        raise InputError(f"{folder.name} holds other binding tasks than {n} of each kind. Give a new folder.")

    def embedding(now: Progress) -> None:
        tell(f"Embedding the scenes: {now.done:,} of {now.total:,}", now.done / max(1, now.total))

    report = ingest(gallery, source, embedder, progress=embedding, cancelled=stopped)
    return None if report.cancelled else gallery


def is_binding(gallery: Gallery) -> bool:
    """Whether a gallery holds binding tasks."""
    return (gallery.folder / SOURCE / FILE).is_file()


def read_tasks(gallery: Gallery) -> list[dict[str, Any]]:
    """`{"text", "task", "images"}` of each query, the right image first. InputError where they cannot be read."""
    try:
        found: list[dict[str, Any]] = json.loads((gallery.folder / SOURCE / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The gallery {gallery.name} has no binding tasks that can be read.") from error
    return found


def binding_queries(gallery: Gallery, items: Sequence[Item]) -> QuerySet:
    """The queries of a gallery of binding tasks, each ranked among its own scenes. Raises InputError where `gallery` is
    none."""
    ids = {item.file_name: item.id for item in items}
    queries = []
    for number, task in enumerate(read_tasks(gallery)):
        candidates = tuple(ids[name] for name in task["images"] if name in ids)
        kind = next(kind for kind in KINDS if task["task"] == f"binding_{kind}")
        if task["images"][0] in ids:
            queries.append(
                FailureQuery(
                    task["text"], candidates[:1], kind, f"task {number}", candidates, {"task": task["task"]}
                )
            )
    return QuerySet("Binding tasks", tuple(queries))


def _draw(
    source: Path,
    n: int,
    seed: int,
    size: int,
    workers: int | None,
    tell: watching.Progress,
    stopped: Callable[[], bool],
) -> bool:
    """Draw all scenes with their captions and subjects; False where it was cancelled."""
    (source / "scenes").mkdir(parents=True, exist_ok=True)
    jobs = [(task, index) for task in TASKS for index in range(n)]
    records: list[Record] = []
    tasks: list[dict[str, Any]] = []
    for done, (text, task, drawn) in enumerate(
        in_processes(partial(_draw_task, source=source, seed=seed, size=size), jobs, workers), start=1
    ):
        records += drawn
        tasks.append({"text": text, "task": task, "images": [record.file_name for record in drawn]})
        tell(f"Drawing binding tasks: {done:,} of {len(jobs):,}", done / len(jobs))
        if stopped():
            return False
    (source / FILE).write_text(json.dumps(tasks), encoding="utf-8")
    write_metadata(source, records)
    return True


def _draw_task(job: tuple[str, int], source: Path, seed: int, size: int) -> tuple[str, str, list[Record]]:
    task, index = job
    made = binding_task(task, index, seed, size=size)
    records = []
    for number, scene in enumerate(made.scenes):
        name = f"scenes/{task.removeprefix('binding_')}-{index:04d}-{number:02d}.jpg"
        scene.image.save(source / name, quality=_QUALITY, subsampling=0)
        records.append(scene.record(name, source))
    return made.text, task, records
