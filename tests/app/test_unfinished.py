"""A page that is killed or left while it makes a gallery, and opened again: nothing is lost, and it goes on."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.permalink import SearchState
from app.tabs.gallery import grid_value
from app.workspace import Workspace
from ssa_me.errors import InputError
from ssa_me.gallery import Gallery, ingest
from ssa_me.gallery.unfinished import UPLOADS, hold, unfinished
from tests.app import crashing
from tests.app.fakes import COLOURS, FakeEmbedder
from tests.gallery.crashing import points


class Failing(FakeEmbedder):
    """Embeds one batch, then its disk is full, or whatever else is wrong."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def embed(self, *args: Any, **options: Any) -> Any:
        if self.calls:
            raise self.error
        return super().embed(*args, **options)


def opened(folder: Path, load: Callable[[], Any] = FakeEmbedder) -> Workspace:
    """The workspace as a page that starts finds it."""
    return Workspace(folder, demo_images=0, load=load).start()


@pytest.fixture
def drawn(tmp_path: Path) -> list[Path]:
    """Forty uploads."""
    files = []
    for n in range(40):
        files.append(tmp_path / "sent" / f"{n:02d}.png")
        files[-1].parent.mkdir(exist_ok=True)
        Image.new("RGB", (64 + n, 48), COLOURS[list(COLOURS)[n % 10]]).save(files[-1])
    return files


@pytest.fixture
def sent(tmp_path: Path, drawn: list[Path]) -> list[Path]:
    """A zip of twelve images, and eight images beside it."""
    archive = tmp_path / "sent" / "twelve.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in drawn[:12]:
            packed.write(file, file.name)
    return [archive, *drawn[12:20]]


@pytest.fixture
def stopped(tmp_path: Path, drawn: list[Path]) -> Path:
    """A workspace whose gallery `mine` holds 32 of 40 images, for the model failed; the uploads themselves are gone."""
    workspace = opened(tmp_path / "w", lambda: Failing(InputError("The disk is full. Make room.")))
    state = workspace.making.begin("Mine", drawn).wait(60)
    assert (state.phase, state.message) == ("failed", "The disk is full. Make room.")
    assert state.result == {"gallery": "mine"}
    shutil.rmtree(tmp_path / "sent")
    return tmp_path / "w"


def test_killed_at_any_moment_a_new_gallery_goes_on(
    tmp_path: Path, sent: list[Path], kill: Callable[..., int]
) -> None:
    states = []
    count = kill(crashing.make, tmp_path / "whole", sent)
    for n, last in enumerate(points(count, 7, 8)):
        shutil.copytree(tmp_path / "sent", tmp_path / f"sent{n}")
        files, folder = [tmp_path / f"sent{n}" / file.name for file in sent], tmp_path / f"w{n}"
        kill(crashing.make, folder, files, last=last)
        shutil.rmtree(tmp_path / f"sent{n}")  # temporary files do not outlive the page
        workspace = opened(folder)
        cards = {card.id: card.count for card in workspace.galleries()}
        assert set(cards) <= {"mine"}
        if not cards:  # killed before the files were kept; the name is free still
            assert workspace.making._free_id("Mine") == "mine"
            states.append(None)
            continue
        gallery, shown = workspace.gallery("mine"), workspace.page("mine", 0)["unfinished"]
        states.append(cards["mine"])
        if shown is not None:
            assert shown["total"] in (None, 12, 20) and shown["done"] == cards["mine"]
            state = workspace.making.resume("mine").wait(60)
            assert (state.phase, state.result["added"]) == ("done", 20 - cards["mine"])
            assert state.result["duplicates"] == [] and state.result["skipped"] == []
        assert (len(gallery), workspace.page("mine", 0)["unfinished"]) == (20, None)
        assert not (gallery.folder / UPLOADS).exists()
        assert len(list((gallery.folder / "thumbnails").rglob("*.jpg"))) == 20
        view = workspace.search(SearchState(text="red", gallery="mine", k=20))
        assert len(view["lists"][1]["hits"]) == 20
    assert states[0] is None and states[-1] == 20
    assert any(found is not None and 0 < found < 20 for found in states), states


