import json

import pytest
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.scenes import make_scene
from ssa_me.scenes.queries import holds
from ssa_me.scenes.tasks import CANDIDATES, META_TASKS, named, write_tasks
from ssa_me.scenes.vocabulary import COLOUR_NAMES, PLACES

SEED, N = 1_000_000, 16


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    out = tmp_path_factory.mktemp("tasks")
    assert write_tasks(out, N, SEED, size=96, workers=1) == dict.fromkeys(META_TASKS, N)
    rows = {
        task: [json.loads(line) for line in (out / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()]
        for task in META_TASKS
    }
    return out, rows, [make_scene(SEED + i, 96) for i in range(N)]


def test_meta_tasks_are_written_beside_them(tasks):
    infos = json.loads((tasks[0] / "subsets.json").read_text(encoding="utf-8"))
    assert {name: info["meta_task"] for name, info in infos.items()} == META_TASKS


def test_images_are_there_and_no_candidate_comes_twice(tasks):
    out, rows, _ = tasks
    for row in (row for task in rows.values() for row in task):
        candidates = list(zip(row["tgt_text"], row["tgt_img_path"], strict=True))
        assert len(set(candidates)) == len(candidates) >= 4
        for path in (row["qry_img_path"], *row["tgt_img_path"]):
            assert not path or (out / path).is_file()


def test_classification_and_questions(tasks):
    _, rows, scenes = tasks
    for row, asked, scene in zip(rows["scenes_classification"], rows["scenes_vqa"], scenes, strict=True):
        assert row["tgt_text"][0] == PLACES[scene.setting]
        assert sorted(row["tgt_text"]) == sorted(PLACES.values())
        assert sorted(asked["tgt_text"]) == sorted(COLOUR_NAMES)
        kind = asked["qry_text"].partition("What colour is the ")[2].removesuffix("?")
        assert [s.colour for s in scene.subjects if named(s) == kind] == [asked["tgt_text"][0]]


def test_the_caption_is_true_of_the_positive_alone(tasks):
    _, rows, scenes = tasks
    for index, row in enumerate(rows["scenes_retrieval"]):
        caption = row["qry_text"].partition("caption: ")[2]
        query = scenes[index].queries[scenes[index].captions.index(caption)]
        assert row["tgt_img_path"][0] == f"images/scenes/{SEED + index:07d}.jpg"
        others = [int(path[-11:-4]) - SEED for path in row["tgt_img_path"][2:]]
        assert not any(holds(query, scenes[other].facts) for other in others)
        assert row["tgt_img_path"][1] == f"images/twins/{SEED + index:07d}.jpg"
        assert len(row["tgt_img_path"]) <= CANDIDATES


def test_the_first_part_is_the_subjects(tasks):
    out, rows, scenes = tasks
    for row, scene in zip(rows["scenes_grounding"], scenes, strict=True):
        phrase = row["qry_text"].partition("labeled as ")[2]
        box = next(s.bbox for s in scene.subjects if s.phrase == phrase)
        with Image.open(out / row["tgt_img_path"][0]) as part:
            assert part.size == (max(24, round(box[2])), max(24, round(box[3])))


def test_bad_input(tasks, tmp_path):
    with pytest.raises(InputError, match="already holds"):
        write_tasks(tasks[0], N, SEED)
    with pytest.raises(InputError, match="would reach"):
        write_tasks(tmp_path, 2, SEED - 1)
    assert (
        sum(write_tasks(tmp_path, 1, 5, size=96).values()) == 4
    )  # a single scene has its twin and its parts
