"""The command `versions`: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssa_me.cli import main


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert main(["versions", *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_in_list_use_out_and_gone(
    trained_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--workspace", tmp_path / "ws", "--checkpoint", trained_checkpoint)
    made = said(capsys, "import", trained_checkpoint, "--name", "Mine", *common)
    listed = said(capsys, "list", *common)
    assert [one["name"] for one in listed["versions"]] == [f"{trained_checkpoint.name} (as it came)", "Mine"]
    assert said(capsys, "use", "Mine", *common) == {"in_use": made["id"]}
    said(capsys, "export", made["id"], "--out", tmp_path / "mine.zip", *common)
    assert (tmp_path / "mine.zip").is_file()
    assert main(["versions", "delete", "Mine", *map(str, common)]) == 2
    assert "is in use" in capsys.readouterr().err
    said(capsys, "use", "base", *common)
    assert said(capsys, "delete", "Mine", *common) == {"deleted": made["id"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("use",), "Usage: versions use VERSION."),
        (("use", "nope"), "There is no version 'nope'"),
        (("export", "base"), "Say where to"),
        (("compare", "base", "base"), "Give --data DIR"),
        (("import", "nowhere.zip"), "does not exist"),
        (("push", "base", "no name"), "Give OWNER/NAME"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: tuple[str, ...],
    words: str,
    trained_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ["--workspace", str(tmp_path / "ws"), "--checkpoint", str(trained_checkpoint)]
    assert main(["versions", *arguments, *common]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1
