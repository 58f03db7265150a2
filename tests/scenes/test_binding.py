"""Binding tasks: their format, that wrong candidates are wrong, and that six or more show the same words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.scenes import EVALUATION_SEED, HELD_OUT, binding_task, has_words, satisfies, write_binding
from ssa_me.scenes.binding import CANDIDATES, REBOUND, TASKS
from ssa_me.scenes.vocabulary import Pairs, is_a


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("pairs", ["all", "seen", "held-out"])
def test_only_the_positive_satisfies_and_six_are_bound_otherwise(task: str, pairs: Pairs) -> None:
    for index in range(3):
        made = binding_task(task, index, 3, pairs, 64)
        assert len(made.scenes) == CANDIDATES
        assert satisfies(made.scenes[0], made.query)
        assert not any(satisfies(scene, made.query) for scene in made.scenes[1:])
        assert made.rebound >= REBOUND
        assert made.rebound == sum(has_words(made.query, scene.facts) for scene in made.scenes[1:])
        assert len({hashlib.sha256(scene.image.tobytes()).digest() for scene in made.scenes}) == CANDIDATES
        assert all(scene.plan.seed >= EVALUATION_SEED for scene in made.scenes)
        for mention in made.query.subjects:
            kinds = [
                k for k, c in made.scenes[0].plan.subjects if c == mention.colour and is_a(k, mention.kind)
            ]
            held_out = [(kind, mention.colour) in HELD_OUT for kind in kinds]
            assert pairs == "all" or held_out == [pairs == "held-out"]


def test_each_kind_asks_what_it_is_called() -> None:
    colour, subject, background, relation = (binding_task(task, 0, 1, size=64).query for task in TASKS)
    assert len(colour.subjects) == 2 and colour.relation is None and colour.setting is None
    assert len(subject.subjects) == 1 and subject.setting is None
    assert len(background.subjects) == 1 and background.setting is not None
    assert len(relation.subjects) == 2 and relation.relation is not None


def test_the_same_seed_gives_the_same_task_and_another_another() -> None:
    first, again, other = (binding_task("binding_subject", 2, seed, size=64) for seed in (5, 5, 6))
    assert first.text == again.text
    assert [s.plan for s in first.scenes] == [s.plan for s in again.scenes]
    assert [s.plan for s in first.scenes] != [s.plan for s in other.scenes]


def test_written_as_mmeb_evaluation_data(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = write_binding(
        tmp_path, 2, 4, progress=lambda done, total: seen.append((done, total)), size=64, workers=0
    )
    assert report.queries == dict.fromkeys(TASKS, 2)
    assert (
        report.candidates == 12 and report.chance == pytest.approx(1 / 12) and report.least_rebound >= REBOUND
    )
    assert seen[-1] == (8, 8)
    for task in TASKS:
        rows = [json.loads(line) for line in (tmp_path / f"{task}.jsonl").read_text().splitlines()]
        assert len(rows) == 2
        for index, row in enumerate(rows):
            assert set(row) == {"qry_text", "qry_img_path", "tgt_text", "tgt_img_path"}
            assert row["qry_text"] == binding_task(task, index, 4, size=64).text and row["qry_img_path"] == ""
            assert row["tgt_text"] == [""] * 12 and len(set(row["tgt_img_path"])) == 12
            for path in row["tgt_img_path"]:
                with Image.open(tmp_path / path) as image:
                    assert image.size == (64, 64)
    with pytest.raises(InputError, match="already holds"):
        write_binding(tmp_path, 1, 4, size=64, workers=0)


def test_no_queries_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 or more"):
        write_binding(tmp_path, 0, 1)
