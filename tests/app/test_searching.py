from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.permalink import SearchState
from app.refining import Refining
from app.searching import Searching, wanted
from app.tabs.search import _keeping
from app.workspace import Workspace
from ssa_me.errors import InputError

RED = SearchState(text="a red car", gallery="scenes", k=5)


def refined(**values: Any) -> SearchState:
    return replace(RED, refining=Refining(**values))


def names(view: dict[str, Any]) -> list[str]:
    return [ranking["name"] for ranking in view["lists"]]


def test_any_two_rankings_are_compared(workspace: Workspace) -> None:
    view = workspace.search(refined(rankings=("ssa-me", "ssa-me+subjects")))
    assert names(view) == ["ssa-me", "ssa-me+subjects"]
    assert [ranking["version"] for ranking in view["lists"]] == ["ssa-me", "ssa-me"]
    assert view["lists"][1]["title"] == "SSA-ME + subjects"
    with pytest.raises(InputError, match="no ranking 'ssa-me\\+magic'"):
        workspace.search(refined(rankings=("ssa-me", "ssa-me+magic")))


def test_conditions_leave_others_out(workspace: Workspace) -> None:
    named = workspace.search(RED)["lists"][1]["hits"][2]["name"]
    view = workspace.search(refined(where=(f"file_name={named}",)))
    assert [[hit["name"] for hit in ranking["hits"]] for ranking in view["lists"]] == [[named], [named]]
    with pytest.raises(InputError, match="is no condition"):
        workspace.search(refined(where=("nonsense",)))


def test_alignment_filters_and_sorts(workspace: Workspace) -> None:
    scores = [hit["subject"]["score"] for hit in workspace.search(RED)["lists"][1]["hits"]]
    least = sorted(scores)[2]
    hits = workspace.search(refined(least_alignment=least - 1e-4, sort="alignment"))["lists"][1]["hits"]
    found = [hit["subject"]["score"] for hit in hits]
    assert found == sorted(found, reverse=True)
    assert min(found) >= least - 1e-3


def test_near_duplicates_are_hidden_and_counted(workspace: Workspace) -> None:
    view = workspace.search(refined(hide_duplicates=0.9))
    plain = workspace.search(RED)
    assert any(ranking["hidden"] for ranking in view["lists"])
    assert not any(ranking["hidden"] for ranking in plain["lists"])


def test_what_is_unwanted_is_said_and_not_explained(workspace: Workspace) -> None:
    view = workspace.search(replace(RED, text="red car -green"))
    assert view["unwanted"] == ["green"]
    assert (wanted("red car -green"), wanted("-green")) == ("red car", None)


def test_more_like_a_part_of_an_image(workspace: Workspace) -> None:
    hit = workspace.search(RED)["lists"][1]["hits"][0]
    state = workspace.searching.like("scenes", hit["id"], [0, 0, hit["width"] / 2, hit["height"] / 2])
    assert state.refining.region is not None and state.text == ""
    asked = replace(
        state, gallery="scenes", refining=replace(state.refining, rankings=("ssa-me", "ssa-me+subjects"))
    )
    view = workspace.search(asked)
    assert not any("names no subject" in note for note in view["notes"])
    for region in ([0, 0, 0, 5], "all", [10**5, 10**5, 4, 4]):
        with pytest.raises(InputError):
            workspace.search(replace(workspace.searching.like("scenes", hit["id"], region), gallery="scenes"))


def test_queries_and_views_are_kept_by_name(
    tmp_path: Path, picture: Callable[..., bytes], workspace: Workspace
) -> None:
    from ssa_me.gallery.store import Gallery

    gallery = Gallery.create(tmp_path / "kept", "Kept", "none")
    stand_in: Any = SimpleNamespace(
        gallery=lambda _: gallery, default_gallery=lambda: "kept", uploads=workspace.uploads
    )
    searching = Searching(stand_in)
    upload = workspace.uploads.add(picture("blue"), "blue")
    lists = Refining(rankings=("ssa-me", "ssa-me+rerank"), where=("split=test",), region=(1, 2, 30, 40))
    asked = SearchState("red bird -flower", upload.hash, 0.25, 7, "rerank", gallery="kept", refining=lists)
    assert searching.keep_query(asked, " red  ones ") == "red ones"
    assert searching.recall("kept", "query", "red ones") == asked
    shown = replace(asked, hit=3, refining=replace(lists, only="a"))
    searching.keep_view(shown, "as it was")
    assert searching.recall("kept", "view", "as it was") == shown
    kept = searching.known("kept")
    assert kept["saved"] == [{"kind": "query", "name": "red ones"}, {"kind": "view", "name": "as it was"}]
    assert "ssa-me+rerank" in [ranking["name"] for ranking in kept["rankings"]]
    searching.forget("kept", "view", "as it was")
    with pytest.raises(InputError, match="no saved view"):
        searching.recall("kept", "view", "as it was")


def test_nothing_is_kept_on_a_public_page(workspace: Workspace) -> None:
    calls = {f.__name__: f for f in _keeping(workspace, public=True)}
    sent = {"gallery": "scenes", "kind": "view", "name": "mine", "entered": {"text": "red"}, "link": "?q=red"}
    assert "public" in calls["keep"](sent)["error"]
    assert "public" in calls["forget"](sent)["error"]
    assert calls["look_up"](sent)["saved"] == []
