from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.permissions import CLOSED
from app.workspace import Workspace
from ssa_me.errors import InputError
from tests.app.fakes import COLOURS, FakeEmbedder


@pytest.fixture
def tended(tmp_path: Path) -> Workspace:
    """A gallery `pair` of a red image, another red one, and a blue one."""
    workspace = Workspace(tmp_path / "workspace", demo_images=0, load=FakeEmbedder)
    workspace._start.start()
    files = []
    for name, colour, size in (
        ("red", "red", (64, 48)),
        ("again", "red", (48, 48)),
        ("blue", "blue", (64, 48)),
    ):
        files.append(tmp_path / f"{name}.png")
        Image.new("RGB", size, COLOURS[colour]).save(files[-1])
    assert workspace.making.begin("Pair", files).wait(60).phase == "done"
    return workspace


def test_images_are_removed_and_it_is_said_how_they_are_searched(tended: Workspace) -> None:
    gallery, tending = tended.gallery("pair"), tended.tending
    ids = [item.id for item in gallery.items()]
    assert tending.remove("pair", [ids[1]]) == 1
    assert [item.id for item in gallery.items()] == [ids[0], ids[2]]
    cards = tending.cards(gallery)
    assert [card["name"] for card in cards if card["loaded"]] == [
        "Baseline: images", "Baseline: subjects", "SSA-ME: images", "SSA-ME: subjects",
    ]  # fmt: skip
    assert {card["recall"] for card in cards} == {None}, "so small a gallery is searched exactly"


def test_images_are_added_to_a_gallery_that_is_there(tended: Workspace, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), COLOURS["green"]).save(tmp_path / "green.png")
    job = tended.making.add("pair", [tmp_path / "green.png", tmp_path / "red.png"])
    assert job.wait(60).message == "Pair holds 4 images, 1 of them new."
    assert job.state.result["duplicates"] == []
    with pytest.raises(InputError, match="nothing to go on with"):
        tended.making.resume()


def test_a_cancelled_ingest_goes_on_with_the_same_files(
    tended: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for colour in ("green", "white"):
        Image.new("RGB", (64, 48), COLOURS[colour]).save(tmp_path / f"{colour}.png")
    files = [tmp_path / "green.png", tmp_path / "white.png"]
    with monkeypatch.context() as patched:
        patched.setattr("app.jobs.Job.cancelled", lambda _: True)
        assert tended.making.add("pair", files).wait(60).phase == "cancelled"
    assert tended.making.resume().wait(60).phase == "done"
    assert len(tended.gallery("pair")) == 5


@pytest.mark.parametrize("ids", [None, [], "1", ["1"], [True], list(range(1001))])
def test_only_named_images_are_removed(ids: Any, workspace: Workspace) -> None:
    with pytest.raises(InputError):
        workspace.tending.remove("scenes", ids)


def test_a_forged_removal_on_a_public_page_removes_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gradio as gr

    from app import studio

    removed: list[object] = []
    monkeypatch.setattr(workspace.tending, "remove", lambda *given: removed.append(given) or 1)
    for public in (True, False):
        page = studio.build(workspace, public=public)
        remove: Callable[..., dict[str, Any]]
        (remove,) = {
            f.fn
            for f in page.fns.values()
            if f.fn is not None and f.fn.__qualname__.startswith("_tending.<locals>.remove")
        }
        value = remove({"current": "scenes"}, gr.EventData(None, {"ids": [1], "offset": 0}))
        assert (value["said"] == CLOSED["delete"]) is public
        assert len(removed) == (0 if public else 1)
