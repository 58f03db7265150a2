"""`failures` as a user runs it, on a tiny random checkpoint."""

from __future__ import annotations

import csv
import json

import pytest

from ssa_me import cli
from ssa_me.checkpoint import fingerprints
from ssa_me.gallery.store import Gallery
from tests.failures.conftest import write_pictures


@pytest.fixture
def run(capsys, trained_checkpoint, tmp_path):
    """Run the command: (exit code, stdout, stderr)."""

    def _run(*argv):
        capsys.readouterr()
        code = cli.main(
            ["failures", *map(str, argv), "--checkpoint", str(trained_checkpoint), "--device", "cpu"]
        )
        return code, *capsys.readouterr()

    return _run


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_pictures(folder)
    return folder


def test_captions_of_a_data_set(run, data, tmp_path):
    out = tmp_path / "out"
    code, stdout, stderr = run(
        "--data", data, "--gallery", tmp_path / "gallery", "--out", out, "-k", 10, "--json"
    )
    assert code == 0, stderr
    found = json.loads(stdout)
    assert (found["queries"], found["images"], found["k"], found["rows"]) == (10, 5, 10, 10)
    assert set(found["models"]) == {"baseline", "ssa-me"} and found["outcomes"]["both-right"] == 10
    assert set(found["difference"]) == {"recall@1", "recall@5", "recall@10", "ndcg@10", "mean_rank"}
    assert found["files"] == [str(out / f"failures.{kind}") for kind in ("csv", "json", "html")]
    with (out / "failures.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    gains = [int(row["gain"]) for row in rows]
    assert gains == sorted(gains, reverse=True) and rows[0]["target"].endswith(".png")
    assert len(json.loads((out / "failures.json").read_text())["rows"]) == 10
    assert (out / "failures.html").read_text().count("<img") == 10

    code, stdout, _ = run("--gallery", tmp_path / "gallery", "--out", out, "-k", 1, "--outcome", "both-wrong")
    assert code == 0 and "10 queries on 5 images" in stdout and "with a cut-off of 1" in stdout
    assert "embedding" not in stdout


def test_a_list_of_queries(run, data, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("something warm\tred.png\nunheard of\n")
    code, stdout, _ = run(
        "--data", data, "--gallery", tmp_path / "gallery", "--out", tmp_path / "out", "--queries", listed, "--json"
    )  # fmt: skip
    found = json.loads(stdout)
    assert (code, found["queries"], found["skipped"][0]["query"]) == (0, 1, "unheard of")


def test_another_checkpoint_in_the_baselines_place(run, data, checkpoint_of, tmp_path):
    against = ["--gallery", tmp_path / "g", "--out", tmp_path / "out", "--against", checkpoint_of("qwen3_vl")]
    code, stdout, stderr = run("--data", data, *against, "--json")
    assert code == 0, stderr
    found, prints = json.loads(stdout), fingerprints(checkpoint_of("qwen3_vl"))
    assert found["fingerprints"]["baseline"] == prints["ssa-me"]
    report = (tmp_path / "out" / "failures.html").read_text()
    assert found["titles"]["baseline"] in report and "SSA-ME − Baseline" not in report


def test_binding_tasks(run, tmp_path):
    code, stdout, stderr = run("--binding", 1, "--out", tmp_path / "out", "--json")
    found = json.loads(stdout)
    assert (code, found["queries"], found["images"]) == (0, 4, 48), stderr
    assert found["chance"] == pytest.approx(1 / 12)
    assert len(Gallery.open(tmp_path / "out" / "binding")) == 48


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--gallery", "nowhere"], "not a gallery"),
        ([], "Say with --gallery"),
        (["--binding", "1", "--queries", "x.txt"], "leave --data and --queries out"),
        (["--gallery", "g", "--data", "nowhere"], "does not exist"),
        (["--gallery", "g", "-k", "3"], "cut-off is 3"),
        (["--gallery", "g", "--outcome", "lost"], "no outcome 'lost'"),
    ],
)
def test_what_is_refused_is_one_line(run, tmp_path, monkeypatch, argv, reason):
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = run("--out", tmp_path / "out", *argv)
    assert (code, stdout) == (2, "") and reason in stderr
    assert len([line for line in stderr.splitlines() if line.startswith("error")]) == 1
