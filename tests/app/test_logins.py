"""Logins: the file, the passwords, and a page that answers nothing to whoever is not logged in."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from app.logins import Logins, line_of
from app.workspace import Workspace
from ssa_me.errors import InputError
from tests.app.conftest import served

PASSWORD = "correct horse: battery"


@pytest.fixture(scope="module")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Logins:
    path = tmp_path_factory.mktemp("logins") / "logins.txt"
    path.write_text(
        f"# who may enter\n\n{line_of('Ann', PASSWORD)}\n{line_of('Ben Ö', 'another one')}\n", "utf-8"
    )
    return Logins.read(path)


def test_a_password_is_kept_as_a_hash_and_known_again(logins: Logins) -> None:
    assert PASSWORD not in line_of("Ann", PASSWORD)
    assert line_of("Ann", PASSWORD) != line_of("Ann", PASSWORD), "each line has a salt of its own"
    assert logins.check("Ann", PASSWORD) and logins.check("Ben Ö", "another one")
    for name, password in [
        ("Ann", "another one"),
        ("Ann", ""),
        ("ann", PASSWORD),
        ("Zoe", PASSWORD),
        ("", ""),
    ]:
        assert not logins.check(name, password)
    assert not logins.check("Ann", PASSWORD + "x" * 5000)
    assert "scrypt" not in repr(logins) and "Ann" not in repr(logins)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names nobody"),
        ("# Ann is away\n", "names nobody"),
        ("Ann:secret\n", "line 1 is no login"),
        ("\nAnn:md5$00112233445566778899$" + 64 * "0", "line 2 is no login"),
        ("Ann:scrypt$0011223344556677$zz", "line 1 is no login"),
        (" : scrypt$0011223344556677$" + 64 * "0", "line 1 is no login"),
    ],
)
def test_a_file_that_is_none_is_refused_by_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "logins.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=said):
        Logins.read(path)


def test_a_name_that_stands_twice_and_a_file_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "logins.txt"
    path.write_text(f"{line_of('Ann', PASSWORD)}\n{line_of('Ann', 'another one')}\n", "utf-8")
    with pytest.raises(InputError, match="line 2: Ann stands there twice"):
        Logins.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        Logins.read(tmp_path / "nowhere.txt")


@pytest.mark.parametrize("name", ["", " Ann", "Ann  B", "A:nn", "#Ann", "A\nnn", "x" * 41])
def test_names_that_will_not_do(name: str) -> None:
    with pytest.raises(InputError, match="name"):
        line_of(name, PASSWORD)


def test_a_short_password_will_not_do() -> None:
    with pytest.raises(InputError, match="8 characters"):
        line_of("Ann", "1234567")


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(workspace: Workspace, logins: Logins) -> Iterator[str]:
    with served(workspace, auth=logins.check) as url:
        yield url.rstrip("/")


@contextmanager
def enter(address: str, name: str, password: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address) as client:
        client.post("/login", data={"username": name, "password": password})
        yield client


def test_nothing_is_answered_before_a_login(guarded: str) -> None:
    with httpx.Client(base_url=guarded) as stranger:
        paths = ["/studio/thumb/scenes/1", "/studio/image/scenes/1", "/studio/sample-set", "/gradio_api/info"]
        assert {path: stranger.get(path).status_code for path in paths} == dict.fromkeys(paths, 401)
        called = stranger.post("/gradio_api/call/search", json={"data": ["a red house"]})
        assert called.status_code == 401
        assert stranger.post("/gradio_api/component_server", json={}).status_code == 401
        assert stranger.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401


def test_a_wrong_password_stays_outside_and_the_right_one_enters(guarded: str) -> None:
    with enter(guarded, "Ann", "wrong password") as client:
        assert client.get("/studio/thumb/scenes/1").status_code == 401
    with enter(guarded, "Ann", PASSWORD) as client:
        assert client.get("/studio/thumb/scenes/1").status_code == 200
        assert client.get("/studio/thumb/scenes/99999").status_code == 404
        assert client.post("/gradio_api/call/search", json={"data": ["a red house"]}).status_code == 200


def test_without_logins_everything_is_open(address: str) -> None:
    assert httpx.get(f"{address.rstrip('/')}/studio/thumb/scenes/1").status_code == 200


def test_who_is_logged_in_annotates_under_that_name(guarded: str, workspace: Workspace) -> None:
    page = httpx.get(guarded).text
    assert "Ann" not in page
    with enter(guarded, "Ann", PASSWORD) as client:
        config = client.get("/config").json()
        (board,) = (
            c
            for c in config["components"]
            if "arrive" in (c["props"].get("server_fns") or c["props"].get("server_functions") or [])
        )
        sent = {
            "data": {"gallery": "scenes", "name": "Ben Ö"},
            "fn_name": "arrive",
            "session_hash": "s",
            "component_id": board["id"],
        }
        answered = client.post("/gradio_api/component_server", json=sent)
        assert answered.status_code == 200 and answered.json()["user"] == "Ann"


# --- the entry --------------------------------------------------------------------------------------------------------


def test_the_entry_makes_a_line_and_refuses_a_bad_file(
    entry: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert entry.main(["--hash-password", "Ann"]) == 0
    path = tmp_path / "logins.txt"
    path.write_text(capsys.readouterr().out, "utf-8")
    assert Logins.read(path).check("Ann", PASSWORD)
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert entry.main(["--hash-password", "Ann"]) == 2
    assert "8 characters" in capsys.readouterr().err
    assert entry.main(["--auth", str(tmp_path / "nowhere.txt")]) == 2
    assert "cannot be read" in capsys.readouterr().err
