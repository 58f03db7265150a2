"""Writes generated scenes as an ImageFolder data set, with a process pool where there is one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import cv2

from ssa_me.errors import InputError
from ssa_me.samples import METADATA, Record, write_metadata
from ssa_me.scenes.languages import Language, check_language
from ssa_me.scenes.vocabulary import EVALUATION_SEED, Pairs
from ssa_me.scenes.world import make_scene

_QUALITY = 92
_FEW = 32
"""A process of its own is worth it for so many scenes."""
Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with the number done and the number wanted."""


def refuse_present(out: Path, tasks: Sequence[str]) -> None:
    """Raise InputError where `out` holds the file of one of `tasks` already."""
    present = [task for task in tasks if (out / f"{task}.jsonl").exists()]
    if present:
        raise InputError(f"{out} already holds {present[0]}.jsonl. Give a new folder.")


def write_scenes(
    out: Path,
    n: int,
    seed: int,
    pairs: Pairs = "all",
    progress: Progress | None = None,
    *,
    size: int = 256,
    workers: int | None = None,
    language: Language = "en",
) -> list[Record]:
    """Write the scenes of seeds `seed` … `seed + n - 1` to `out` as JPEG with `metadata.jsonl`; returns the
    records.

    `workers` processes draw (default: one a core; 0 or 1: this process alone). Captions and phrases are in
    `language`; pictures and regions are the same in all. Raises InputError where `n` is not positive, `out`
    holds another data set, the language is unknown, or the seeds cross into those of evaluation.
    """
    check_seeds(seed, n)
    check_language(language)
    if (out / METADATA).exists():
        raise InputError(f"{out} already holds a data set ({METADATA}). Give a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    for record in in_processes(
        partial(_write, out=out, pairs=pairs, size=size, language=language), range(seed, seed + n), workers
    ):
        records.append(record)
        if progress is not None:
            progress(len(records), n)
    write_metadata(out, records)
    return records


def check_seeds(seed: int, n: int) -> None:
    """Raise InputError unless `n` seeds from `seed` on are all for training or all for evaluation."""
    if n < 1:
        raise InputError(f"The number of scenes is 1 or more, not {n}.")
    if seed < 0:
        raise InputError(f"A seed is 0 or more, not {seed}.")
    if seed < EVALUATION_SEED < seed + n:
        raise InputError(
            f"{n} scenes from seed {seed} on would reach the seeds for evaluation ({EVALUATION_SEED} and more)."
        )


def in_processes(
    task: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Iterator[Result]:
    """`task` of each of `items`, in order, in several processes; in this one where there are few or none
    can be started."""
    count = min(workers if workers is not None else available_cores(), len(items) // _FEW)
    done = 0
    if count > 1:
        try:
            start = get_context("spawn")
            with ProcessPoolExecutor(count, start, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
                for result in pool.map(task, items, chunksize=max(1, min(16, len(items) // (4 * count)))):
                    yield result
                    done += 1
                return
        except (OSError, BrokenProcessPool):
            pass
    for item in items[done:]:
        yield task(item)


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _write(seed: int, out: Path, pairs: Pairs, size: int, language: Language) -> Record:
    scene = make_scene(seed, size, pairs)
    name = f"scene-{seed:07d}.jpg"
    scene.image.save(out / name, quality=_QUALITY, subsampling=0)
    return scene.record(name, out, language)
