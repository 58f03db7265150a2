import json
from collections import Counter

import pytest

from ssa_me.errors import InputError
from ssa_me.scenes import EVALUATION_SEED
from ssa_me.scenes.neglect import neglect_group, write_neglect


def test_a_group_is_three_scenes_of_the_same_kinds_in_nine_colours():
    group = neglect_group(0, 1, size=64)
    plans = [scene.plan for scene in group.scenes]
    assert len({tuple(kind for kind, _ in plan.subjects) for plan in plans}) == 1
    assert len({colour for plan in plans for _, colour in plan.subjects}) == 9
    assert len({(plan.seed, plan.setting, plan.relation) for plan in plans}) == 1
    assert all(plan.seed >= EVALUATION_SEED for plan in plans)
    assert neglect_group(0, 1, size=64).phrases == group.phrases != neglect_group(1, 1, size=64).phrases


def test_each_candidate_is_right_once_and_says_what_it_ignores():
    group = neglect_group(3, 1, size=64)
    right = Counter()
    for scene in range(3):
        for kind in range(3):
            text, candidates, roles = group.query(scene, kind)
            assert text == f"the {group.names[kind]}"
            assert candidates[0] == group.phrases[scene][kind]
            right[candidates[0]] += 1
            by_role = {
                role: {c for c, r in zip(candidates, roles, strict=True) if r == role} for role in roles
            }
            assert by_role["right"] == {group.phrases[scene][kind]}
            assert by_role["image"] == {group.phrases[s][kind] for s in range(3) if s != scene}
            assert by_role["text"] == {group.phrases[scene][k] for k in range(3) if k != kind}
            assert len(by_role["neither"]) == 4
    assert set(right.values()) == {1}
    assert len(right) == 9


def test_shared_colours_stand_in_a_latin_square():
    """Whoever sees kinds and colours but not what belongs together sees three equal scenes."""
    own, shared = (neglect_group(0, 1, size=64, colours=colours) for colours in ("own", "shared"))
    kinds = [[kind for kind, _ in scene.plan.subjects] for scene in (*own.scenes, *shared.scenes)]
    assert all(row == kinds[0] for row in kinds)
    rows = [[colour for _, colour in scene.plan.subjects] for scene in shared.scenes]
    assert all(len(set(line)) == 3 for line in (*rows, *zip(*rows, strict=True)))
    assert len({colour for row in rows for colour in row}) == 3
    assert len({phrase for shown in shared.phrases for phrase in shown}) == 9
    _, candidates, roles = shared.query(1, 2)
    assert (candidates[0], roles.count("image"), roles.count("text")) == (shared.phrases[1][2], 2, 2)


def test_written_in_mmebs_format(tmp_path):
    assert write_neglect(tmp_path, 4, 1, size=64) == 18  # two groups
    rows = [
        json.loads(line) for line in (tmp_path / "neglect.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert {row["group"] for row in rows} == {0, 1}
    assert len({row["qry_img_path"] for row in rows}) == 6
    assert all((tmp_path / row["qry_img_path"]).is_file() for row in rows)
    assert all(len(row["tgt_text"]) == len(row["tgt_role"]) == 9 for row in rows)
    with pytest.raises(InputError, match="already holds"):
        write_neglect(tmp_path, 4, 1, size=64)
    with pytest.raises(InputError, match="1 or more"):
        write_neglect(tmp_path / "none", 0, 1)
