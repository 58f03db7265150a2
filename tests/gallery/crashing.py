"""What a killed process did to a gallery: work that ends by SIGKILL at the n-th thing it does with files or the database.

It is imported by a process that forks the ones to be killed, so it holds no test.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ssa_me.gallery import Gallery, indexes, ingest
from ssa_me.gallery.items import Spaces
from tests.gallery.conftest import FakeEmbedder

TOUCHING = {
    "open",
    "os.link",
    "os.rename",
    "os.remove",
    "os.utime",
    "os.truncate",
    "os.mkdir",
    "sqlite3.connect",
}


POINTS = 6


def points(count: int, seed: int, number: int = POINTS) -> list[int]:
    """Events to die at: the first, the last, and one drawn in each of `number` - 2 equal parts between them."""
    edges = np.linspace(2, count, number - 1).astype(int)
    draw = random.Random(seed)
    drawn = [draw.randrange(low, max(low + 1, high)) for low, high in itertools.pairwise(edges)]
    return sorted({1, count, *drawn})


class _Countdown:
    """Kills this process at the `last`-th event; counts them all where it is 0."""

    def __init__(self, last: int) -> None:
        self.last, self.seen = last, 0

    def event(self) -> None:
        self.seen += 1
        if self.seen == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def run(work: Callable[..., None], args: tuple[Any, ...], last: int, answer: Any) -> None:
    """Do `work`, and answer how many events there were; or die at event `last`."""
    sys.modules["ssa_me.gallery.ingest"].BATCH = 4  # type: ignore[attr-defined]  # many places to be killed at
    countdown = _Countdown(last)
    connect = sqlite3.connect

    def counted(*more: Any, **named: Any) -> sqlite3.Connection:
        db = connect(*more, **named)
        db.set_trace_callback(lambda statement: countdown.event())
        return db

    sqlite3.connect = counted  # type: ignore[assignment]
    sys.addaudithook(lambda name, _: countdown.event() if name in TOUCHING else None)
    work(*args)
    answer.send(countdown.seen)


def create(folder: Path) -> None:
    Gallery.create(folder, "Test", "fake-0")


def add(folder: Path, source: Path) -> None:
    ingest(Gallery.open(folder), source, FakeEmbedder())


def remove(folder: Path, ids: list[int]) -> None:
    gallery = Gallery.open(folder)
    for id in ids:
        gallery.remove([id])


def embed_again(folder: Path) -> None:
    ingest(Gallery.open(folder), [], FakeEmbedder("1"))


def forget(folder: Path) -> None:
    Gallery.open(folder).forget_others(Spaces(FakeEmbedder().info.fingerprints))


def index(folder: Path) -> None:
    indexes.EXACT = 40
    Gallery.open(folder).prepare(Spaces(FakeEmbedder().info.fingerprints))
