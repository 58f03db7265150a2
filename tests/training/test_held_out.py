"""The light measure on images that are not trained on: by hand, on a tiny model, and without a trace in the training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ssa_me.backbone import Backbone
from ssa_me.errors import InputError
from ssa_me.samples import Record, Subject, write_metadata
from ssa_me.training.held_out import HeldOutImages, check_held_out, held_out_records, points, ranks_of
from ssa_me.training.loop import Run, Stage, Watch, fit
from ssa_me.training.recipe import Schedule
from tests.training.conftest import photograph


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photographs: two to train on, two of val and test, one of val without a word."""
    out = tmp_path / "set"
    out.mkdir()
    records = []
    for number, split in enumerate(("train", "val", None, "test", "val")):
        name, box = f"{number}.png", (4 + 8 * number, 8, 20, 30)
        photograph(out, name, (250 - 50 * number, 50 * number, 90), box)
        words = () if number == 4 else (f"the {['red', 'blue', 'green', 'tree', 'dog'][number]}",)
        subjects = () if number == 4 else (Subject("a box", box),)
        records.append(Record(out / name, name, words, subjects, split))
    write_metadata(out, records)
    return out


def test_ranks_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.2, 0.1], [0.3, 0.6, 0.4]])
    right = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 1]]).bool()
    assert ranks_of(scores, right).tolist() == [1, 2, 2]  # the second is tied with a wrong one


def test_a_peak_points_where_most_of_its_token_is_covered() -> None:
    coverage = torch.tensor([0.0, 0.5, 0.49])
    assert [points(coverage, peak) for peak in range(4)] == [False, True, False, False]


def test_records_are_those_that_nothing_trains_on(folder: Path, tmp_path: Path) -> None:
    assert {record.file_name for record in held_out_records([folder])} == {"1.png", "3.png"}
    assert len(held_out_records([], folder)) == 4
    check_held_out(folder)
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    photograph(lonely, "a.png", (1, 2, 3), (0, 0, 9, 9))
    with pytest.raises(InputError, match="fewer than two images"):
        check_held_out(lonely)


@pytest.mark.parametrize("name", ["baseline", "ssa-me"])
def test_both_stages_are_measured_alike(
    name: str, folder: Path, make_stage: Callable[..., Stage], make_backbone: Callable[[], Backbone]
) -> None:
    images = HeldOutImages.of(held_out_records([], folder), make_backbone())
    assert images is not None
    stage = make_stage(name)
    with torch.no_grad():
        found = images.measure(stage)  # type: ignore[arg-type]
    assert set(found) == {"recall@1", "recall@5", "pointing"}
    assert found["recall@5"] == 1.0 and 0 <= found["recall@1"] <= 1 and 0 <= found["pointing"] <= 1
    assert HeldOutImages.of(held_out_records([], folder)[:1], make_backbone()) is None


def test_watching_changes_nothing(
    folder: Path,
    make_stage: Callable[..., Stage],
    make_run: Callable[..., Run],
    make_backbone: Callable[[], Backbone],
) -> None:
    images = HeldOutImages.of(held_out_records([], folder), make_backbone())
    assert images is not None
    schedule, ends = Schedule(steps=3, batch=4, learning_rate=1e-2, warmup=1), []
    for name in ("watched", "alone"):
        stage, run = make_stage("ssa-me", batch=4, dropout=0.1), make_run(name)
        watch = Watch(2, lambda stage=stage: images.measure(stage)) if name == "watched" else None
        assert fit("ssa-me", stage, schedule, run, False, watch=watch)
        ends.append([p.detach().clone() for p in stage.parameters() if p.requires_grad])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    lines = [json.loads(line) for line in (make_run("watched").folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "held_out" in line] == [0, 2, 3]
