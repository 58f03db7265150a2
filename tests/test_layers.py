"""AUROC by hand, the best set of layers on maps that are made up, and the command on a tiny checkpoint."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from ssa_me import cli
from ssa_me.checkpoint import load_parts
from ssa_me.layers import Region, auroc, best_set, scores
from ssa_me.samples import Record, Subject, write_metadata

BOXES = np.array([[0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8], [4, 4, 8, 8]], np.float32)
LEFT = np.zeros((8, 8), bool)
LEFT[:, :4] = True


def region(*rows: list[float], half: int = 0) -> Region:
    """The left half of an image of 2 × 2 tokens, and a map of each layer."""
    maps = {"backbone": np.array(rows, np.float32)}
    return Region(maps, BOXES, LEFT, np.array([1.0, 0, 1, 0]), half)


@pytest.mark.parametrize(
    ("values", "covered", "areas", "expected"),
    [
        ([4, 1, 3, 2], [1, 0, 1, 0], [1, 1, 1, 1], 1.0),
        ([1, 4, 2, 3], [1, 0, 1, 0], [1, 1, 1, 1], 0.0),
        ([1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1], 0.5),
        ([4, 3, 2, 1], [1, 0, 1, 0], [1, 1, 1, 1], 0.75),
        (
            [4, 3, 2, 1],
            [1, 0, 1, 0],
            [3, 1, 1, 1],
            0.875,
        ),  # 3 of 4 pixels inside beat both outside, 1 beats one
        ([2, 1], [0.5, 0], [2, 2], (2 + 0.5) / 3),  # 1 pixel inside beats 2 outside and ties with 1
    ],
)
def test_auroc_by_hand(values, covered, areas, expected):
    found = auroc(*(np.array(row, float) for row in (values, covered, areas)))
    assert found == pytest.approx(expected)


def test_a_region_that_is_all_or_nothing_has_no_auroc():
    flat = np.ones(4)
    assert np.isnan(auroc(flat, np.zeros(4), flat)) and np.isnan(auroc(flat, np.ones(4), flat))


def test_scores_are_those_of_the_mean_map():
    good, bad = [0.4, 0.1, 0.3, 0.2], [0.1, 0.2, 0.0, 0.9]
    regions = [region(good, bad)]
    assert scores(regions, "backbone", [0]) == {"auroc": 1.0, "pointing_game": 1.0}
    assert scores(regions, "backbone", [1]) == {"auroc": 0.0, "pointing_game": 0.0}
    assert scores(regions, "backbone", [0, 1])["pointing_game"] == 0.0


def test_the_best_set_may_be_a_run_or_the_best_single_ones():
    noise = [0.1, 0.9, 0.1, 0.8]
    upper, lower = [0.9, 0.5, 0.1, 0.4], [0.1, 0.4, 0.9, 0.5]  # each sees one of the two tokens
    assert best_set([region(noise, upper, lower)], "backbone", 3) == (1, 2)
    assert best_set([region(upper, noise, lower)], "backbone", 3) == (0, 2)
    assert best_set([region(upper, upper, noise)], "backbone", 3) == (0, 1)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regions")
    records = []
    for number in range(8):
        pixels = np.full((64, 80, 3), 128, np.uint8)
        x = 5 * number
        pixels[10:40, x : x + 30] = (220, 30, 30)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        subjects = (Subject("a red square", bbox=(x, 10, 30, 30)), Subject("the sky", bbox=(0, 0, 80, 8)))
        records.append(Record(folder / f"{number}.png", f"{number}.png", (), subjects))
    write_metadata(folder, records)
    return folder


def run(capsys, *argv):
    code = cli.main([*map(str, argv), "--device", "cpu"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_layer_is_scored_and_a_set_is_chosen(capsys, data, trained_checkpoint):
    code, out, _ = run(capsys, "layers", "--data", data, "--checkpoint", trained_checkpoint, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["images"], found["regions"], found["written"]) == (8, 16, False)
    assert [row["layer"] for row in found["layers"]] == [0, 1, 2]
    for row in found["layers"]:
        for version in ("backbone", "baseline", "ssa-me"):
            assert 0 <= row[version]["auroc"] <= 1 and 0 <= row[version]["pointing_game"] <= 1
    assert len({row["ssa-me"]["auroc"] for row in found["layers"]}) > 1
    assert found["now"] == [1, 2]
    assert set(found["chosen"]) <= {0, 1, 2}
    assert 0 < found["held_out"]["regions"] < 16
    code, out, _ = run(capsys, "layers", "--data", data, "--checkpoint", trained_checkpoint, "--by", "ssa-me")
    assert code == 0 and "chosen by the attention of ssa-me" in out and "backbone AUROC" in out


def test_the_chosen_layers_are_written_and_read(capsys, data, trained_checkpoint, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained_checkpoint, folder)
    before = load_parts(folder / "ssa-me", 32)[1]
    argv = ["layers", "--data", data, "--checkpoint", folder, "--limit", 6, "--write", "--json"]
    code, out, err = run(capsys, *argv)
    assert code == 0 and "index galleries of it again" in err
    found = json.loads(out)
    after = load_parts(folder / "ssa-me", 32)[1]
    assert found["images"] == 6 and found["written"]
    assert after.layers == tuple(found["chosen"])
    assert after.description == before.description
    assert json.loads(run(capsys, *argv)[1])["now"] == found["chosen"]


def test_what_cannot_be_is_said(capsys, data, trained_checkpoint, checkpoint_of, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    Image.new("RGB", (64, 64)).save(plain / "a.png")
    for source, more, reason in (
        (plain, [], "0 annotated regions"),
        (data, ["--limit", "0"], "--limit is 0"),
        (data, ["--by", "best"], "no version 'best'"),
        (data, ["--checkpoint", checkpoint_of("qwen2_vl"), "--write"], "no ssa-me/"),
    ):
        code, out, err = run(
            capsys, "layers", "--data", source, "--checkpoint", trained_checkpoint, *more, "--json"
        )
        assert (code, out) == (2, "") and reason in err


def test_images_of_one_scene_lie_in_one_half(data, trained_checkpoint):
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.layers import _regions
    from ssa_me.samples import read_image_folder

    records = [
        Record(r.path, r.file_name, r.captions, r.subjects, extra={"scene": "one"})
        for r in read_image_folder(data)[:2]
    ]
    found = list(_regions(records, SalientEmbedder.load(trained_checkpoint, "cpu"), lambda _: None))
    assert len(found) == 4
    assert all(first.half == second.half for first, second in pairwise(found))
