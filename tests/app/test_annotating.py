"""What the Annotate tab asks of the workspace, without a browser; and that a public page refuses all of it."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app import studio
from app.annotating import DATABASE, Annotating
from app.routes import image_routes
from app.tabs.annotate import CLOSED
from app.workspace import Workspace
from ssa_me.annotation.export import from_coco, from_csv
from ssa_me.errors import InputError
from ssa_me.samples import read_image_folder
from tests.app.fakes import FakeEmbedder

Json = dict[str, Any]
NO_IMAGE = "There is no such image in this gallery. Choose another one."
ANN = {"gallery": "scenes", "name": "Ann"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace of its own with a queue out of the data of eight scenes."""
    workspace = Workspace(tmp_path_factory.mktemp("annotating"), demo_images=8, load=FakeEmbedder).start()
    assert workspace._start.wait(60).phase == "done"
    workspace.annotating.prepare({"gallery": "scenes", "source": "data"})
    assert workspace.annotating._jobs["scenes"].wait(60).phase == "done"
    return workspace


@pytest.fixture
def annotating(filled: Workspace) -> Annotating:
    """The queue with nothing decided yet: the file is put back afterwards."""
    path = filled.gallery("scenes").folder / DATABASE
    with filled.annotating.store("scenes")._database.writing() as db:
        for table in ("decisions", "standing", "leases", "places"):
            db.execute(f"DELETE FROM {table}")
        db.execute("UPDATE items SET status = 'pending', judges = 0, result = NULL")
        db.execute("DELETE FROM items WHERE creator IS NOT NULL")
        db.execute("DELETE FROM settings WHERE key = 'judges'")
    assert path.is_file()
    return filled.annotating


def fixed(item: Json, **changes: Any) -> Json:
    subject = item["subjects"][item["current"]]
    return {key: subject[key] for key in ("phrase", "bbox", "mask")} | changes


def test_a_gallery_without_a_queue_says_what_there_is_to_do(workspace: Workspace) -> None:
    answer = workspace.annotating.arrive({"gallery": "scenes"})
    assert answer["empty"] == {"subjects": True}
    with pytest.raises(InputError, match="no gallery"):
        workspace.annotating.arrive({"gallery": "sold"})
    with pytest.raises(InputError, match="from the data or by the model"):
        workspace.annotating.prepare({"gallery": "scenes", "source": "thin air"})


def test_more_proposals_come_while_others_are_judged(filled: Workspace, annotating: Annotating) -> None:
    before = annotating.progress("scenes")["total"]
    annotating.prepare(ANN | {"source": "model"})
    assert annotating.prepare(ANN | {"look": True})["preparing"]["phase"] in ("running", "done")
    assert "item" in annotating.arrive(ANN), "nobody has to wait for it"
    annotating.prepare(ANN | {"stop": True})
    assert annotating._jobs["scenes"].wait(60).phase in ("done", "failed")
    assert annotating.progress("scenes")["total"] >= before
    with annotating.store("scenes")._database.writing() as db:
        db.execute("DELETE FROM items WHERE source = 'model'")


def test_an_item_shows_its_subjects_and_the_next_one_is_here_ahead(annotating: Annotating) -> None:
    assert annotating.arrive({"gallery": "scenes"})["nameless"]
    answer = annotating.arrive(ANN)
    item, ahead = answer["item"], answer["ahead"]
    assert item["subjects"][item["current"]]["id"] == item["id"] != ahead["id"]
    assert len(item["subjects"]) >= 2
    assert item["mask_size"] == item["size"]
    assert answer["progress"]["done"] == 0 < answer["progress"]["total"]
    after = annotating.decide(ANN | {"item": item["id"], "verdict": "accept", "token": "decision-1"})
    assert after["item"]["id"] == ahead["id"]
    assert after["progress"]["counts"]["accepted"] == 1
    assert annotating.arrive(ANN)["item"]["id"] == ahead["id"], "a reload returns to the same item"
    assert annotating.arrive(ANN | {"name": "Bob"})["item"]["id"] not in (item["id"], ahead["id"])


