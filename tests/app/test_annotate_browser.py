"""Annotating as an annotator does it: by keyboard, in the system's Chromium, and by touch on a phone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.workspace import Workspace
from ssa_me.annotation import Filters
from ssa_me.explanation import Subjects
from tests.app.fakes import FakeEmbedder
from tests.app.test_browser_tour import CHROMIUM, Visit, chromium, playwright, visit

__all__ = ["chromium", "visit"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
    pytest.mark.usefixtures("queue"),
]


def arrive(visit: Visit, name: str) -> Any:
    page = visit.open()
    page.get_by_role("tab", name="Annotate").click()
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#studio-annotate canvas")
    playwright.expect(page.locator(".phrase")).not_to_have_value("")
    return page


def decide(page: Any, key: str, done: int) -> None:
    """Press a key and wait until the decision is saved and so many subjects are done."""
    page.keyboard.press(key)
    playwright.expect(page.locator("#studio-annotate .save")).to_contain_text("Saved")
    playwright.expect(page.locator(".meter .number")).to_have_text(re.compile(rf"^{done} of"))


def test_judge_fix_undo_reload_and_export_by_keyboard(visit: Visit, tmp_path: Path) -> None:
    page = arrive(visit, "Ann")
    phrase = page.locator(".phrase")
    for done, key in enumerate("arA", start=1):
        decide(page, key, done)
    decide(page, "s", 3)

    before = phrase.input_value()
    box = page.locator("#studio-annotate canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.keyboard.press("f")
    page.keyboard.down("Shift")
    page.mouse.move(x - 80, y - 90)
    page.mouse.down()
    page.mouse.move(x, y)
    page.mouse.move(x + 100, y + 110)
    page.mouse.up()
    page.keyboard.up("Shift")
    playwright.expect(page.get_by_role("button", name="Save fix")).to_be_visible()
    playwright.expect(page.locator(".save")).to_have_text("Change not saved yet")
    page.keyboard.press("Control+z")
    playwright.expect(page.get_by_role("button", name="Save fix")).to_have_count(0)
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Shift+ArrowLeft")
    decide(page, "f", 4)

    page.keyboard.press("Control+z")
    playwright.expect(page.locator(".meter .number")).to_have_text(re.compile("^3 of"))
    playwright.expect(phrase).to_have_value(before)
    page.keyboard.press("Control+Shift+z")
    playwright.expect(page.locator(".meter .number")).to_have_text(re.compile("^4 of"))
    playwright.expect(page.locator(".about")).to_contain_text("you fixed it")

    page.keyboard.press("j")
    playwright.expect(page.locator(".about")).not_to_contain_text("you fixed it")
    page.keyboard.press("t")
    page.keyboard.type("a name that is not saved")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "Object.keys(JSON.parse(localStorage['studio-annotate-drafts'] || '{}')).length === 1"
    )
    page.reload()
    page.get_by_role("tab", name="Annotate").click()
    playwright.expect(phrase).to_have_value("a name that is not saved")
    playwright.expect(page.locator(".save")).to_contain_text("unsaved change is back")
    page.keyboard.press("Escape")
    playwright.expect(phrase).not_to_have_value("a name that is not saved")

    with page.expect_download() as download:
        page.get_by_role("button", name="COCO JSON").click()
    download.value.save_as(tmp_path / "coco.json")
    data = json.loads((tmp_path / "coco.json").read_text(encoding="utf-8"))
    (fixed,) = (a for a in data["annotations"] if a["attributes"]["status"] == "fixed")
    assert fixed["caption"] == before
    assert [s.get("did") for s in fixed["attributes"]["provenance"]] == [None, "fix", "undo", "redo"]
    assert {a["attributes"]["status"] for a in data["annotations"]} == {"accepted", "fixed"}


def test_digits_choose_a_snap_gives_a_mask_and_keys_are_shown(visit: Visit) -> None:
    page = arrive(visit, "Bob")
    page.get_by_label("Order of the queue").select_option("images")
    playwright.expect(page.locator(".desk.busy")).to_have_count(0)
    playwright.expect(page.locator(".subjects button")).not_to_have_count(1)
    names = page.locator(".subjects button span").all_inner_texts()
    page.keyboard.press("2")
    playwright.expect(page.locator(".phrase")).to_have_value(names[1])
    page.keyboard.press("Delete")
    page.keyboard.press("g")
    playwright.expect(page.locator(".save")).to_have_text("Change not saved yet")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    playwright.expect(page.get_by_role("dialog", name="All keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    playwright.expect(page.get_by_role("button", name="Add", exact=False).first).to_be_visible()
    page.keyboard.press("Escape")
    playwright.expect(page.locator(".phrase")).to_have_value(names[1])


def drag(page: Any, canvas: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over a canvas, from and to places that are shares of its width and height."""
    box = canvas.bounding_box()
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    page.mouse.up()


