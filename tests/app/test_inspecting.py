"""What the Inspect tab asks of the workspace: maps, heads, phrases, regions and ranks, links that say it again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest

from app import inspect_settings, permalink
from app.inspect_settings import InspectSettings
from app.inspecting import entry_of, read_entry
from app.permalink import SearchState
from app.tabs.inspect import inspect_event
from app.workspace import Workspace
from ssa_me.errors import InputError

RED = SearchState(text="a red car", gallery="scenes", tab="inspect")
PLAIN = InspectSettings()


@pytest.fixture
def red(workspace: Workspace) -> SearchState:
    return replace(RED, hit=workspace.page("scenes", 0)["items"][0]["id"])


def test_everything_of_one_image_on_one_scale(workspace: Workspace, red: SearchState) -> None:
    view = workspace.inspector.look(red, PLAIN)
    maps = view["maps"]
    assert (maps["layers"], maps["heads"], maps["layer"], maps["read"]) == (2, 2, None, [2])
    for version in ("baseline", "ssa-me"):
        assert np.sum(maps["attention"][version]) == pytest.approx(maps["on_image"][version], rel=0.01)
    assert [stage["name"] for stage in maps["stages"]] == ["semantic", "expert", "fused", "head", "gain"]
    assert len(maps["stages"][0]["each"]) == len(maps["phrases"]) == 1
    assert view["entry"]["shown"]["id"] == red.hit
    assert not maps["equal"]


def test_a_layer_and_a_head_are_chosen_without_explaining_anew(
    workspace: Workspace, red: SearchState
) -> None:
    embedder: Any = workspace.embedder()
    mean = workspace.inspector.look(red, PLAIN)["maps"]["attention"]["ssa-me"]
    before = embedder.explained
    first = workspace.inspector.look(red, InspectSettings(layer=1))["maps"]
    assert not np.any(first["attention"]["ssa-me"]) and first["equal"]
    second = workspace.inspector.look(red, InspectSettings(layer=2, head=1))["maps"]
    assert second["attention"]["ssa-me"] == pytest.approx(0.5 * np.array(mean), rel=0.01)
    assert embedder.explained == before
    with pytest.raises(InputError, match="no layer 3: the model has 2"):
        workspace.inspector.look(red, InspectSettings(layer=3))


def test_a_phrase_of_ones_own_joins_the_table(workspace: Workspace, red: SearchState) -> None:
    alignment = workspace.inspector.look(red, InspectSettings(phrases=("a green tree",)))["alignment"]
    assert [subject["phrase"] for subject in alignment["subjects"]] == ["a red car", "a green tree"]
    assert alignment["asked"] == 1
    assert [region["owner"] for region in alignment["regions"]] == [0, 1, None]
    assert np.array(alignment["scores"]["ssa-me"]).shape == (2, 3)


def test_a_drawn_region_moves_the_rank_and_writes_nothing(workspace: Workspace) -> None:
    state = replace(RED, text="a red thing")
    best = workspace.search(replace(state, k=24))["lists"][1]["hits"]
    for hit in best[5:]:  # an image further down that shows red somewhere
        image = workspace.gallery("scenes").image(hit["id"])
        pixels = np.asarray(image).astype(int)
        places = np.argwhere(abs(pixels - (205, 50, 45)).sum(-1) < 60)
        if len(places) > 40:
            break
    y, x = places[len(places) // 2]
    looked = replace(state, hit=hit["id"])
    before = {place["name"]: place for place in workspace.inspector.look(looked, PLAIN)["redraw"]["places"]}
    assert before["ssa-me"]["before"]["rank"] == before["ssa-me"]["after"]["rank"] == hit["rank"]
    drawn = InspectSettings(regions=((float(x), float(y), 2.0, 2.0),))
    view = workspace.inspector.look(looked, drawn)["redraw"]
    after = {place["name"]: place for place in view["places"]}
    assert view["drawn"] and view["regions"] == [[x, y, 2, 2]]
    assert after["ssa-me"]["after"]["score"] > after["ssa-me"]["before"]["score"]
    assert after["ssa-me"]["after"]["rank"] < after["ssa-me"]["before"]["rank"] == hit["rank"]
    assert after["baseline"]["after"]["rank"] == after["baseline"]["before"]["rank"]
    again = workspace.search(replace(state, k=24))["lists"][1]["hits"]
    assert [(h["id"], h["score"]) for h in again] == [(h["id"], h["score"]) for h in best]


def test_without_a_query_there_is_no_rank(workspace: Workspace, red: SearchState) -> None:
    view = workspace.inspector.look(replace(red, text=" "), PLAIN)
    assert view["redraw"]["places"] == []
    assert view["alignment"]["subjects"] == []
    assert view["maps"]["stages"]


@pytest.mark.parametrize("with_image", [False, True])
def test_with_subjects_both_models_are_ranked_by_them(
    workspace: Workspace, red: SearchState, with_image: bool
) -> None:
    """With an image beside the text its subjects are still held against what the text states."""
    image = workspace.keep_image("scenes", red.hit) if with_image else None
    state = replace(red, method="subjects", image=image, weight=0.75)
    hits = {
        ranking["name"]: {hit["id"]: hit for hit in ranking["hits"]}
        for ranking in workspace.search(replace(state, k=24))["lists"]
    }
    for place in workspace.inspector.look(state, PLAIN)["redraw"]["places"]:
        hit = hits[place["name"]][red.hit]
        assert place["before"]["rank"] == hit["rank"]
        assert place["before"]["score"] == pytest.approx(hit["score"], abs=1e-4)


def test_images_to_choose_from_are_the_best_first_where_there_is_a_query(workspace: Workspace) -> None:
    best = workspace.search(replace(RED, k=24))["lists"][1]["hits"]
    picked = workspace.inspector.pick(RED, 0)["items"]
    assert [hit["id"] for hit in picked] == [hit["id"] for hit in best]
    page = workspace.inspector.pick(replace(RED, text=""), 0)
    assert page["count"] == len(workspace.gallery("scenes"))


def test_a_link_says_the_same_inspection_again(workspace: Workspace, red: SearchState) -> None:
    digest = workspace.keep_image("scenes", red.hit)
    state = replace(red, image=digest, weight=0.25, method="subjects", salience="full")
    settings = InspectSettings(
        2, 1, ("a tree", "a = b & c"), ((1.5, 2, 30, 40.1), (0, 0, 5, 5)), "integrated-gradients", "difference",
        "blur", 32, 7,
    )  # fmt: skip
    link = workspace.inspector.entry(state, settings)["link"]
    parameters = dict(parse_qsl(link[1:]))
    assert inspect_settings.parse(parameters) == settings
    again = permalink.parse(parameters)
    assert again == replace(state, models=workspace.inspector.models())
    assert workspace.inspector.entry(again, settings)["note"] == ""
    assert read_entry(entry_of(again, settings)) == (again, settings)


def test_a_link_of_another_model_or_without_its_image_says_so(workspace: Workspace, red: SearchState) -> None:
    other = replace(red, models=("a" * 12, "b" * 12), image="0" * 64)
    view = workspace.inspector.look(other, PLAIN)["entry"]
    assert "no longer here" in view["note"] and "other models (aaaaaaaaaaaa and bbbbbbbbbbbb)" in view["note"]
    assert view["image"] is None and view["text"] == red.text


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "1"},
        {"id": -1},
        {"id": 2**70},
        {"id": True},
        {"text": 4},
        {"gallery": "../x"},
        {"image": "../x"},
        {"models": ["<script>"]},
        {"settings": {"layer": 0}},
        {"settings": {"layer": "1"}},
        {"settings": {"weight": 3}},
        {"settings": {"attribution": "../x"}},
        {"settings": {"regions": "all"}},
        {"settings": {"regions": [[1, 2, 3]]}},
        {"settings": {"regions": [[0, 0, 0, 5]]}},
        {"settings": {"regions": [[0, 0, float("nan"), 5]]}},
        {"settings": {"regions": [[0, 0, 5, 5]] * 7}},
        {"settings": {"phrases": ["a" * 201]}},
        {"settings": {"phrases": [str(n) for n in range(13)]}},
    ],
)
def test_a_forged_entry_is_bad_input(entry: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        read_entry({"gallery": "scenes", "text": "red"} | entry)


@pytest.mark.parametrize(
    "parameters", [{"l": "x"}, {"h": "0"}, {"r": "1,2"}, {"r": "a,b,c,d"}, {"a": "<b>"}, {"an": "-1"}]
)
def test_a_forged_link_is_bad_input(parameters: dict[str, str]) -> None:
    with pytest.raises(InputError):
        inspect_settings.parse(parameters)


def test_the_event_says_what_is_wrong_and_what_to_do(workspace: Workspace) -> None:
    answer = inspect_event(workspace)
    entry, maps, *rest = answer({"text": "red"}, {"current": "scenes"})
    assert maps["empty"]["title"] and entry["text"] == "red" and rest == [None, None, None]
    _, maps, *_ = answer({"text": "red", "id": 10**6}, {"current": "scenes"})
    assert "no image 1000000" in maps["error"]
    entry, maps, *_ = answer({"text": "red", "id": 1}, {"current": "scenes"})
    assert "error" not in maps and entry["gallery"] == "scenes"
