"""A gallery of coloured pictures with captions and subjects, an embedder that sees colours, and tables made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssa_me.failures.table import COLUMNS, FailureTable
from ssa_me.gallery import Gallery, ingest
from ssa_me.samples import Record, Subject, write_metadata
from tests.gallery.conftest import FakeEmbedder, picture, png

PICTURES = {
    "red": ("red",),
    "green": ("green",),
    "blue": ("blue",),
    "red-blue": ("red", "blue"),
    "green-yellow": ("green", "yellow"),
}


def write_pictures(folder: Path) -> None:
    """Five pictures of 40 × 30 pixels; those of two colours have a subject in each half."""
    records = []
    for name, colours in PICTURES.items():
        (folder / f"{name}.png").write_bytes(png(picture(*colours)))
        halves = [(0, 0, 20, 30), (20, 0, 20, 30)]
        subjects = [Subject(f"a {c} half", bbox=box) for c, box in zip(colours, halves, strict=False)]
        captions = (" and ".join(f"a {colour} half" for colour in colours), " ".join(colours))
        records.append(
            Record(
                folder / f"{name}.png",
                f"{name}.png",
                captions,
                tuple(subjects) if len(colours) > 1 else (),
                extra={"stripes": len(colours), "scene": name},
            )
        )
    write_metadata(folder, records)


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def gallery(tmp_path: Path, embedder: FakeEmbedder) -> Gallery:
    source = tmp_path / "pictures"
    source.mkdir()
    write_pictures(source)
    made = Gallery.create(tmp_path / "gallery", "Colours", "fake")
    ingest(made, source, embedder)
    return made


@pytest.fixture
def table() -> Callable[..., FailureTable]:
    """A table of queries with these ranks; every other column by name, else unknown."""

    def make(
        queries: list[str],
        baseline: list[int],
        ssa_me: list[int],
        kinds: list[str] | None = None,
        extra: dict[str, list[str]] | None = None,
        **numbers: list[float],
    ) -> FailureTable:
        count = len(queries)
        before, after = np.array(baseline, float), np.array(ssa_me, float)
        columns = {name: np.full(count, np.nan) for name in COLUMNS} | {
            "rank_baseline": before,
            "rank_ssa_me": after,
            "gain": before - after,
            "ndcg_baseline": 1 / np.log2(before + 1),
            "ndcg_ssa_me": 1 / np.log2(after + 1),
            "length": np.array([len(query.split()) for query in queries], float),
            "target": np.arange(1, count + 1, dtype=float),
            "top_baseline": np.ones(count),
            "top_ssa_me": np.ones(count),
        }
        return FailureTable(
            tuple(queries),
            tuple(kinds or ["caption"] * count),
            ("",) * count,
            tuple((n,) for n in range(1, count + 1)),
            tuple(f"image {n}" for n in range(count)),
            ((),) * count,
            (0.01,) * count,
            columns | {name: np.array(values, float) for name, values in numbers.items()},
            {name: tuple(values) for name, values in (extra or {}).items()},
        )

    return make


@pytest.fixture
def make_embedder() -> type[FakeEmbedder]:
    return FakeEmbedder
