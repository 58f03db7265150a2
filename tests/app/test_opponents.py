"""Any two versions side by side: chosen, searched, inspected, run over queries, embedded beside; and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app import permalink, studio
from app.failures import Asked
from app.inspect_settings import InspectSettings
from app.opponents import Opponents
from app.permalink import SearchState
from app.workspace import Workspace
from ssa_me.checkpoint import fingerprints
from ssa_me.errors import InputError
from ssa_me.gallery.items import Spaces
from ssa_me.shelf.store import BASE
from tests.app.fakes import FakeEmbedder

RED = SearchState(text="red", gallery="scenes", k=3)


class Loader:
    """Loads fakes by folder, and remembers which."""

    def __init__(self) -> None:
        self.loaded: list[Path] = []

    def __call__(self, checkpoint: Path) -> FakeEmbedder:
        self.loaded.append(checkpoint)
        return FakeEmbedder(fingerprints(checkpoint))


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def workspace(tmp_path: Path, trained_checkpoint: Path, loader: Loader) -> Workspace:
    """Started, with a demo gallery, and one version beside the base."""
    made = Workspace(
        *(tmp_path / "ws", str(trained_checkpoint), "cpu"),
        load=lambda: FakeEmbedder(fingerprints(trained_checkpoint)),
        demo_images=6,
    )
    made.opponents._load = loader
    made.start()
    assert made._start.wait(60).phase == "done"
    return made


@pytest.fixture
def other(workspace: Workspace, trained_checkpoint: Path) -> str:
    """The id of a version that was trained here."""

    def bring(out: Path) -> None:
        shutil.copytree(trained_checkpoint, out)
        with (out / "ssa-me" / "adapter_model.safetensors").open("ab") as file:
            file.write(b" ")

    return workspace.training.shelf.add("Ten regions", bring).id


def against(version: str | None) -> SearchState:
    return SearchState(text="red", gallery="scenes", k=3, against=version)


def embed(workspace: Workspace, version: str) -> None:
    job = workspace.making.refresh("scenes", version)
    state = job.wait(60)
    assert state.phase == "done", state.message


def test_what_can_be_chosen_is_every_version_but_the_one_in_use(workspace: Workspace, other: str) -> None:
    assert workspace.opponents.choices() == [{"id": other, "name": "Ten regions"}]
    workspace.training.shelf.use(other)
    assert [one["id"] for one in workspace.opponents.choices()] == [BASE]


def test_without_versions_nothing_can_be_chosen_and_nothing_is_loaded(
    workspace: Workspace, loader: Loader
) -> None:
    assert workspace.opponents.choices() == [] and loader.loaded == []
    assert workspace.opponents.embedder(None) is workspace.embedder()


def test_the_gallery_is_embedded_beside_and_stays_with_its_own_model(
    workspace: Workspace, other: str
) -> None:
    gallery, own = workspace.gallery("scenes"), Spaces(workspace.embedder().info.fingerprints)
    assert workspace.page("scenes", 0)["lacking"] == 0
    assert workspace.page("scenes", 0, against=other)["lacking"] == 6
    with pytest.raises(InputError, match="no vectors of this model"):
        workspace.search(against(other))
    embed(workspace, other)
    assert workspace.page("scenes", 0, against=other)["lacking"] == 0
    assert gallery.lacking(own) == [] and gallery.checkpoint == workspace.embedder().info.checkpoint


def test_a_search_shows_both_versions_by_their_names(workspace: Workspace, other: str) -> None:
    embed(workspace, other)
    own = workspace.search(RED)["lists"]
    both = workspace.search(against(other))["lists"]
    assert [one["title"] for one in own] == ["Baseline", "SSA-ME"]
    assert [one["title"] for one in both] == ["Ten regions", "tiny (as it came)"]
    prints = workspace.training.shelf.version(other).fingerprints
    assert prints["ssa-me"] in both[0]["explained"]
    # the fakes are equal, so both sides must be what SSA-ME alone answers
    for one in both:
        assert [hit["id"] for hit in one["hits"]] == [hit["id"] for hit in own[1]["hits"]]
    told = workspace.searching.json(against(other))["models"]
    assert told["baseline"] == {"name": "Ten regions", "fingerprint": prints["ssa-me"]}
    assert "models" not in workspace.searching.json(RED)


def test_one_opponent_is_kept_and_let_go_when_another_version_is_used(
    workspace: Workspace, other: str, loader: Loader
) -> None:
    for _ in range(3):
        workspace.opponents.embedder(other)
    assert len(loader.loaded) == 1
    workspace.opponents.forget()
    workspace.opponents.embedder(other)
    assert len(loader.loaded) == 2


def test_an_image_is_explained_and_inspected_under_both_versions(workspace: Workspace, other: str) -> None:
    embed(workspace, other)
    state = SearchState(text="red", gallery="scenes", hit=1, against=other)
    titles = {"baseline": "Ten regions", "ssa-me": "tiny (as it came)"}
    assert workspace.explain(state, 1)["titles"] == titles
    workspace.training.shelf.rename(other, "Eleven")
    assert workspace.explain(state, 1)["titles"]["baseline"] == "Eleven"
    workspace.training.shelf.rename(other, "Ten regions")
    seen = workspace.inspector.look(state, InspectSettings())
    assert seen["maps"]["titles"] == seen["alignment"]["titles"] == seen["attribution"]["titles"] == titles
    assert [place["title"] for place in seen["redraw"]["places"]] == list(titles.values())
    assert seen["maps"]["attention"]["baseline"] == seen["maps"]["attention"]["ssa-me"]
    assert seen["attribution"]["models"] == ["ssa-me", "baseline"]
    plain = workspace.inspector.look(SearchState(text="red", gallery="scenes", hit=1), InspectSettings())
    assert plain["maps"]["attention"]["baseline"] != plain["maps"]["attention"]["ssa-me"]
    with pytest.raises(InputError, match="difference of two versions"):
        workspace.inspector.attributions.begin(state, InspectSettings(target="difference"), "map")


def test_queries_run_against_another_version_which_is_embedded_on_the_way(
    workspace: Workspace, other: str
) -> None:
    job = workspace.failures.start(Asked("captions", "scenes", against=other))
    state = job.wait(60)
    assert state.phase == "done", state.message
    run = workspace.failures.open(state.result["run"])
    assert run.run.titles == {"baseline": "Ten regions", "ssa-me": "tiny (as it came)"}
    assert run.against == other and workspace.failures.kept()[0]["against"] == "Ten regions"
    table = run.run.table
    assert (table.numbers["rank_baseline"] == table.numbers["rank_ssa_me"]).all()
    assert run.lists(run.row(0), 2).keys() == {"baseline", "ssa-me"}
    plain = workspace.failures.start(Asked("captions", "scenes")).wait(60)
    assert plain.result["run"] != state.result["run"]


def test_on_a_public_page_a_run_embeds_nothing(
    workspace: Workspace, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(workspace.failures, "start", lambda *given: begun.append(given))
    events = {f.fn.__name__: f.fn for f in studio.build(workspace, public=True).fns.values() if f.fn}
    asked = SimpleNamespace(_data={"kind": "captions"})
    for embedded in (False, True):
        if embedded:
            embed(workspace, other)
        events["start_run"]({"current": "scenes", "against": other}, asked)
        assert len(begun) == embedded


def test_a_link_names_the_opponent_and_both_fingerprints(workspace: Workspace, other: str) -> None:
    state = permalink.parse({"q": "red", "vs": other})
    assert state.against == other and f"vs={other}" in permalink.build(state)
    prints = workspace.training.shelf.version(other).fingerprints
    assert workspace.inspector.models(other) == (
        prints["ssa-me"],
        workspace.embedder().info.fingerprints["ssa-me"],
    )
    read, entered, trouble = studio.read_link(workspace, {"q": "red", "vs": other})
    assert (read.against, trouble) == (other, "") and entered is not None
    assert studio.masthead_value(workspace, None, other)["against"] == other


@pytest.mark.parametrize("value", ["../../etc", "0" * 11, "Ten regions", ["base"], 7])
def test_what_cannot_be_a_version_is_bad_input(value: Any) -> None:
    with pytest.raises(InputError, match="not a version"):
        permalink.parse_against(value)


def test_a_version_that_is_gone_or_in_use_is_refused_with_a_sentence(
    workspace: Workspace, other: str
) -> None:
    with pytest.raises(InputError, match="is the version in use"):
        workspace.search(against(BASE))
    embed(workspace, other)
    workspace.training.shelf.delete(other)
    for ask in (
        lambda: workspace.search(against(other)),
        lambda: workspace.explain(against(other), 1),
        lambda: workspace.page("scenes", 0, against=other),
        lambda: workspace.making.refresh("scenes", other),
    ):
        with pytest.raises(InputError, match="no such version"):
            ask()
    assert studio.masthead_value(workspace, None, other)["against"] is None
    assert "no such version" in studio.read_link(workspace, {"q": "red", "vs": other})[2]


def test_the_models_of_a_kind_of_score(workspace: Workspace, other: str) -> None:
    opponents: Opponents = workspace.opponents
    assert opponents.side(None, "baseline") == (workspace.embedder(), "baseline")
    assert opponents.side(other, "baseline") == (opponents.model(other), "ssa-me")
    assert opponents.side(other, "ssa-me") == (workspace.embedder(), "ssa-me")