def test_killed_while_it_is_drawn_the_demo_gallery_is_whole_at_the_next_start(
    tmp_path: Path, kill: Callable[..., int]
) -> None:
    for n, last in enumerate(points(kill(crashing.demo, tmp_path / "whole"), 8, 5)):
        kill(crashing.demo, tmp_path / f"w{n}", last=last)
        workspace = Workspace(tmp_path / f"w{n}", demo_images=crashing.SCENES, load=FakeEmbedder).start()
        assert workspace._start.wait(60).phase == "done"
        assert [(card.id, card.count) for card in workspace.galleries()] == [("scenes", crashing.SCENES)]
        assert workspace.page("scenes", 0)["unfinished"] is None
        assert [path.name for path in (tmp_path / f"w{n}" / "galleries").iterdir()] == ["scenes"]


def test_a_making_that_failed_goes_on_after_a_restart_without_the_uploads(stopped: Path) -> None:
    workspace = opened(stopped)
    assert [(card.id, card.count) for card in workspace.galleries()] == [("mine", 32)]
    assert grid_value(workspace, {"current": "mine"})["unfinished"] == {"done": 32, "total": 40}
    state = workspace.making.resume("mine").wait(60)
    assert (state.phase, state.message) == ("done", "Mine holds 40 images, 8 of them new.")
    assert grid_value(workspace, {"current": "mine"})["unfinished"] is None
    with pytest.raises(InputError, match="nothing to go on with"):
        workspace.making.resume("mine")