def test_a_fix_an_addition_and_their_undo(annotating: Annotating) -> None:
    item = annotating.arrive(ANN)["item"]
    moved = fixed(item, phrase="a striped thing", bbox=[1, 2, 30, 40], mask=None)
    annotating.decide(ANN | {"item": item["id"], "verdict": "fix", "subject": moved})
    added = annotating.decide(
        ANN | {"item": item["id"], "verdict": "add", "subject": moved | {"phrase": "a cloud"}}
    )["item"]
    names = [(subject["phrase"], subject["verdict"]) for subject in added["subjects"]]
    assert ("a striped thing", "fix") in names
    assert ("a cloud", "add") in names
    undone = annotating.undo(ANN)["item"]
    assert "a cloud" not in [subject["phrase"] for subject in undone["subjects"]]
    assert annotating.undo(ANN)["item"]["id"] == item["id"]
    again = annotating.undo(ANN | {"redo": True})["item"]
    assert again["subjects"][again["current"]]["bbox"] == [1.0, 2.0, 30.0, 40.0]
    with pytest.raises(InputError, match="nothing to redo"):
        annotating.undo(ANN | {"redo": True, "name": "Bob"})


def test_a_mask_travels_and_comes_back(annotating: Annotating) -> None:
    item = annotating.arrive(ANN)["item"]
    height, width = item["mask_size"][::-1]
    mask = {"size": [height, width], "counts": [10 * height + 5, 30, height * width - 10 * height - 35]}
    annotating.decide(ANN | {"item": item["id"], "verdict": "fix", "subject": fixed(item, mask=mask)})
    back = annotating.go(ANN | {"item": item["id"]})["item"]
    shown = back["subjects"][back["current"]]
    assert shown["mask"] == mask
    assert shown["bbox"] == [10.0, 5.0, 1.0, 30.0]
    snapped = annotating.snap(ANN | {"item": item["id"], "bbox": [20, 20, 60, 60]})["mask"]
    assert sum(snapped["counts"]) == height * width
    assert 0 < sum(snapped["counts"][1::2]) < height * width


@pytest.mark.parametrize(
    "mask",
    [
        {"size": [10**6, 10**6], "counts": [10**12]},
        {"size": [4, 4], "counts": "x" * 10},
        {"size": [4, 4], "counts": [-4, 20]},
        {"size": [4, 4], "counts": [10**30]},
        {"size": "ab", "counts": [16]},
        {"counts": [16]},
        [1, 2, 3],
        "mask",
    ],
)
def test_forged_masks_are_refused(annotating: Annotating, mask: object) -> None:
    item = annotating.arrive(ANN)["item"]
    with pytest.raises(InputError):
        annotating.decide(ANN | {"item": item["id"], "verdict": "fix", "subject": fixed(item, mask=mask)})
    with pytest.raises(InputError):
        annotating.snap(ANN | {"item": item["id"], "inside": mask})


@pytest.mark.parametrize(
    "sent",
    [
        {"item": "1"},
        {"item": 10**40},
        {"item": True},
        {"verdict": None},
        {"verdict": "fix"},
        {"verdict": "fix", "subject": {"phrase": 7}},
        {"verdict": "fix", "subject": {"phrase": "x", "bbox": [1, 2]}},
        {"verdict": "fix", "subject": {"phrase": "x", "bbox": ["a", "b", "c", "d"]}},
        {"name": ["Ann"]},
        {"name": "x" * 100},
        {"order": "by name"},
        {"filters": {"status": "lost"}},
        {"filters": "all"},
        {"gallery": "../etc"},
    ],
)
def test_forged_requests_are_refused(annotating: Annotating, sent: Json) -> None:
    item = annotating.arrive(ANN)["item"]
    with pytest.raises(InputError):
        annotating.decide(ANN | {"item": item["id"], "verdict": "accept"} | sent)


def test_honeypots_do_not_show(annotating: Annotating) -> None:
    with annotating.store("scenes")._database.reading() as db:
        traps = [row[0] for row in db.execute("SELECT id FROM items WHERE truth IS NOT NULL")]
    assert traps
    real, trap = (annotating.go(ANN | {"item": id})["item"] for id in (1, traps[0]))
    assert "truth" not in json.dumps(trap)
    views = [item["subjects"][item["current"]] for item in (real, trap)]
    assert views[0].keys() == views[1].keys()
    assert views[0]["source"] == views[1]["source"]
    phrases = [subject["phrase"] for subject in trap["subjects"]]
    assert len(set(phrases)) == len(phrases), "nothing beside it gives it away"
    for id in traps[1:]:
        assert id not in [subject["id"] for subject in real["subjects"]]


