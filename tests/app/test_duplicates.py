"""Near-duplicates of a whole gallery as the Gallery tab asks for them: groups, pages, what is kept, permissions, forged values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from app import duplicates, studio
from app.permissions import CLOSED
from app.workspace import Workspace
from ssa_me.errors import InputError
from tests.app.fakes import COLOURS, FakeEmbedder

SIZES = {"red": (64, 48), "red small": (32, 24), "red wide": (80, 48), "blue": (64, 48), "blue small": (8, 8)}


@pytest.fixture
def alike(tmp_path: Path) -> Workspace:
    """A gallery `twice` of three red images, two blue ones, and a green one."""
    workspace = Workspace(tmp_path / "workspace", demo_images=0, load=FakeEmbedder)
    workspace._start.start()
    files = []
    for name, size in (SIZES | {"green": (64, 48)}).items():
        files.append(tmp_path / f"{name}.png")
        Image.new("RGB", size, COLOURS[name.split()[0]]).save(files[-1])
    assert workspace.making.begin("Twice", files).wait(60).phase == "done"
    return workspace


@pytest.fixture
def waiting(alike: Workspace) -> Iterator[Workspace]:
    """The same while another search has its turn, so that what is begun waits until it is cancelled or the test ends."""
    alike.duplicates._turn.acquire()
    yield alike
    alike.duplicates._turn.release()


def names(view: dict[str, Any]) -> list[list[str]]:
    return [[image["name"].removesuffix(".png") for image in group["images"]] for group in view["groups"]]


def settled(workspace: Workspace, threshold: float = 0.94) -> dict[str, Any]:
    """The view once the search has ended."""
    workspace.duplicates.begin("twice", threshold)
    workspace.duplicates._searches["twice", threshold].job.wait(30)
    return workspace.duplicates.view("twice", threshold)


def test_groups_of_the_whole_gallery_the_largest_image_first(alike: Workspace) -> None:
    view = settled(alike)
    assert (view["phase"], view["kind"], view["compared"], view["lacking"]) == ("done", "exact", 6, 0)
    assert [set(group) for group in names(view)] == [{"red", "red small", "red wide"}, {"blue", "blue small"}]
    assert [group[0] for group in names(view)] == ["red wide", "blue"]
    first = {group["images"][0]["id"] for group in view["groups"]}
    assert len(view["rest"]) == 3 == view["copies"] and not first & set(view["rest"])
    assert view["far"] == []


def test_after_removing_only_what_was_alike_is_compared_again(
    alike: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssa_me.gallery.near_duplicates import near_duplicates as library

    view = settled(alike)
    asked: list[object] = []

    def among(*given: Any, **more: Any) -> Any:
        asked.append(more["among"])
        return library(*given, **more)

    monkeypatch.setattr("ssa_me.gallery.near_duplicates.near_duplicates", among)
    assert settled(alike) == view and asked == [], "nothing has changed: what was found is shown"
    gone = next(image for image in view["groups"][0]["images"] if image["name"] == "red wide.png")["id"]
    alike.tending.remove("twice", [gone, view["groups"][1]["images"][1]["id"]])
    after = settled(alike)
    assert names(after) == [["red", "red small"]] and after["compared"] == 4
    assert len(asked) == 1 and len(asked[0]) == 3  # type: ignore[arg-type]
    higher = settled(alike, 0.99)
    assert names(higher) == names(after) and len(asked[1]) == 2  # type: ignore[arg-type]


def test_images_that_come_later_are_found(alike: Workspace, tmp_path: Path) -> None:
    settled(alike)
    Image.new("RGB", (20, 20), COLOURS["green"]).save(tmp_path / "green again.png")
    alike.making.add("twice", [tmp_path / "green again.png"]).wait(60)
    assert ["green", "green again"] in names(settled(alike))


def test_pages_hold_so_many_groups_and_a_group_so_many_images(
    alike: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "GROUPS", 1)
    monkeypatch.setattr(duplicates, "SHOWN", 2)
    view = settled(alike)
    assert [len(group["images"]) for group in view["groups"]] == [2] and view["groups"][0]["more"] == 1
    assert (view["total"], view["copies"], len(view["rest"])) == (2, 3, 2), "what is not shown is not chosen"
    for offset, expected in ((1, "blue"), (99, "blue"), ("x", "red wide"), (-5, "red wide")):
        assert names(alike.duplicates.view("twice", 0.94, offset))[0][0] == expected


def test_a_search_under_way_is_shared_tells_how_far_it_is_and_is_cancelled(waiting: Workspace) -> None:
    view = waiting.duplicates.view("twice", 0.9)
    assert view["phase"] == "running" and view["message"]
    job = waiting.duplicates._searches["twice", 0.9].job
    waiting.duplicates.begin("twice", 0.9)
    assert waiting.duplicates._searches["twice", 0.9].job is job
    waiting.duplicates.cancel("twice", 0.9)
    assert job.wait(30).phase == "cancelled"
    assert waiting.duplicates.view("twice", 0.9)["phase"] == "cancelled", "it is not begun again unasked"
    waiting.duplicates.begin("twice", 0.9)
    assert waiting.duplicates.view("twice", 0.9)["phase"] == "running"
    waiting.duplicates.cancel("twice", 0.9)


def test_only_so_many_searches_wait(waiting: Workspace) -> None:
    thresholds = [0.6 + n / 100 for n in range(duplicates.AT_ONCE)]
    threads = [threading.Thread(target=waiting.duplicates.begin, args=("twice", t)) for t in thresholds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(InputError, match="under way"):
        waiting.duplicates.begin("twice", 0.95)
    for threshold in thresholds:
        waiting.duplicates.cancel("twice", threshold)


def test_few_searches_are_kept(alike: Workspace) -> None:
    for n in range(duplicates.KEPT + 3):
        settled(alike, round(0.9 + n / 1000, 3))
    assert len(alike.duplicates._searches) == duplicates.KEPT


@pytest.mark.parametrize("threshold", [None, "0.9", True, float("nan"), 0.1, 1.2])
def test_a_forged_threshold_is_refused(threshold: Any, alike: Workspace) -> None:
    with pytest.raises(InputError, match="cosine from"):
        alike.duplicates.view("twice", threshold)
    with pytest.raises(InputError):
        alike.duplicates.view("none", 0.9)


def test_listing_is_for_everyone_and_removing_only_where_it_is_allowed(alike: Workspace) -> None:
    view = settled(alike)
    for public, left in ((True, 6), (False, 3)):
        page = studio.build(alike, public=public)
        events: dict[str, Callable[..., Any]] = {
            f.fn.__name__: f.fn
            for f in page.fns.values()
            if f.fn is not None and f.fn.__module__ == "app.tabs.gallery_duplicates"
        }
        head = {"current": "twice"}
        listed, timer = events["look"](head, gr.EventData(None, {}))
        assert listed["groups"] == view["groups"] and not timer.active
        sent = {"ids": view["rest"], "threshold": 0.94, "offset": 0}
        shown, _, grid = events["remove"](head, gr.EventData(None, sent))
        assert (shown["said"] == CLOSED["delete"]) is public and shown["removed"] is not public
        assert (len(alike.gallery("twice")), grid["count"]) == (left, left)
    assert events["look"](head, gr.EventData(None, {"threshold": "high"}))[0]["phase"] == "failed"


def test_what_is_linked_by_way_of_others_alone_is_told_apart(alike: Workspace) -> None:
    from dataclasses import replace

    from ssa_me.gallery.near_duplicates import Group

    settled(alike)
    job = alike.duplicates._searches["twice", 0.94].job
    found = replace(job.state.result["found"], groups=(Group((1, 2, 3), 1, (1.0, 0.9, 0.94)),))
    job.state.result["found"] = found
    view = alike.duplicates.view("twice", 0.94)
    assert [(image["id"], image["far"]) for image in view["groups"][0]["images"]] == [
        (1, False),
        (3, False),
        (2, True),
    ]
    assert (view["rest"], view["far"], view["copies"]) == ([3], [2], 1)
