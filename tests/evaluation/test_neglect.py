import json

import pytest

from ssa_me.errors import InputError
from ssa_me.evaluation.models import parse_models
from ssa_me.evaluation.neglect import read_neglect, run_neglect


@pytest.fixture
def task(tmp_path, paint):
    """Three groups; an image has one colour and the text names one. The stand-in embeds a joint query as its image."""
    rows = []
    for group, colour in enumerate(("red", "green", "blue")):
        paint(tmp_path / f"{colour}.png", colour)
        other = "blue" if colour == "red" else "red"
        for _ in range(2):
            rows.append(
                {
                    "qry_text": "the red thing",
                    "qry_img_path": f"{colour}.png",
                    "tgt_text": [colour, other, f"{colour} {other}"],
                    "tgt_role": ["right", "image", "text"],
                    "group": group,
                }
            )
    (tmp_path / "neglect.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def test_contract(task, embedder):
    answer = run_neglect(task, embedder, parse_models("both"), seed=1)
    assert (answer["queries"], answer["images"], answer["groups"]) == (6, 3, 3)
    assert answer["chance"] == pytest.approx(1 / 3)
    ours, theirs = answer["models"]["ssa-me"], answer["models"]["baseline"]
    # It follows the image alone: right with the text permuted, wrong with the image permuted.
    assert ours["hit@1"]["value"] == 1.0
    assert ours["perceptual_score"]["image"]["value"] > 0
    assert ours["perceptual_score"]["text"]["value"] == 0.0
    assert ours["image_share"]["value"] == 1.0
    assert ours["errors"]["ignores_image"] is None  # there is no error to share
    # One vector for everything: never right, so no perceptual score; all candidates tie.
    assert theirs["hit@1"]["value"] == 0.0
    assert theirs["perceptual_score"] == {"image": None, "text": None}
    assert theirs["errors"]["ignores_image"]["value"] == pytest.approx(0.5)
    assert theirs["attention_on_image"]["value"] == pytest.approx(0.16)  # 16 cells of .01
    gap = answer["difference"]["ssa-me - baseline"]
    assert gap["hit@1"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert "balance" not in gap  # undefined for the baseline
    json.dumps(answer, allow_nan=False)


def test_other_rankings_are_refused(task, embedder):
    with pytest.raises(InputError, match=r"leave out ssa-me\+subjects"):
        run_neglect(task, embedder, parse_models("ssa-me+subjects"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tgt_role": ["image", "right", "text"]}, "row 1: one role a candidate"),
        ({"tgt_role": ["right"]}, "row 1: one role a candidate"),
        ({"qry_img_path": "gone.png"}, "gone.png of row 1 is missing"),
        ({"group": None}, "row 1: "),
    ],
)
def test_bad_rows_are_named(task, change, reason):
    lines = (task / "neglect.jsonl").read_text(encoding="utf-8").splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | change)
    (task / "neglect.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        read_neglect(task)


def test_a_task_needs_two_groups(task):
    lines = (task / "neglect.jsonl").read_text(encoding="utf-8").splitlines()
    (task / "neglect.jsonl").write_text("\n".join(lines[:2]), encoding="utf-8")
    with pytest.raises(InputError, match="at least two groups"):
        read_neglect(task)
    with pytest.raises(InputError, match=r"holds no neglect\.jsonl"):
        read_neglect(task / "none")