def test_with_agreement_wanted_annotators_do_not_see_each_other(annotating: Annotating) -> None:
    item = annotating.arrive(ANN)["item"]
    annotating.settings(ANN | {"judges": 2})
    moved = fixed(item, phrase="another name", bbox=[1, 2, 30, 40], mask=None)
    annotating.decide(ANN | {"item": item["id"], "verdict": "fix", "subject": moved})
    theirs = annotating.go(ANN | {"name": "Bob", "item": item["id"]})["item"]
    shown = theirs["subjects"][theirs["current"]]
    assert (shown["phrase"], shown["status"]) == (fixed(item)["phrase"], None)
    progress = annotating.decide(ANN | {"name": "Bob", "item": item["id"], "verdict": "accept"})["progress"]
    assert progress["agreement"]["items"] == 1
    assert 0 <= progress["agreement"]["iou"] <= 1
    assert {person["name"] for person in progress["people"]} == {"Ann", "Bob"}


@pytest.mark.parametrize(
    "filters", [{"phrase": "a"}, {"source": "data"}, {"annotator": "Ann"}, {"status": "fixed"}]
)
def test_no_filter_shows_others_decisions_before_so_many_have_judged(
    annotating: Annotating, filters: Json
) -> None:
    item = annotating.arrive(ANN)["item"]
    annotating.settings(ANN | {"judges": 2})
    moved = fixed(item, phrase="another name", bbox=[1, 2, 30, 40], mask=None)
    annotating.decide(ANN | {"item": item["id"], "verdict": "fix", "subject": moved})
    bob, cy = ({"gallery": "scenes", "name": name, "filters": filters} for name in ("Bob", "Cy"))
    asked = [annotating.go(bob | {"item": item["id"]})["item"]]
    asked += [annotating.go(bob)["item"]] if "annotator" in filters else []
    for theirs in asked:
        shown = theirs["subjects"][theirs["current"]]
        assert (shown["id"], shown["phrase"], shown["status"]) == (item["id"], fixed(item)["phrase"], None)
    annotating.decide(bob | {"item": item["id"], "verdict": "accept", "filters": {}})
    review = annotating.go(cy | {"item": item["id"]})["item"]
    reviews = "annotator" in filters or "status" in filters
    assert (review["subjects"][review["current"]]["phrase"] == "another name") is reviews


def test_an_annotator_filter_is_a_review_of_what_somebody_judged(annotating: Annotating) -> None:
    item = annotating.go(ANN | {"item": 1})["item"]
    annotating.decide(ANN | {"item": 1, "verdict": "reject"})
    review = {"gallery": "scenes", "name": "Bob", "filters": {"annotator": "Ann"}}
    theirs = annotating.go(review)
    shown = theirs["item"]["subjects"][theirs["item"]["current"]]
    assert (shown["id"], shown["status"], theirs["ahead"]) == (item["id"], "rejected", None)
    assert annotating.go(review | {"name": "Ann"})["item"] is None


def test_an_image_leads_to_its_first_subject_and_never_to_a_honeypot(annotating: Annotating) -> None:
    store = annotating.store("scenes")
    with store._database.reading() as db:
        traps = {row[0]: row[1] for row in db.execute("SELECT image, id FROM items WHERE truth IS NOT NULL")}
    image = next(iter(traps))
    for answer in (annotating.go(ANN | {"image": image}), annotating.arrive(ANN | {"image": image})):
        item = answer["item"]
        assert (item["image"], item["current"]) == (image, 0)
        assert item["id"] not in traps.values()
    assert annotating.arrive(ANN)["item"]["id"] == item["id"], "a reload returns to it"
    assert annotating.arrive({"gallery": "scenes", "image": image})["nameless"]
    for forged in (999, "1", True, -1, 10**40, [image]):
        with pytest.raises(InputError, match="image"):
            annotating.go(ANN | {"image": forged})
        with pytest.raises(InputError, match="image"):
            annotating.prepare(ANN | {"source": "data", "image": forged})


