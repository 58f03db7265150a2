"""The entry `app.py`."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.app.conftest import ENTRY


def test_the_port_comes_from_the_argument_or_the_environment(
    entry: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PORT", raising=False)
    assert entry.parse([]).port == 7860
    monkeypatch.setenv("PORT", "8123")
    assert entry.parse([]).port == 8123
    assert entry.parse(["--port", "9000"]).port == 9000
    assert entry.parse([]).host == "127.0.0.1"


def test_a_space_is_public_unless_it_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, entry: ModuleType
) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert not entry.parse([]).public and entry.parse(["--public"]).public
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    assert entry.parse([]).public and not entry.parse(["--no-public"]).public


@pytest.mark.parametrize(
    "arguments", [["--port", "0"], ["--port", "70000"], ["--checkpoint", "/nowhere/at/all"]]
)
def test_bad_arguments_end_with_two(arguments: list[str], entry: ModuleType) -> None:
    with pytest.raises(SystemExit) as caught:
        entry.parse(arguments)
    assert caught.value.code == 2


def test_tools_need_their_package(
    entry: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        entry.parse(["--mcp"])
    assert caught.value.code == 2
    assert "pip install 'gradio[mcp]'" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert entry.parse(["--mcp"]).mcp


def test_only_a_checkpoint_of_a_hub_may_be_downloaded(
    entry: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", {})
    assert (
        entry.parse(["--checkpoint", "Qwen/Qwen3-VL-Embedding-2B"]).checkpoint == "Qwen/Qwen3-VL-Embedding-2B"
    )
    entry.seclude(tmp_path, "Qwen/Qwen3-VL-Embedding-2B")
    assert "HF_HUB_OFFLINE" not in os.environ
    entry.seclude(tmp_path, str(tmp_path))
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_port_that_is_taken_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, str(ENTRY), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"Port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_sent_and_nothing_is_written_elsewhere(
    entry: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "GRADIO_ANALYTICS_ENABLED",
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_HUB_OFFLINE",
        "GRADIO_TEMP_DIR",
        "TOKENIZERS_PARALLELISM",
    ):
        monkeypatch.setenv(name, "before")
    entry.seclude(tmp_path)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert Path(os.environ["GRADIO_TEMP_DIR"]).is_relative_to(tmp_path)
