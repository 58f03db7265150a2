import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.permalink import SearchState
from app.workspace import Workspace
from ssa_me.errors import InputError
from tests.app.fakes import FakeEmbedder

RED = SearchState(text="a red car", gallery="scenes")


def test_the_workspace_knows_no_gradio_and_loads_no_model_by_itself() -> None:
    code = (
        "import sys, app.workspace; assert not {'gradio', 'torch'} & set(sys.modules), 'too much is imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_demo_gallery_is_built_once_and_reopened(tmp_path: Path) -> None:
    first = Workspace(tmp_path, demo_images=4, load=FakeEmbedder).start()
    assert first._start.wait(30).phase == "done"
    assert [(card.id, card.name, card.count) for card in first.galleries()] == [("scenes", "Scenes", 4)]
    embedder = FakeEmbedder()
    second = Workspace(tmp_path, demo_images=4, load=lambda: embedder).start()
    assert second._start.wait(30).phase == "done"
    assert embedder.calls == 0
    assert len(second.search(RED)["lists"][0]["hits"]) == 4


def test_another_checkpoint_embeds_the_demo_gallery_again(tmp_path: Path) -> None:
    Workspace(tmp_path, demo_images=4, load=FakeEmbedder).start()._start.wait(30)
    other = FakeEmbedder({"baseline": "a" * 12, "ssa-me": "b" * 12})
    workspace = Workspace(tmp_path, demo_images=4, load=lambda: other).start()
    assert workspace._start.wait(30).phase == "done"
    assert len(workspace.search(RED)["lists"][1]["hits"]) == 4


def test_a_gallery_of_another_checkpoint_says_so_and_is_embedded_again(
    tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    (tmp_path / "a.png").write_bytes(picture("pink"))
    first = Workspace(tmp_path / "w", demo_images=0, load=FakeEmbedder).start()
    assert first.making.begin("Mine", [tmp_path / "a.png"]).wait(30).phase == "done"
    other = FakeEmbedder({"baseline": "a" * 12, "ssa-me": "b" * 12})
    second = Workspace(tmp_path / "w", demo_images=0, load=lambda: other).start()
    second.embedder()
    assert second.page("mine", 0)["lacking"] == 1
    with pytest.raises(InputError):
        second.search(SearchState(text="pink", gallery="mine"))
    assert second.making.refresh("mine").wait(30).phase == "done"
    assert second.page("mine", 0)["lacking"] == 0
    assert len(second.search(SearchState(text="pink", gallery="mine"))["lists"][1]["hits"]) == 1


def test_a_model_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    def fail() -> FakeEmbedder:
        raise InputError("The checkpoint lacks the key x. Give a whole one.")

    workspace = Workspace(tmp_path, load=fail).start()  # type: ignore[arg-type]
    with pytest.raises(InputError, match="lacks the key x"):
        workspace.embedder()
    assert workspace.starting.phase == "failed"
    assert workspace.model() is None


def test_a_search_gives_both_lists_with_all_that_a_row_shows(workspace: Workspace) -> None:
    view = workspace.search(replace(RED, k=5))
    assert [ranking["name"] for ranking in view["lists"]] == ["baseline", "ssa-me"]
    for ranking in view["lists"]:
        assert [hit["rank"] for hit in ranking["hits"]] == [1, 2, 3, 4, 5]
        scores = [hit["score"] for hit in ranking["hits"]]
        assert scores == sorted(scores, reverse=True)
    shared = {h["id"] for h in view["lists"][0]["hits"]} & {h["id"] for h in view["lists"][1]["hits"]}
    assert view["shared"] == len(shared)
    assert view["overlap"] == pytest.approx(len(shared) / 5)


@pytest.mark.parametrize("method", ["vector", "subjects", "rerank"])
def test_every_method_ranks_both_models_alike(method: str, workspace: Workspace) -> None:
    names = [ranking["name"] for ranking in workspace.search(replace(RED, method=method))["lists"]]
    extra = "" if method == "vector" else f"+{method}"
    assert names == [f"baseline{extra}", f"ssa-me{extra}"]


def test_more_results_than_images_gives_all_with_a_note(workspace: Workspace) -> None:
    view = workspace.search(replace(RED, k=1000))
    assert len(view["lists"][0]["hits"]) == len(workspace.gallery("scenes"))
    assert view["notes"]


def test_an_image_finds_itself(workspace: Workspace) -> None:
    item = workspace.page("scenes", 0)["items"][3]
    digest = workspace.keep_image("scenes", item["id"])
    view = workspace.search(SearchState(image=digest, gallery="scenes"))
    assert view["lists"][0]["hits"][0]["score"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "text", ["人が赤い服を着ている", "شخص بالأحمر", "👩‍🦰 rouge", "a" * 10_000, "\x00 red"]
)
def test_text_in_any_script_is_searched(text: str, workspace: Workspace) -> None:
    lists = workspace.search(SearchState(text=text, gallery="scenes"))["lists"]
    assert [len(ranking["hits"]) for ranking in lists] == [10, 10]


@pytest.mark.parametrize(
    "state",
    [
        SearchState(gallery="scenes"),
        SearchState(text="  \n", gallery="scenes"),
        replace(RED, k=0),
        replace(RED, weight=2),
        replace(RED, weight=float("nan")),
        replace(RED, text="a" * 10_001),
        replace(RED, image="0" * 64),
        replace(RED, image="../x"),
        replace(RED, gallery="gone"),
        replace(RED, gallery="../scenes"),
        replace(RED, method="magic"),
    ],
)
def test_bad_queries_are_one_clear_sentence(state: SearchState, workspace: Workspace) -> None:
    with pytest.raises(InputError) as caught:
        workspace.search(state)
    assert str(caught.value).endswith(".")
    assert "Traceback" not in str(caught.value)


def test_an_explanation_is_computed_once(workspace: Workspace) -> None:
    item = workspace.page("scenes", 0)["items"][0]["id"]
    view = workspace.explain(RED, item)
    assert workspace.explain(RED, item) is view
    assert workspace.explain(replace(RED, text="a blue bird"), item) is not view
    tokens = len(view["boxes"])
    assert [len(view["attention"][name]) for name in ("baseline", "ssa-me")] == [tokens, tokens]
    assert np.sum(view["attention"]["ssa-me"]) == pytest.approx(view["on_image"]["ssa-me"], rel=0.01)
    assert [stage["name"] for stage in view["stages"]] == ["semantic", "expert", "fused", "head", "gain"]


def test_each_salience_is_explained_for_itself(workspace: Workspace) -> None:
    item = workspace.page("scenes", 0)["items"][0]["id"]
    head, full = (workspace.explain(replace(RED, salience=mode), item) for mode in ("head", "full"))
    assert (head["salience"], full["salience"]) == ("head", "full")
    assert (head["source"], full["source"]) == ("rule", "lmm")
    assert "subjects" in full["seconds"]
    took = {stage["name"]: stage["seconds"] for stage in full["stages"]}
    assert (took["expert"], took["semantic"], took["gain"]) == (0.03, 0.04, None)
    with pytest.raises(InputError, match="heavy"):
        workspace.explain(replace(RED, salience="heavy"), item)


def test_a_second_ranking_is_conditioned_by_the_salience_that_is_chosen(workspace: Workspace) -> None:
    state = replace(RED, method="rerank", salience="full", k=3)
    assert len(workspace.search(state)["lists"][0]["hits"]) == 3
    with pytest.raises(InputError, match="heavy"):
        workspace.search(replace(state, salience="heavy"))


def test_an_image_that_is_gone_cannot_be_explained(workspace: Workspace) -> None:
    with pytest.raises(InputError):
        workspace.explain(RED, 10**9)


def test_pages_of_a_gallery(workspace: Workspace) -> None:
    page = workspace.page("scenes", 10, limit=10)
    assert (page["offset"], len(page["items"]), page["count"]) == (10, 10, 24)
    assert workspace.page("scenes", 10**9, limit=10)["offset"] == 20
    assert workspace.page("scenes", -5, limit=10)["offset"] == 0


def test_a_gallery_of_uploads_says_what_was_skipped_and_why(
    workspace: Workspace, photographs: Path, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    (tmp_path / "late.png").write_bytes(picture("purple"))
    (tmp_path / "list.txt").write_text("no image")
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    files = [photographs, tmp_path / "late.png", tmp_path / "list.txt", tmp_path / "bad.zip"]
    state = workspace.making.begin("Holiday — 2026", files).wait(30)
    assert state.phase == "done", state.message
    assert state.result["added"] == 4
    assert state.result["gallery"] == "holiday-2026"
    assert [set(pair) for pair in state.result["duplicates"]] == [{"red.png", "red again.png"}]
    skipped = dict(state.result["skipped"])
    assert {"notes.txt", "broken.jpg", "list.txt", "bad.zip"} <= set(skipped)
    assert all(
        reason and str(workspace.folder) not in reason and str(tmp_path) not in reason
        for reason in skipped.values()
    )
    assert not (workspace.folder.parent / "outside.png").exists()
    view = workspace.search(SearchState(text="something purple", gallery="holiday-2026"))
    assert view["lists"][0]["hits"][0]["name"] == "late.png"


def test_two_galleries_of_one_name_get_two_ids(
    workspace: Workspace, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    (tmp_path / "a.png").write_bytes(picture("pink"))
    ids = []
    for _ in range(2):
        ids.append(workspace.making.begin("写真", [tmp_path / "a.png"]).wait(30).result["gallery"])
    assert ids == ["gallery", "gallery-2"]
    assert [card.name for card in workspace.galleries() if card.id in ids] == ["写真", "写真"]


def test_nothing_usable_makes_no_gallery(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("no image")
    state = workspace.making.begin("Nothing", [tmp_path / "list.txt"]).wait(30)
    assert state.phase == "failed"
    assert state.result["skipped"]
    assert "nothing" not in {card.id for card in workspace.galleries()}
    assert not list((workspace.folder / "galleries").glob(".*"))


def test_an_ingest_can_be_cancelled_and_only_one_runs(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    hold = threading.Event()

    class Slow(FakeEmbedder):
        def embed(self, *args: object, **options: object):  # type: ignore[no-untyped-def, override]
            hold.wait(10)
            return super().embed(*args, **options)  # type: ignore[arg-type]

    workspace = Workspace(tmp_path / "w", demo_images=0, load=Slow).start()
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(picture("red", size=(64 + number, 48)))
    job = workspace.making.begin("Slow", sorted(tmp_path.glob("*.png")))
    with pytest.raises(InputError, match="Another gallery"):
        workspace.making.begin("Second", [tmp_path / "0.png"])
    job.cancel()
    hold.set()
    state = job.wait(30)
    assert state.phase == "cancelled"
    assert state.result["added"] < 40
    assert workspace.making.job is job


@pytest.mark.parametrize(("name", "files"), [("", ["a.png"]), ("  ", ["a.png"]), ("Name", [])])
def test_an_ingest_needs_a_name_and_files(name: str, files: list[str], workspace: Workspace) -> None:
    with pytest.raises(InputError):
        workspace.making.begin(name, [Path(file) for file in files])


def test_parallel_searches_equal_serial_ones(workspace: Workspace) -> None:
    texts = ["a red car", "a blue bird", "a green tree", "a yellow house"] * 3
    expected = [_ids(workspace, text) for text in texts]
    found: list[object] = [None] * len(texts)

    def work(at: int) -> None:
        found[at] = _ids(workspace, texts[at])

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == expected


def test_a_search_before_the_model_is_ready_waits_for_it(tmp_path: Path) -> None:
    ready = threading.Event()

    def load() -> FakeEmbedder:
        ready.wait(10)
        return FakeEmbedder()

    workspace = Workspace(tmp_path, demo_images=0, load=load).start()  # type: ignore[arg-type]
    threading.Timer(0.3, ready.set).start()
    started = time.monotonic()
    assert workspace.embedder().info.name == "mini"
    assert time.monotonic() - started > 0.2


def _ids(workspace: Workspace, text: str) -> list[list[int]]:
    view = workspace.search(SearchState(text=text, gallery="scenes"))
    return [[hit["id"] for hit in ranking["hits"]] for ranking in view["lists"]]