def test_an_image_that_nobody_looked_at_says_so_and_is_looked_at(
    filled: Workspace, annotating: Annotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = annotating.store("scenes")
    with store._database.writing() as db:
        (image,) = db.execute("SELECT image FROM items WHERE truth IS NOT NULL").fetchone()
        kept = db.execute("SELECT * FROM items WHERE image = ?", (image,)).fetchall()
        db.execute("DELETE FROM items WHERE image = ? AND truth IS NULL", (image,))
    answer = annotating.go(ANN | {"image": image})
    assert answer["unproposed"] | {"thumb": "", "caption": ""} == {
        "image": image, "name": filled.gallery("scenes").item(image).file_name, "caption": "", "thumb": "", "subjects": True,
    }  # fmt: skip
    total = store.count()
    monkeypatch.setattr(FakeEmbedder, "explain", lambda *_, **__: SimpleNamespace(alignment=()))
    annotating.prepare(ANN | {"source": "model", "image": image})
    done = annotating._jobs["scenes"].wait(60)
    assert done.message == f"The queue holds {total} subjects; in 1 of the images nothing was found."
    item = annotating.go(ANN | {"image": image})["item"]
    (shown,) = item["subjects"]
    assert (shown["phrase"], shown["bbox"], shown["source"]) == ("", None, "none")
    with pytest.raises(InputError, match="Validate some"):
        annotating.export(ANN | {"format": "csv"})
    kite = {"phrase": "a kite", "bbox": [5, 5, 30, 30], "mask": None}
    annotating.decide(ANN | {"item": item["id"], "verdict": "fix", "subject": kite})
    assert [
        subject.phrase for record in filled.annotating.validated("scenes") for subject in record.subjects
    ] == ["a kite"]
    annotating.settings(ANN | {"judges": 2})
    theirs = annotating.go(ANN | {"name": "Bob", "image": image})["item"]
    assert theirs["subjects"] == [shown | {"status": None}], "they do not see what was added"
    annotating.undo(ANN)
    annotating.prepare(ANN | {"source": "data", "image": image})
    assert annotating._jobs["scenes"].wait(60).phase == "done"
    assert store.count() == total + sum(row["truth"] is None for row in kept)
    shown_now = annotating.go(ANN | {"image": image})["item"]["subjects"]
    assert "" not in [subject["phrase"] for subject in shown_now]
    with store._database.writing() as db:
        db.execute("DELETE FROM items WHERE source = 'none'")


def test_exports_are_downloads_and_obey_the_filters(
    filled: Workspace, annotating: Annotating, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="Validate some"):
        annotating.export(ANN | {"format": "csv"})
    for _ in range(5):
        annotating.decide(ANN | {"item": annotating.arrive(ANN)["item"]["id"], "verdict": "accept"})
    kept = sum(len(r.subjects) for r in _fetched(filled, annotating, {"format": "csv"}, tmp_path))
    assert kept >= 4  # one may have been a honeypot
    for form in ("coco", "imagefolder"):
        assert sum(len(r.subjects) for r in _fetched(filled, annotating, {"format": form}, tmp_path)) == kept
    phrase = annotating.go(ANN | {"item": 1})["item"]["subjects"][0]["phrase"]
    with pytest.raises(InputError):
        annotating.export(ANN | {"format": "csv", "filters": {"phrase": phrase + " that is not there"}})
    with pytest.raises(InputError, match="format"):
        annotating.export(ANN | {"format": "../../x"})
    client = TestClient(Starlette(routes=image_routes(filled)))
    assert client.get("studio/annotations/" + "0" * 32).status_code == 404


def _fetched(workspace: Workspace, annotating: Annotating, sent: Json, folder: Path) -> list[Any]:
    answer = annotating.export(ANN | sent)
    response = TestClient(Starlette(routes=image_routes(workspace))).get(answer["url"])
    assert answer["name"] in response.headers["content-disposition"]
    if sent["format"] == "csv":
        return from_csv(response.text)
    if sent["format"] == "coco":
        return from_coco(response.json())
    (folder / "export.zip").write_bytes(response.content)
    with zipfile.ZipFile(folder / "export.zip") as archive:
        archive.extractall(folder / "export")
    return read_image_folder(folder / "export")


def test_a_full_disk_is_said_and_loses_nothing(
    annotating: Annotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = annotating.arrive(ANN)["item"]
    annotating.decide(ANN | {"item": item["id"], "verdict": "accept"})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left"):
        annotating.export(ANN | {"format": "csv"})
    monkeypatch.setattr("zipfile.ZipFile.writestr", full)
    with pytest.raises(InputError, match="No space left"):
        annotating.export(ANN | {"format": "imagefolder"})
    assert not [file for file in annotating._exports_folder().iterdir() if file.name.startswith(".")]


class _Page:
    """Stands for the web framework's request of a page with or without a login."""

    def __init__(self, tokens: dict[str, str], cookies: dict[str, str]) -> None:
        self.tokens, self.cookies, self.cookie_id = tokens, cookies, "page"

    @property
    def app(self) -> "_Page":
        return self


def functions(page: gr.Blocks) -> dict[str, Callable[..., Json]]:
    (board,) = (b for b in page.blocks.values() if b.elem_id == "studio-annotate")
    return {function.__name__: function for function in board.server_fns}


def test_on_a_public_page_every_function_refuses(filled: Workspace, annotating: Annotating) -> None:
    visitor = _Page({}, {})
    for public, allowed in ((True, False), (False, False), (True, True)):
        closed = public and not allowed
        called = functions(studio.build(filled, public=public, annotating=allowed))
        assert len(called) >= 8
        for function in called.values():
            answer = function(dict(ANN), visitor)
            assert (answer.get("error") == CLOSED) is closed


def test_an_opened_image_is_annotated_only_where_that_is_allowed(
    filled: Workspace, annotating: Annotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("gradio.Warning", lambda text, **_: said.append(text))
    image = filled.gallery("scenes").items(0, 1)[0].id
    sent = {"gallery": "scenes", "id": image}
    for public, allowed in ((True, False), (False, False), (True, True)):
        closed = public and not allowed
        page = studio.build(filled, public=public, annotating=allowed)
        offered = {b.elem_id for b in page.blocks.values() if "annotates" in (b.elem_classes or ())}
        assert offered == (set() if closed else {"studio-opened", "studio-asked"})
        events = [f.fn for f in page.fns.values() if f.fn is not None and f.fn.__name__ == "annotate"]
        assert len(events) == 2, "out of Search and out of Inspect"
        for annotate in events:
            head, board, _ = annotate(gr.EventData(None, sent))
            if closed:
                assert (said.pop(), board) == (CLOSED, gr.skip())
            else:
                assert (head["current"], board["gallery"], board["image"]) == ("scenes", "scenes", image)
            forged = annotate(gr.EventData(None, sent | {"id": "1"}))
            assert forged == (gr.skip(),) * 3
            assert said.pop() == (CLOSED if closed else NO_IMAGE)
    assert said == []


def test_a_login_is_the_name_whatever_is_sent(filled: Workspace, annotating: Annotating) -> None:
    decide, arrive = (functions(studio.build(filled))[name] for name in ("decide", "arrive"))
    eve = _Page({"secret": "Eve"}, {"access-token-page": "secret"})
    item = arrive(dict(ANN), eve)["item"]
    answer = decide(ANN | {"item": item["id"], "verdict": "reject"}, eve)
    assert answer["user"] == "Eve"
    assert [person["name"] for person in answer["progress"]["people"]] == ["Eve"]
    assert decide("nothing", eve)["error"].startswith("The request did not arrive")


def test_what_the_decisions_would_change(filled: Workspace, annotating: Annotating) -> None:
    with pytest.raises(InputError, match="Nothing is judged"):
        annotating.effect(ANN, ["a red thing"])
    item = annotating.arrive(ANN)["item"]
    moved = fixed(item, bbox=[0, 0, 40, 40], mask=None)
    annotating.decide(ANN | {"item": item["id"], "verdict": "fix", "subject": moved})
    phrase = moved["phrase"]
    answer = annotating.effect(ANN | {"query": phrase}, [])
    (asked,) = answer["queries"]
    assert (asked["query"], answer["images"], answer["left_out"]) == (phrase, 1, 0)
    (change,) = asked["changes"]
    assert phrase in change["phrases"]
    ssa_me = change["versions"]["ssa-me"]
    assert ssa_me["alignment"]["before"] != ssa_me["alignment"]["after"]
    assert 1 <= ssa_me["rank"]["after"] <= 8
    assert change["versions"]["baseline"]["rank"]["before"] == change["versions"]["baseline"]["rank"]["after"]
    several = annotating.effect(ANN | {"last": "something blue"}, ["a red thing", "something blue"])
    assert [q["query"] for q in several["queries"]] == ["something blue", "a red thing"]