def test_an_opened_image_is_annotated_where_nothing_is_found_and_by_whom_is_a_filter(
    visit: Visit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect = playwright.expect
    page = arrive(visit, "Fay")
    page.get_by_role("tab", name="Search").click()
    visit.ask("a red car")
    hits = page.locator("#studio-ranking .list.ssa-me .hit")
    asked, bare = (int(hits.nth(n).get_attribute("data-id") or 0) for n in (0, 1))
    store, found = workspace.annotating.store("scenes"), Filters(source="none")
    with store._database.writing() as db:
        db.execute("DELETE FROM items WHERE image = ?", (bare,))

    # An image with proposals: its first subject is shown, and again out of Inspect.
    hits.nth(0).click()
    page.locator("#studio-opened").get_by_role("button", name="Annotate").click()
    first = store.item(store.first_of(asked) or 0).proposal.subject.phrase
    expect(page.locator("#studio-annotate .subjects .chosen span")).to_have_text(first)
    expect(page.locator("#studio-annotate .subjects .chosen kbd")).to_have_text("1")
    page.keyboard.press("2")
    expect(page.locator("#studio-annotate .subjects .chosen kbd")).to_have_text("2")
    page.get_by_role("tab", name="Search").click()
    page.get_by_role("tab", name="Annotate").click()
    expect(page.locator("#studio-annotate .subjects .chosen kbd")).to_have_text("2")
    page.get_by_role("tab", name="Search").click()
    page.locator("#studio-opened").get_by_role("button", name="Inspect").click()
    page.locator("#studio-asked").get_by_role("button", name="Annotate").click()
    expect(page.locator("#studio-annotate .subjects .chosen kbd")).to_have_text("1")

    # An image without: what to do is said, and nothing is found in it.
    page.get_by_role("tab", name="Search").click()
    hits.nth(1).click()
    page.wait_for_selector("#studio-opened canvas")
    monkeypatch.setattr(FakeEmbedder, "subjects", lambda self, samples: [Subjects(())], raising=False)
    monkeypatch.setattr(FakeEmbedder, "phrases", lambda self, text: ())
    page.locator("#studio-opened").get_by_role("button", name="Annotate").click()
    board = page.locator("#studio-annotate")
    expect(board.locator(".empty h2")).to_have_text("Nothing is proposed for this image yet")
    board.get_by_role("button", name="By the model").click()
    expect(board.locator(".about")).to_contain_text("Nothing was proposed here")
    expect(board.get_by_role("button", name="Accept")).to_be_hidden()
    expect(board.get_by_role("button", name="Nothing here")).to_be_visible()
    page.keyboard.press("a")
    expect(board.locator(".save")).to_contain_text("Saved")
    nothing = store.first_of(bare) or 0
    assert (store.item(nothing).status, list(store.outcomes(found))) == ("rejected", [])
    page.keyboard.press("Control+z")
    expect(board.locator(".about")).to_contain_text("Nothing was proposed here")
    drag(page, board.locator("canvas").first, (0.4, 0.3), (0.6, 0.7))
    board.locator(".phrase").fill("a kite")
    board.get_by_role("button", name="Add", exact=False).first.click()
    expect(board.locator(".save")).to_contain_text("Saved")
    assert [(o.subject.phrase, o.subject.status) for o in store.outcomes(found)] == [("a kite", "added")]

    # Somebody else looks at what Fay judged.
    board.get_by_role("button", name="change").click()
    page.get_by_label("Your name").fill("Gil")
    page.keyboard.press("Enter")
    board.get_by_label("Who judged it").select_option("Fay")
    expect(board.locator(".phrase")).to_have_value("a kite")
    expect(board.locator(".about")).to_have_text("added where nothing was proposed · added")
    page.keyboard.press("a")
    expect(board.get_by_role("heading", name="Nothing left that passes the filter")).to_be_visible()
    assert [(o.subject.phrase, o.subject.status) for o in store.outcomes(found)] == [("a kite", "added")]


def test_without_a_connection_a_decision_waits_and_is_saved_once(visit: Visit) -> None:
    gone: list[bool] = []
    # from the start, since a browser that begins to hold requests may let the first one through
    visit.page.route(
        re.compile("component_server"), lambda route: route.abort() if gone else route.continue_()
    )
    page = arrive(visit, "Dee")
    phrase = page.input_value(".phrase")
    before = page.inner_text(".meter .number")
    gone.append(True)
    page.keyboard.press("a")
    playwright.expect(page.locator(".save")).to_have_text("Not saved yet")
    assert page.input_value(".phrase") == phrase, "nothing else is shown before it is saved"
    gone.clear()
    playwright.expect(page.locator(".save")).to_contain_text("Saved ")
    assert page.inner_text(".meter .number") != before
    assert page.locator(".people tr", has_text="Dee").locator("td.number").first.inner_text() == "1"
    assert visit.trouble and all("ERR_FAILED" in text for text in visit.trouble)
    visit.trouble.clear()


@pytest.mark.parametrize("visit", [(390, 844)], indirect=True)
def test_a_phone_accepts_and_rejects_by_touch(visit: Visit) -> None:
    page = arrive(visit, "Cy")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for button, status in (("Accept", "accepted"), ("Reject", "rejected")):
        count = page.locator(".counts div", has_text=status)
        before = int(re.sub(r"\D", "", count.inner_text())) if count.count() else 0
        bounds = page.get_by_role("button", name=button).bounding_box()
        assert bounds is not None
        assert bounds["y"] + bounds["height"] <= 844 and bounds["height"] >= 44
        page.get_by_role("button", name=button).tap()
        playwright.expect(page.locator(".save")).to_contain_text("Saved")
        playwright.expect(count).to_contain_text(str(before + 1))