def test_a_cancelled_ingest_goes_on_after_a_restart(
    tmp_path: Path, drawn: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(tmp_path / "w")
    assert first.making.begin("Mine", drawn[:4]).wait(60).phase == "done"
    with monkeypatch.context() as patched:
        patched.setattr("app.jobs.Job.cancelled", lambda _: True)
        assert first.making.add("mine", drawn).wait(60).phase == "cancelled"
    assert first.page("mine", 0)["unfinished"] == {"done": 0, "total": 40}
    shutil.rmtree(tmp_path / "sent")
    second = opened(tmp_path / "w")
    assert second.making.resume("mine").wait(60).message == "Mine holds 40 images, 36 of them new."


def test_adding_others_leaves_what_was_cancelled(
    tmp_path: Path, drawn: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(tmp_path / "w")
    assert workspace.making.begin("Mine", drawn[:4]).wait(60).phase == "done"
    with monkeypatch.context() as patched:
        patched.setattr("app.jobs.Job.cancelled", lambda _: True)
        assert workspace.making.add("mine", drawn[4:10]).wait(60).phase == "cancelled"
    assert (
        workspace.making.add("mine", drawn[10:12]).wait(60).message == "Mine holds 6 images, 2 of them new."
    )
    assert workspace.page("mine", 0)["unfinished"] == {"done": 2, "total": 8}
    assert workspace.making.resume("mine").wait(60).message == "Mine holds 12 images, 6 of them new."


def test_what_is_left_is_given_up(stopped: Path) -> None:
    workspace = opened(stopped)
    workspace.making.give_up("mine")
    assert grid_value(workspace, {"current": "mine"})["unfinished"] is None
    assert [(card.id, card.count) for card in workspace.galleries()] == [("mine", 32)]
    assert not (workspace.gallery("mine").folder / UPLOADS).exists()
    with pytest.raises(InputError, match="nothing to go on with"):
        workspace.making.give_up("mine")


def test_a_gallery_of_uploads_without_any_image_is_listed_last_and_goes_when_given_up(
    tmp_path: Path, drawn: list[Path]
) -> None:
    folder = tmp_path / "w" / "galleries"
    empty = Gallery.create(folder / "empty", "A", "fake")
    hold(empty.database, [[(drawn[0].name, drawn[0])]])
    workspace = opened(tmp_path / "w")
    assert workspace.making.begin("Whole", drawn[:2]).wait(60).phase == "done"
    assert [(card.id, card.count) for card in workspace.galleries()] == [("whole", 2), ("empty", 0)]
    assert workspace.page("empty", 0)["unfinished"] == {"done": 0, "total": None}
    with pytest.raises(InputError):
        workspace.search(SearchState(text="red", gallery="empty"))
    workspace.making.give_up("empty")
    assert not empty.folder.exists()
    assert [card.id for card in workspace.galleries()] == ["whole"]


def test_the_folder_that_a_gallery_was_made_of_stays_when_it_is_given_up(
    tmp_path: Path, drawn: list[Path]
) -> None:
    gallery = Gallery.create(tmp_path / "w" / "galleries" / "mine", "Mine", "fake")
    shutil.copytree(tmp_path / "sent", gallery.folder / "photographs")
    assert ingest(gallery, gallery.folder / "photographs", FakeEmbedder(), cancelled=lambda: True).cancelled  # type: ignore[arg-type]
    workspace = opened(tmp_path / "w")
    workspace.making.give_up("mine")
    assert len(list((gallery.folder / "photographs").iterdir())) == 40
    assert workspace.galleries() == []


def test_what_another_process_is_at_is_not_called_interrupted(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened(stopped)
    monkeypatch.setattr("ssa_me.gallery.unfinished.Unfinished.at_work", True)
    assert workspace.page("mine", 0)["unfinished"] is None
    for work in (workspace.making.resume, workspace.making.give_up):
        with pytest.raises(InputError, match="at this moment"):
            work("mine")


def test_galleries_that_an_earlier_version_left_hidden_are_shown(tmp_path: Path, drawn: list[Path]) -> None:
    folder = tmp_path / "w" / "galleries"
    for name, files in (
        (".mine", drawn[:3]),
        (".old", []),
        (".new", []),
        ("taken", drawn[:1]),
        (".taken", drawn[:2]),
    ):
        gallery = Gallery.create(folder / name, name.lstrip("."), "fake")
        if files:
            ingest(gallery, [(file.name, file) for file in files], FakeEmbedder())  # type: ignore[arg-type]
    (folder / ".others").mkdir()
    (folder / ".begun").mkdir()
    (folder / ".begun" / ".gallery.sqlite.partial").touch()
    (folder / "taken" / UPLOADS).mkdir()
    yesterday = time.time() - 25 * 3600
    for name in (".old/gallery.sqlite", ".begun/.gallery.sqlite.partial", ".others"):
        os.utime(folder / name, (yesterday, yesterday))
    workspace = opened(tmp_path / "w")
    found = {card.id: card.count for card in workspace.galleries()}
    assert found == {"mine": 3, "taken": 1, "taken-2": 2}
    assert {path.name for path in folder.iterdir()} == {"mine", "taken", "taken-2", ".new", ".others"}
    assert not (folder / "taken" / UPLOADS).exists()
    assert len(workspace.search(SearchState(text="red", gallery="mine"))["lists"][0]["hits"]) == 3


def test_a_making_that_takes_in_nothing_leaves_nothing(tmp_path: Path, drawn: list[Path]) -> None:
    class Broken(FakeEmbedder):
        def embed(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("a bug")

    workspace = opened(tmp_path / "w", Broken)
    assert workspace.making.begin("Mine", drawn).wait(60).phase == "failed"
    assert list((tmp_path / "w" / "galleries").iterdir()) == [] == workspace.galleries()


def test_uploads_that_are_kept_for_later_survive_a_model_that_cannot_be_loaded(
    tmp_path: Path, drawn: list[Path]
) -> None:
    def fail() -> FakeEmbedder:
        raise InputError("The checkpoint lacks the key x. Give a whole one.")

    assert opened(tmp_path / "w").making.begin("Mine", drawn[:2]).wait(60).phase == "done"
    broken = opened(tmp_path / "w", fail)
    assert broken.making.add("mine", drawn[:5]).wait(60).phase == "failed"
    assert broken.page("mine", 0)["unfinished"] == {"done": 0, "total": None}
    whole = opened(tmp_path / "w")
    assert whole.making.resume("mine").wait(60).message == "Mine holds 5 images, 3 of them new."
    assert unfinished(whole.gallery("mine").database) is None
