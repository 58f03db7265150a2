"""Written scenes come back through the data format, and seeds for evaluation stay apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.samples import read_image_folder
from ssa_me.scenes import EVALUATION_SEED, make_scene, write_scenes
from ssa_me.scenes.export import in_processes


def test_round_trip_through_the_data_format(tmp_path: Path) -> None:
    done: list[int] = []
    written = write_scenes(
        tmp_path / "set", 4, 30, progress=lambda n, total: done.append(n), size=96, workers=0
    )
    records = read_image_folder(tmp_path / "set")
    assert done == [1, 2, 3, 4]
    assert [r.to_json() for r in records] == [r.to_json() for r in written]
    for seed, record in enumerate(records, start=30):
        scene = make_scene(seed, 96)
        assert record.captions == scene.captions
        assert record.extra["seed"] == seed and record.extra["setting"] == scene.setting
        assert [s.phrase for s in record.subjects] == list(scene.phrases)
        for subject, drawn in zip(record.subjects, scene.subjects, strict=True):
            assert subject.bbox == drawn.bbox
            assert (subject.mask(96, 96) == drawn.mask).all()
        with Image.open(record.path) as image:
            assert np.abs(np.asarray(image, int) - np.asarray(scene.image, int)).mean() < 4


def test_several_processes_write_what_one_writes() -> None:
    assert list(in_processes(abs, range(-70, 0), workers=2)) == list(range(70, 0, -1))


@pytest.mark.parametrize(
    ("n", "seed", "message"),
    [(0, 1, "1 or more"), (1, -1, "0 or more"), (10, EVALUATION_SEED - 5, "evaluation")],
)
def test_bad_numbers_are_named(tmp_path: Path, n: int, seed: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_scenes(tmp_path, n, seed)


def test_another_data_set_is_not_overwritten(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, 1, size=64)
    with pytest.raises(InputError, match="already holds"):
        write_scenes(tmp_path, 1, 1, size=64)
