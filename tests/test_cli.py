"""The commands as a user runs them, on a tiny random checkpoint: exit codes, streams, and the shape of the JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me import cli
from ssa_me.checkpoint import fingerprints
from ssa_me.gallery.store import Gallery
from ssa_me.mini import build_mini, train_tokenizer
from ssa_me.samples import Record, Subject, read_image_folder, write_metadata

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220), "yellow": (230, 220, 40)}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    torch.manual_seed(0)
    tokenizer = train_tokenizer([f"a {colour} square on a plain ground" for colour in COLOURS], 300)
    shape = {
        "width": 48,
        "layers": 2,
        "heads": 3,
        "mlp": 64,
        "vision_width": 32,
        "vision_layers": 1,
        "side": 64,
    }
    backbone = build_mini(tokenizer, **shape)
    for part in (backbone.model, backbone.tokenizer, backbone.image_processor):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Four photographs of a square, with captions and regions, and the same as an MMEB subset."""
    folder = tmp_path_factory.mktemp("data")
    records = []
    for number, (name, colour) in enumerate(COLOURS.items()):
        pixels = np.full((64, 80, 3), 128, dtype=np.uint8)
        pixels[10:40, 8 + 8 * number : 38 + 8 * number] = colour
        Image.fromarray(pixels).save(folder / f"{name}.png")
        square = Subject(f"a {name} square", bbox=(8 + 8 * number, 10, 30, 30))
        records.append(
            Record(folder / f"{name}.png", f"{name}.png", (f"a {name} square on a plain ground",), (square,))
        )
    write_metadata(folder, records)
    images = [f"{name}.png" for name in COLOURS]
    rows = [
        {
            "qry_text": f"a {name} square",
            "qry_img_path": "",
            "tgt_text": [""] * 4,
            "tgt_img_path": [f"{name}.png", *others],
        }
        for name in COLOURS
        for others in [[image for image in images if image != f"{name}.png"]]
    ]
    (folder / "binding_colour.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    return folder


@pytest.fixture
def run(capsys, checkpoint, monkeypatch, tmp_path):
    """Run a command in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))

    def _run(*argv: str | Path, with_checkpoint: bool = True):
        own = ["--checkpoint", str(checkpoint), "--device", "cpu"] if with_checkpoint else []
        code = cli.main([*map(str, argv), *own])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _run


def test_help_names_every_command_and_is_fast(capsys):
    code = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ssa_me", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert code.returncode == 0
    for name in ("index", "search", "scenes", "train", "evaluate", "mmeb", "neglect", "explain"):
        assert name in code.stdout
    for heavy in ("torch", "transformers", "cv2", "numpy", "faiss", "matplotlib"):
        assert f" {heavy}\n" not in code.stderr
    assert cli.main(["mmeb", "--help"]) == 0
    assert "--subsets" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["search", "red", "--gallery", "g", "-k", "many"], "invalid int value: 'many'"),
        (["mmeb"], "required: --data"),
        (["scenes", "out", "--pairs", "odd"], "invalid choice: 'odd'"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(run, argv, reason):
    code, out, err = run(*argv, with_checkpoint=False)
    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1
    assert err.startswith("error: ")


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["mmeb", "--data", "hub"], "MMEB"),
        (["mmeb", "--data", "nowhere"], "nowhere is not a folder"),
        (["evaluate", "--data", "nowhere"], "nowhere is not a folder"),
        (["evaluate", "--data", "nowhere.zip"], "nowhere.zip does not exist"),
        (["evaluate", "--data", ".", "--models", "best"], "no model 'best'"),
        (["explain", "--image", "none.png", "--text", "red", "--out", "x"], "none.png"),
        (["explain", "--image", "none.png", "--text", "  ", "--out", "x"], "--text is empty"),
        (["search", "red", "--gallery", "none"], "none is not a gallery"),
        (["search", "red", "--gallery", "none", "--salience", "full"], "none is not a gallery"),
        (["index", "nowhere", "--gallery", "g"], "nowhere does not exist"),
        (["scenes", "out", "--n", "0"], "1 or more"),
        (["scenes", "out", "--binding", "--language", "es"], "tasks are in English"),
        (["train", "--data", "d", "--out", "o", "--max-steps", "0"], "--max-steps is 0"),
    ],
)
def test_bad_input_is_one_line_and_exits_2(run, argv, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*argv, "--json")
    assert (code, out) == (2, "")
    assert reason in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err


def test_a_missing_checkpoint_is_bad_input(run, data, tmp_path):
    code, out, err = run("evaluate", "--data", data, "--checkpoint", tmp_path / "none", with_checkpoint=False)
    assert (code, out) == (2, "")
    assert "none" in err


def test_evaluate(run, data):
    code, out, err = run("evaluate", "--data", data, "--json")
    assert code == 0
    found = json.loads(out)
    assert set(found) == {"data", "images", "models", "difference"}
    assert set(found["models"]) == {"baseline", "ssa-me"}
    for name, model in found["models"].items():
        assert model["text_to_image"].keys() == {
            "queries",
            "recall@1",
            "recall@5",
            "recall@10",
            "median_rank",
            "ndcg@10",
        }
        assert model["localisation"].keys() == {"attention", "salience", "query_free"}
        assert (model["localisation"]["salience"] is None) == (name == "baseline")
    assert found["models"]["ssa-me"]["text_to_image"]["recall@5"] == 1.0  # of four images
    assert found["difference"]["ssa-me - baseline"]["text_to_image.recall@5"] == {
        "value": 0.0,
        "interval": [0.0, 0.0],
    }
    assert "4 of 4 embedded" in err
    code, out, _ = run("evaluate", "--data", data, "--models", "ssa-me")
    assert code == 0
    assert "recall@10" in out
    assert "ssa-me - baseline" not in out


def test_mmeb(run, data):
    code, out, _ = run("mmeb", "--data", data, "--models", "both,ssa-me+subjects,ssa-me+rerank", "--json")
    assert code == 0
    found = json.loads(out)
    assert set(found) == {"models", "difference"}
    for model in found["models"].values():
        subset = model["subsets"]["binding_colour"]
        assert subset["queries"] == 4
        assert subset["chance"] == 0.25
        assert subset["interval"][0] <= subset["hit@1"] <= subset["interval"][1]
        assert model["overall"] == subset["hit@1"]
    assert set(found["difference"]["ssa-me - baseline"]) == {"subsets.binding_colour.hit@1", "overall"}
    code, out, _ = run("mmeb", "--data", data, "--subsets", "binding_colour")
    assert "chance" in out
    code, _, err = run("mmeb", "--data", data, "--subsets", "GQA")
    assert code == 2
    assert "no subset 'GQA'" in err
    assert Path("workspace/mmeb/embeddings.sqlite").is_file()
    assert "8 of 8 are in the cache" in run("mmeb", "--data", data)[2]


def test_mmeb_from_the_hub_without_a_network(run, monkeypatch):
    monkeypatch.setattr("ssa_me.evaluation.mmeb_hub.find_spec", lambda name: object())
    code, out, err = run("mmeb", "--data", "hub", "--subsets", "GQA")
    assert (code, out) == (2, "")
    assert "GQA/test-00000-of-00001.parquet of TIGER-Lab/MMEB-eval is not in workspace/mmeb/MMEB-eval" in err
    assert "scenes --mmeb" in err
    code, _, err = run("mmeb", "--data", "hub", "--subsets", "GQA2")
    assert code == 2
    assert "no subset GQA2" in err


def test_neglect(run, tmp_path):
    code, out, _ = run("neglect", "--n", "6", "--keep", tmp_path / "task", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["queries"], found["images"]) == (18, 6)
    assert set(found["models"]) == {"baseline", "ssa-me"}
    code, out, _ = run("neglect", "--data", tmp_path / "task")
    assert code == 0
    assert "perceptual score of the image" in out
    code, _, err = run("neglect", "--n", "3")
    assert code == 2
    assert "at least two groups" in err


def test_explain(run, data, tmp_path):
    out_folder = tmp_path / "maps"
    code, out, _ = run(
        "explain",
        "--image",
        data / "red.png",
        "--text",
        "a red square on a ground",
        "--out",
        out_folder,
        "--json",
    )
    assert code == 0
    found = json.loads(out)
    assert found["attributions"] == []
    assert set(found["models"]["ssa-me"]) >= {"similarity", "attention_on_image"}
    assert {"phrase", "score", "region", "rival", "misaligned"} <= set(found["alignment"][0])
    assert sorted(found["files"]) == sorted(str(path) for path in out_folder.iterdir())
    names = {Path(file).name for file in found["files"]}
    assert {"attention.png", "attention-difference.png", "stages.png"} < names
    assert any(name.startswith("salience-1") for name in names)
    with Image.open(out_folder / "attention.png") as picture:
        assert picture.width > 3 * 300
    code, out, _ = run(
        "explain", "--image", data / "red.png", "--text", "红色的方块", "--out", out_folder, "--phrase", "红"
    )
    assert code == 0
    assert "attention_on_image" in out
    assert (out_folder / "salience-1.png").is_file()


def test_explain_attributes_by_methods(run, data, tmp_path):
    options = ["--image", data / "red.png", "--text", "a red square", "--out", tmp_path / "maps"]
    asked = [
        "--method",
        "input-x-gradient,saliency",
        "--region",
        "8,10,30,30",
        "--format",
        "svg",
        "--of",
        "ssa-me,difference",
    ]
    code, out, err = run("explain", *options, *asked, "--json")
    assert code == 0
    found = json.loads(out)
    assert [(entry["method"], entry["model"]) for entry in found["attributions"]] == [
        ("input-x-gradient", "ssa-me"),
        ("input-x-gradient", "ssa-me - baseline"),
        ("saliency", "ssa-me"),
    ]
    first = found["attributions"][0]
    assert {"convergence", "deletion_auc", "insertion_auc", "infidelity"} <= set(first["quality"])
    assert [word["word"] for word in first["words"]] == ["a", "red", "square"]
    assert first["quality"]["pointing_game"] in (0, 1)
    assert {"attribution-saliency.svg", "attribution-input-x-gradient.svg", "attention.png"} <= {
        Path(file).name for file in found["files"]
    }
    assert (tmp_path / "maps" / "attribution-saliency.svg").read_text(encoding="utf-8").count("<svg") == 1
    assert "trust" in err


def test_explain_checks_a_map_and_weighs_image_against_text(run, data, tmp_path):
    options = [
        "--image",
        data / "red.png",
        "--text",
        "a red square",
        "--out",
        tmp_path / "maps",
        "--method",
        "saliency",
    ]
    code, out, _ = run("explain", *options, "--of", "ssa-me", "--sanity", "--balance", "--report")
    assert code == 0
    report = (tmp_path / "maps" / "report.html").read_text(encoding="utf-8")
    assert (
        "Attribution: Saliency" in report and "explain --image red.png" in report and "--of ssa-me" in report
    )
    assert str(tmp_path / "maps" / "report.html") in out
    assert "Saliency" in out and "Held fixed" in out and "shuffled" in out and "image's share" in out


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (["--method", "guesswork"], "no attribution method 'guesswork'"),
        (["--method", "saliency", "--of", "third"], "no score of 'third'"),
        (["--method", "saliency", "--of", "difference"], "without a sign"),
        (["--method", "saliency", "--baseline", "zero"], "zeros is refused"),
        (["--method", "saliency", "--region", "1,2,3"], "four numbers"),
    ],
)
def test_explain_refuses_attributions_that_make_no_sense(run, data, tmp_path, asked, reason):
    options = ["--image", data / "red.png", "--text", "a red square", "--out", tmp_path / "maps"]
    code, out, err = run("explain", *options, *asked)
    assert code == 2 and out == "" and reason in err
    assert not (tmp_path / "maps").exists()


def test_explain_by_the_whole_pipeline(run, data, tmp_path):
    options = ["--image", data / "red.png", "--text", "a red square on a ground", "--out", tmp_path / "maps"]
    code, out, _ = run("explain", *options, "--salience", "full", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["salience"] == "full"
    assert set(found["seconds"]) >= {"subjects", "expert", "relevance", "fusion"}
    code, out, _ = run("explain", *options, "--salience", "full")
    assert code == 0 and "salience full:" in out and "relevance" in out
    code, _, err = run("explain", *options, "--salience", "full", "--expert", "clipseg:nowhere/at/all")
    assert code == 2 and "no folder nowhere/at/all" in err
    code, _, err = run("explain", *options, "--expert", "magic")
    assert code == 2 and "no expert 'magic'" in err


def test_index_and_search(run, data, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for path in data.glob("*.png"):
        shutil.copy(path, tmp_path / "photos")
    shutil.copy(data / "red.png", tmp_path / "photos" / "zz-again.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    code, out, err = run("index", "photos", "--gallery", "g", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["images"], report["found"], report["added"]) == (4, 6, 4)
    assert report["duplicates"] == [{"name": "zz-again.png", "same_as": "red.png"}]
    assert [skipped["name"] for skipped in report["skipped"]] == ["broken.png"]
    assert "4 added" in err

    # The gallery knows its checkpoint.
    code, out, _ = run("search", "a red square", "--gallery", "g", "-k", "3", "--json", with_checkpoint=False)
    assert code == 0
    found = json.loads(out)
    assert set(found) >= {"query", "results", "overlap"}
    assert set(found["results"]) == {"baseline", "ssa-me"}
    for hits in found["results"].values():
        assert [hit["rank"] for hit in hits] == [1, 2, 3]
        assert hits[0].keys() >= {"rank", "id", "path", "score", "subject"}
        assert hits[0]["score"] >= hits[1]["score"] >= hits[2]["score"]

    # An image finds itself, alone and with a text of no weight.
    for more in ([], ["a green square", "--image-weight", "1"]):
        code, out, _ = run(
            "search", *more, "--image", "photos/blue.png", "--gallery", "g", "--model", "ssa-me", "--json"
        )
        assert code == 0
        assert Path(json.loads(out)["results"]["ssa-me"][0]["path"]).name == "blue.png"

    code, out, err = run("search", "blue", "--gallery", "g", "--model", "ssa-me:subjects", "-k", "9")
    assert code == 0
    assert "blue.png" in out
    assert "ssa-me+subjects" in out
    assert "4 images" in err  # fewer than asked for

    by = {}
    for salience in ("head", "full"):
        argv = ["a red square", "--gallery", "g", "--model", "ssa-me+rerank,baseline+rerank", "--json"]
        code, out, _ = run("search", *argv, "--salience", salience)
        assert code == 0
        by[salience] = json.loads(out)["results"]["ssa-me+rerank"]
    assert [hit["score"] for hit in by["head"]] != [hit["score"] for hit in by["full"]]

    for argv, reason in (
        ([" "], "nothing to search for"),
        (["red", "-k", "0"], "k is 0"),
        (["x" * 10_001], "10,001 characters"),
        (["red", "--image", "photos/broken.png"], "broken.png"),
        (["red", "--image", "photos/red.png", "--image-weight", "1.5"], "between 0 and 1"),
        (["red", "--model", "best"], "no model 'best'"),
    ):
        code, out, err = run("search", *argv, "--gallery", "g", "--json")
        assert (code, out) == (2, "")
        assert reason in err


def test_index_again_adds_nothing(run, data, tmp_path):
    for added in (4, 0):
        code, out, _ = run("index", data, "--gallery", tmp_path / "g", "--json")
        assert code == 0
        assert json.loads(out)["added"] == added
    code, out, _ = run("index", data, "--gallery", tmp_path / "g")
    assert "4 were there already, 0 were duplicates" in out
    assert "same as" not in out


def test_a_zip_is_unpacked_in_few_lines(run, data, tmp_path):
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(100):
            archive.write(data / "red.png", f"{number}.png")
    code, out, err = run("index", tmp_path / "many.zip", "--gallery", tmp_path / "g")
    assert code == 0
    assert "Of 100 found 1 were added, 99 were duplicates" in out
    assert 5 <= err.count("files of the zip read") <= 12


def test_an_index_that_was_interrupted_goes_on_without_its_source(run, data, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for path in data.glob("*.png"):
        shutil.copy(path, tmp_path / "photos")
    index = ("index", "--gallery", tmp_path / "g")
    with monkeypatch.context() as patched:
        patched.setattr("ssa_me.gallery.store.Gallery.adopt", _interrupt)
        assert run(*index, tmp_path / "photos")[0] == 1
    code, out, _ = run("gallery", tmp_path / "g", "--json", with_checkpoint=False)
    assert code == 0 and json.loads(out)["unfinished"] == [str(tmp_path / "photos")]
    assert "goes on" in run("gallery", tmp_path / "g", with_checkpoint=False)[1]
    shutil.copy(data / "red.png", tmp_path / "photos" / "again.png")
    (tmp_path / "photos").rename(tmp_path / "unplugged")
    code, _, err = run(*index)
    assert code == 2 and "photos does not exist" in err
    (tmp_path / "unplugged").rename(tmp_path / "photos")
    with monkeypatch.context() as patched:
        patched.setattr("ssa_me.gallery.unfinished.Unfinished.at_work", True)
        code, _, err = run(*index)
        assert code == 2 and "at this moment" in err
    code, out, _ = run(*index, "--json")
    report = json.loads(out)
    assert (code, report["images"], report["found"], report["added"]) == (0, 4, 5, 0)
    assert json.loads(run(*index, "--json")[1])["found"] == 0  # nothing is left
    assert json.loads(run("gallery", tmp_path / "g", "--json", with_checkpoint=False)[1])["unfinished"] == []


def test_what_an_interrupted_index_left_is_given_up(run, data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("ssa_me.gallery.store.Gallery.adopt", _interrupt)
        assert run("index", data, "--gallery", tmp_path / "g")[0] == 1
    code, out, _ = run("gallery", tmp_path / "g", "--forget-unfinished", "--json", with_checkpoint=False)
    assert (code, json.loads(out)["unfinished"], json.loads(out)["images"]) == (0, [], 4)


def _interrupt(*_):
    raise KeyboardInterrupt


def test_a_failing_source_leaves_an_empty_gallery_that_was_there(run, tmp_path):
    Gallery.create(tmp_path / "g", "mine", "none")
    (tmp_path / "empty").mkdir()
    code, _, err = run("index", tmp_path / "empty", "--gallery", tmp_path / "g")
    assert code == 2
    assert "holds no image" in err
    assert Gallery.open(tmp_path / "g").name == "mine"


def test_a_gallery_whose_checkpoint_is_gone_asks_for_it(run, data, checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "own")
    index = ("index", data, "--gallery", tmp_path / "g", "--checkpoint", tmp_path / "own")
    assert run(*index, with_checkpoint=False)[0] == 0
    shutil.move(tmp_path / "own", tmp_path / "moved")
    search = ("search", "red", "--gallery", tmp_path / "g")
    code, _, err = run(*search, with_checkpoint=False)
    assert code == 2
    assert f"no longer at {tmp_path / 'own'}" in err
    assert "--checkpoint" in err
    assert run(*search, "--checkpoint", tmp_path / "moved", with_checkpoint=False)[0] == 0


def test_a_long_text_does_not_flood_the_table(run, data, tmp_path):
    run("index", data, "--gallery", tmp_path / "g")
    code, out, _ = run("search", "x" * 5000, "--gallery", tmp_path / "g")
    assert code == 0
    assert "x…" in out
    assert max(map(len, out.splitlines())) < 400


def test_a_search_sets_another_checkpoint_against_the_gallerys_own(run, data, trained_checkpoint, tmp_path):
    assert run("index", data, "--gallery", "g")[0] == 0
    against = ["--gallery", "g", "-k", "2", "--against", trained_checkpoint, "--json"]
    code, out, err = run("search", "a red square", *against)
    assert code == 0 and "embedding again" in err
    found, prints = json.loads(out), fingerprints(trained_checkpoint)
    assert prints["ssa-me"] in found["models"]["baseline"]
    alone = [
        "search", "a red square", "--gallery", "g", "-k", "2", "--model", "ssa-me", "--json", "--device", "cpu",
    ]  # fmt: skip
    code, out, _ = run(*alone, "--checkpoint", trained_checkpoint, with_checkpoint=False)
    expected = json.loads(out)["results"]["ssa-me"]
    assert [hit["id"] for hit in found["results"]["baseline"]] == [hit["id"] for hit in expected]
    code, out, err = run("search", "a red square", *against)
    assert code == 0 and "embedding again" not in err, "once is enough"
    _, kept, _ = run(*alone, with_checkpoint=False)
    own = json.loads(kept)["results"]["ssa-me"]
    assert [hit["score"] for hit in own] == pytest.approx(
        [hit["score"] for hit in found["results"]["ssa-me"]]
    )
    code, _, err = run("search", "x", "--gallery", "g", "--against", tmp_path / "nowhere")
    assert code == 2 and "nowhere" in err


@pytest.mark.parametrize(
    ("argv", "reason"),
    [(["--text", "x" * 10_001], "10,001 characters"), (["--text", "x", "--phrase", " "], "--phrase")],
)
def test_explain_refuses_what_a_search_refuses(run, data, tmp_path, argv, reason):
    code, out, err = run("explain", "--image", data / "red.png", *argv, "--out", tmp_path / "maps")
    assert (code, out) == (2, "")
    assert reason in err
    assert not (tmp_path / "maps").exists()


def test_a_folder_without_images_leaves_no_gallery(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = run("index", tmp_path / "empty", "--gallery", tmp_path / "g")
    assert code == 2
    assert "holds no image" in err
    assert not (tmp_path / "g").exists()


def test_scenes_and_binding(run, tmp_path):
    code, out, _ = run("scenes", tmp_path / "scenes", "--n", "3", "--seed", "7", "--json")
    assert code == 0
    assert json.loads(out)["images"] == 3
    assert len(read_image_folder(tmp_path / "scenes")) == 3
    code, out, _ = run("scenes", tmp_path / "binding", "--n", "1", "--seed", "1000000", "--binding")
    assert code == 0
    assert "chance is 8.3%" in out
    code, out, _ = run("mmeb", "--data", tmp_path / "binding", "--subsets", "binding_colour", "--json")
    assert json.loads(out)["models"]["ssa-me"]["subsets"]["binding_colour"]["queries"] == 1
    code, _, err = run("scenes", tmp_path / "scenes", "--n", "3")
    assert code == 2
    assert "already holds" in err


def test_train_dry_run_writes_nothing(run, data, tmp_path):
    code, out, _ = run(
        "train", "--data", data, "--out", tmp_path / "out", "--max-steps", "2", "--dry-run", "--json"
    )
    assert code == 0
    assert isinstance(json.loads(out), dict)
    assert not (tmp_path / "out").exists()
    code, _, err = run("train", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert code == 2
    assert "none" in err


def test_train_says_its_plan_in_lines_and_reads_a_zip(run, data, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", data)
    code, out, _ = run("train", "--data", archive, "--out", tmp_path / "out", "--max-steps", "2", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    assert "data: set, 4" in lines
    assert "stages: baseline; ssa-me; composition; trust" in lines
    assert "    steps: 2" in lines
    assert "{" not in out


@pytest.mark.parametrize(("finished", "expected"), [(True, 0), (False, 1)])
def test_a_training_that_was_stopped_does_not_exit_0(run, data, tmp_path, monkeypatch, finished, expected):
    summary = {"out": "out", "finished": finished, "next": "" if finished else "stopped"}
    monkeypatch.setattr("ssa_me.training.run", lambda request, progress: summary)
    code, out, _ = run("train", "--data", data, "--out", tmp_path / "out")
    assert code == expected
    assert ("next: stopped" in out) == (not finished)


def test_evaluate_reads_a_zip(run, data, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", data)
    code, out, _ = run("evaluate", "--data", archive, "--models", "ssa-me", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["data"], found["images"]) == (archive, 4)


def test_evaluate_compares_several_sets_and_holds_maps_against_controls(run, data):
    code, out, _ = run("evaluate", "--data", data, data, "--models", "ssa-me", "--json")
    assert code == 0
    assert [found["data"] for found in json.loads(out)["sets"]] == [str(data)] * 2
    code, out, _ = run("evaluate", "--data", data, "--models", "ssa-me", "--localisation-controls")
    assert code == 0
    for named in ("centre prior", "raw attention", "gradient of baseline", "salience - OpenCV expert"):
        assert named in out


def test_evaluate_measures_lists_of_subjects_where_it_is_asked(run, data):
    code, out, err = run("evaluate", "--data", data, "--models", "ssa-me", "--subject-lists", "--json")
    assert code == 0
    found = json.loads(out)["subjects"]
    assert found["images"] == 4 and set(found) == {"images", "precision", "recall", "exact"}
    assert "subjects of 4 of 4 images listed" in err


def test_library_chatter_stays_off_stdout(run, data, monkeypatch):
    from ssa_me.embedder import SalientEmbedder

    load = SalientEmbedder.load

    def chatty(*args, **options):
        print("downloading the internet")
        return load(*args, **options)

    monkeypatch.setattr(SalientEmbedder, "load", chatty)
    code, out, err = run("mmeb", "--data", data, "--models", "ssa-me", "--json")
    assert code == 0
    json.loads(out)
    assert "downloading the internet" in err


def test_interruption_is_quiet(run, data, monkeypatch):
    from ssa_me.embedder import SalientEmbedder

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(SalientEmbedder, "load", interrupted)
    assert run("evaluate", "--data", data) == (1, "", "interrupted\n")


def test_a_reader_that_leaves_is_no_crash(data, checkpoint):
    command = [
        sys.executable,
        "-m",
        "ssa_me",
        "mmeb",
        "--no-cache",
        "--data",
        data,
        "--checkpoint",
        checkpoint,
        "--device",
        "cpu",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60) == 1
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.parametrize(
    ("checkpoint", "offline"),
    [(None, "1"), (".", "1"), ("Qwen/Qwen2-VL-2B-Instruct", None), ("./here/mini", "1")],
)
def test_nothing_leaves_the_machine_unless_a_hub_is_named(checkpoint, offline, monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    cli.stay_offline(checkpoint)
    assert os.environ.get("HF_HUB_OFFLINE") == offline
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_an_expert_may_come_from_the_hub(monkeypatch):
    for expert, offline in (
        ("clipseg:some/model", None),
        ("grounded-sam:., some/model", None),
        ("opencv", "1"),
    ):
        monkeypatch.setattr(os, "environ", {})
        cli.stay_offline(None, *cli._paths(expert))
        assert os.environ.get("HF_HUB_OFFLINE") == offline
    assert cli._paths(None) == [""]


def test_json_is_strict():
    assert json.loads(cli.to_json({"a": float("nan"), "b": (1, float("inf")), "c": "\udc80"})) == {
        "a": None, "b": [1, None], "c": "\udc80",
    }  # fmt: skip


def test_a_gallery_is_described_and_images_are_removed(run, data, tmp_path):
    shutil.copytree(data, tmp_path / "photos")
    assert run("index", tmp_path / "photos", "--gallery", tmp_path / "g")[0] == 0
    code, out, _ = run("gallery", tmp_path / "g", "--json")
    found = json.loads(out)
    assert (code, found["images"], found["read_only"], found["queries"]) == (0, 4, False, [])
    assert {space["search"] for space in found["spaces"]} == {"exact"} and len(found["spaces"]) == 4
    code, out, err = run("gallery", tmp_path / "g", "--remove-where", "caption~green", "--remove", "1", "99")
    assert code == 0 and "2 images removed" in err and "2 images" in out
    assert len(list((tmp_path / "photos").glob("*.png"))) == 4
    code, _, err = run("gallery", tmp_path / "g", "--remove-where", "green")
    assert code == 2 and "no condition" in err
    assert run("gallery", tmp_path / "none")[0] == 2


def test_near_duplicates_of_a_gallery_are_listed_and_removed_where_that_is_said(run, data, tmp_path):
    shutil.copytree(data, tmp_path / "photos")
    with Image.open(data / "red.png") as red:
        red.resize((red.width // 2, red.height // 2)).save(tmp_path / "photos" / "small red.png")
    run("index", tmp_path / "photos", "--gallery", tmp_path / "g")
    code, out, _ = run("gallery", tmp_path / "g", "--near-duplicates", "-1", "--json")
    found = json.loads(out)["near_duplicates"]
    (group,) = found["groups"]
    assert code == 0 and (found["compared"], found["search"], found["removed"]) == (5, "exact", 0)
    assert [image["id"] for image in group["images"]] == [1, 2, 3, 4, 5]
    first = {image["id"]: image for image in group["images"]}[group["representative"]]
    assert first["cosine"] == pytest.approx(1) and first["width"] == 80

    alike = json.loads(run("gallery", tmp_path / "g", "--near-duplicates", "--json")[1])["near_duplicates"]
    assert alike["threshold"] == 0.94
    code, out, err = run("gallery", tmp_path / "g", "--remove-near-duplicates")
    assert code == 2 and "goes with --near-duplicates" in err
    assert run("gallery", tmp_path / "g", "--near-duplicates", "2")[0] == 2
    code, out, _ = run("gallery", tmp_path / "g", "--near-duplicates", "-1", "--remove-near-duplicates")
    assert code == 0 and "1 groups" in out and "4 of them removed" in out and ": 1 images" in out
    assert len(list((tmp_path / "photos").glob("*.png"))) == 5
    assert "0 groups" in run("gallery", tmp_path / "g", "--near-duplicates")[1]


def test_another_checkpoint_is_told_with_the_command_that_embeds_again(
    run, data, checkpoint, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    from safetensors.torch import load_file, save_file

    (weights,) = other.glob("*.safetensors")
    changed = {name: value + 0.01 for name, value in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    run("index", data, "--gallery", tmp_path / "g")
    own = ["--checkpoint", str(other)]
    code, _, err = run("search", "red", "--gallery", tmp_path / "g", *own, with_checkpoint=False)
    assert code == 2
    command = err[err.index("python -m ssa_me") :].split()[3:]
    assert command == ["index", "--gallery", str((tmp_path / "g").resolve()), "--checkpoint", str(other)]
    code, out, _ = run(*command, with_checkpoint=False)
    assert code == 0 and "4 embedded again" in out
    assert run("search", "red", "--gallery", tmp_path / "g", with_checkpoint=False)[0] == 0
    assert Gallery.open(tmp_path / "g").checkpoint == str(other)
    code, _, err = run("gallery", tmp_path / "g", "--forget-others", with_checkpoint=False)
    assert code == 0 and "4 spaces of other versions deleted" in err


def test_a_search_is_refined_saved_and_exported(run, data, tmp_path):
    run("index", data, "--gallery", tmp_path / "g")
    asked = ["a square -blue", "--gallery", tmp_path / "g", "-k", "2", "--where", "caption~square"]
    more = ["--where", "file_name!=red.png", "--sort", "alignment", "--least-alignment", "-1"]
    code, out, err = run(
        *("search", *asked, *more, "--hide-duplicates", "1", "--save", "squares", "--json"),
        *("--export", tmp_path / "out", "--thumbnails"),
    )
    assert code == 0 and "saved as 'squares'" in err
    first = json.loads(out)
    assert first["query"]["unwanted"] == ["blue"]
    assert first["query"]["where"] == ["caption~square", "file_name!=red.png"]
    assert all(len(hits) == 2 for hits in first["results"].values())
    assert not any(hit["path"].endswith("red.png") for hits in first["results"].values() for hit in hits)
    assert (tmp_path / "out" / "results.csv").is_file() and (tmp_path / "out" / "thumbnails").is_dir()
    code, out, _ = run("search", "--saved", "squares", "--gallery", tmp_path / "g", "--json")
    assert json.loads(out)["results"] == first["results"]
    code, out, _ = run("search", "--saved", "squares", "--gallery", tmp_path / "g", "--only")
    assert code == 0 and "overlap" in out
    code, out, _ = run(
        *("search", "--image", data / "red.png", "--region", "8,10,30,30", "--gallery", tmp_path / "g"),
        *("--model", "ssa-me+subjects", "--json"),
    )
    assert code == 0
    assert json.loads(out)["results"]["ssa-me+subjects"][0]["subject"]["phrase"] == "the marked region"
    for argv, reason in (
        (["red", "--where", "x"], "no condition"),
        (["red", "--region", "1,2"], "X,Y,W,H"),
        (["red", "--region", "1,2,3,4"], "no image"),
        (["--saved", "nothing"], "no saved query 'nothing'"),
        (["-k", "3", " -red"], "Say what to look for"),
    ):
        code, _, err = run("search", *argv, "--gallery", tmp_path / "g")
        assert (code, reason in err) == (2, True), err
