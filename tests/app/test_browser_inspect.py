"""The Inspect tab as a researcher uses it, in the system's Chromium."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.app.test_browser_tour import Visit, chromium, playwright, pytestmark, visit  # noqa: F401

PAINTED = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"


def inspect(visit: Visit, text: str) -> None:  # noqa: F811
    """Search, open SSA-ME's second result, and press Inspect."""
    visit.open()
    visit.ask(text)
    visit.page.locator("#studio-ranking .list.ssa-me .hit").nth(1).click()
    visit.page.locator("#studio-opened").get_by_role("button", name="Inspect").click()
    visit.page.wait_for_selector("#studio-maps canvas")


def test_from_a_search_to_a_report_and_back_by_the_link(visit: Visit, tmp_path: Path) -> None:  # noqa: F811
    inspect(visit, "a red car")
    page, expect = visit.page, playwright.expect
    maps, table, drawing = (page.locator(f"#studio-{name}") for name in ("maps", "alignment", "redraw"))
    figures = maps.locator(".attention figure")
    assert [figures.nth(n).locator("strong").inner_text() for n in range(4)] == [
        "Image", "Baseline", "SSA-ME", "Difference",
    ]  # fmt: skip
    assert all(canvas.evaluate(PAINTED) > 8 for canvas in maps.locator(".attention canvas").all())
    assert maps.locator(".stages figure").count() == 5
    assert "tab=inspect" in page.url and "hit=" in page.url

    # One layer that sees nothing, without losing what has the focus.
    maps.get_by_label("Layer", exact=True).select_option("1")
    page.wait_for_function("location.search.includes('l=1')")
    expect(maps.locator(".attention figure").nth(3)).to_contain_text("both are equal")
    maps.get_by_label("Layer", exact=True).select_option("")
    page.wait_for_function("!location.search.includes('l=1')")

    # The table and the pictures light each other.
    expect(table.locator("tbody tr")).to_have_count(1)
    table.locator("thead th.column").last.hover()
    assert maps.locator(".attention .marks rect.region").count() == 4
    table.get_by_label("A phrase of your own").fill("a green tree")
    table.get_by_role("button", name="Score it").click()
    expect(table.locator("tbody tr")).to_have_count(2)
    table.get_by_text("a green tree", exact=True).click()
    expect(maps.locator(".chips button[aria-pressed=true]")).to_have_text("a green tree")
    maps.locator(".attention .stack").nth(1).hover(position={"x": 5, "y": 5})
    assert table.locator("thead th.lit").count() == 1

    # Another region, another rank.
    expect(drawing.locator("tbody tr.ssa-me .rank")).to_contain_text("#2")
    before = drawing.locator("tbody tr.ssa-me .rank").inner_text()
    picture = drawing.locator("svg.boxes")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(drawing.locator("tbody tr.ssa-me .rank")).to_contain_text("→")
    assert drawing.locator("tbody tr.ssa-me .rank").inner_text() != before
    assert drawing.locator("rect.box").count() == 2
    page.wait_for_function("location.search.includes('r=')")

    # The link, in a session of its own.
    link, ranks = page.url, drawing.locator("tbody").inner_text()
    page = visit.open(link.removeprefix(visit.address))
    page.wait_for_selector("#studio-maps canvas")
    drawing = page.locator("#studio-redraw")
    assert page.url == link
    assert drawing.locator("tbody").inner_text() == ranks
    assert drawing.locator("rect.box").count() == 2
    assert page.locator("#studio-alignment tbody tr").count() == 2
    assert page.locator("#studio-asked input.text").input_value() == "a red car"

    # And everything in one file.
    page.locator("#studio-asked details.save summary").click()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Report (HTML)").click()
    saved.value.save_as(tmp_path / "report.html")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Data (JSON)").click()
    saved.value.save_as(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data["query"]["text"] == "a red car"
    report = visit.context.new_page()
    report.goto((tmp_path / "report.html").as_uri())
    assert "a red car" in report.inner_text("h1")
    assert report.locator("img").count() >= 3


def test_an_empty_tab_says_what_to_do_and_an_image_is_chosen(visit: Visit) -> None:  # noqa: F811
    page = visit.open()
    page.get_by_role("tab", name="Inspect").click()
    playwright.expect(page.locator("#studio-maps")).to_contain_text("Look closely at one image")
    page.fill("#studio-asked input.text", "a red car")
    page.get_by_role("button", name="Choose an image").click()
    page.locator("#studio-asked .chooser li button").nth(2).click()
    page.wait_for_selector("#studio-maps canvas")
    assert "q=a+red+car" in page.url and "tab=inspect" in page.url
    page.get_by_role("tab", name="Search").click()
    page.wait_for_selector("#studio-query input.text")


def test_the_opened_result_is_still_open_after_a_look_at_it(visit: Visit) -> None:  # noqa: F811
    inspect(visit, "a red car")
    page = visit.page
    page.get_by_role("tab", name="Search").click()
    page.wait_for_selector("#studio-opened canvas")
    assert page.locator("#studio-ranking .hit.opened").count() >= 1
    page.wait_for_function("!location.search.includes('tab=') && location.search.includes('hit=')")


def test_a_link_without_its_image_or_of_another_model_says_so(visit: Visit) -> None:  # noqa: F811
    page = visit.open(f"?tab=inspect&q=red&g=scenes&hit=1&i={'0' * 64}&v={'a' * 12}-{'b' * 12}")
    page.wait_for_selector("#studio-maps canvas")
    note = page.locator("#studio-asked .note")
    playwright.expect(note).to_contain_text("no longer here")
    playwright.expect(note).to_contain_text("made with other models")
    page = visit.open("?tab=inspect&q=red&g=scenes&hit=99999")
    playwright.expect(page.locator("#studio-maps")).to_contain_text("no image 99999")


@pytest.mark.parametrize("visit", [(390, 844)], indirect=True)
def test_a_phone_shows_all_of_it_within_its_width(visit: Visit) -> None:  # noqa: F811
    page = visit.open("?tab=inspect&q=red&g=scenes&hit=1")
    page.wait_for_selector("#studio-redraw svg.boxes")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
