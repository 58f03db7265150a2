"""The Search tab's filters and the Gallery tab's tools as a visitor uses them, in the system's Chromium."""

from __future__ import annotations

import re

from tests.app.test_browser_tour import Visit, chromium, playwright, pytestmark, visit  # noqa: F401


def test_filters_compare_leave_out_and_go_into_the_link(visit: Visit) -> None:  # noqa: F811
    page, expect = visit.open(), playwright.expect
    visit.ask("a red car")
    page.locator("#studio-ranking .hit").first.focus()
    page.keyboard.press("f")
    panel = page.get_by_role("group", name="Filters")
    expect(panel).to_be_visible()
    panel.get_by_label("First list").select_option("ssa-me+subjects")
    page.wait_for_function("location.search.includes('lists=')")
    expect(page.locator("#studio-ranking .list h2").first).to_contain_text("SSA-ME + subjects")
    expect(page.get_by_label("Ranking", exact=True)).to_have_value("mixed")
    expect(panel.locator(".bars rect").first).to_be_attached()
    panel.get_by_label("Add a condition").fill("width>=1")
    panel.get_by_label("Add a condition").press("Enter")
    page.wait_for_function("location.search.includes('where=')")
    panel.get_by_label("hide, from cosine").check()
    page.wait_for_function("location.search.includes('dup=0.94')")
    only = page.locator("#studio-ranking button.only").nth(1)
    only.click()
    expect(page.locator("#studio-ranking button.only").nth(1)).to_have_attribute("aria-pressed", "true")
    assert "only=b" in page.url
    left = [page.locator("#studio-ranking ol").nth(n).locator(".hit").count() for n in range(2)]

    page = visit.open(page.url.removeprefix(visit.address))
    page.wait_for_selector("#studio-ranking .hit")
    again = [page.locator("#studio-ranking ol").nth(n).locator(".hit").count() for n in range(2)]
    assert again == left
    page.get_by_role("button", name="Remove the filter width>=1").click()
    page.wait_for_function("!location.search.includes('where=')")
    with page.expect_download() as saved:
        page.locator("#studio-ranking .export summary").click()
        page.get_by_role("link", name="Table (CSV)").click()
    assert saved.value.suggested_filename == "results-a-red-car.csv"


def keep(visit: Visit, name: str) -> playwright.Locator:  # noqa: F811
    """Keep the query that is asked, in the panel of filters, which is opened for it and returned."""
    visit.page.get_by_role("button", name="Filters", exact=True).click()
    panel = visit.page.get_by_role("group", name="Filters")
    panel.get_by_label("Keep it as").fill(name)
    panel.get_by_role("button", name="Keep query").click()
    playwright.expect(panel.locator(".told")).to_have_text("Kept.")
    return panel


def test_more_like_a_part_that_is_drawn_and_kept_by_name(visit: Visit) -> None:  # noqa: F811
    page, expect = visit.open(), playwright.expect
    visit.ask("a red car")
    page.locator("#studio-ranking .list.ssa-me .hit").first.click()
    page.get_by_role("button", name="More like a part").click()
    box = page.locator("#studio-opened .stack").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 80, steps=3)
    page.mouse.up()
    page.wait_for_function("location.search.includes('box=') && !location.search.includes('q=')")
    expect(page.locator("#studio-query .picture svg.part")).to_be_visible()
    panel = keep(visit, "a corner")
    visit.ask("a blue bird")
    panel.get_by_label("Open a kept query or view").select_option(label="a corner")
    page.wait_for_function("location.search.includes('box=') && !location.search.includes('q=')")


def test_what_was_done_last_is_told_whichever_answer_comes_last(visit: Visit) -> None:  # noqa: F811
    page, expect = visit.open(), playwright.expect
    visit.ask("a red car")
    panel = keep(visit, "slow to come back")
    visit.ask("a blue bird")
    held: list[tuple[playwright.Route, playwright.APIResponse]] = []

    def hold(route: playwright.Route) -> None:
        recalls = "recall" in (route.request.post_data or "")
        held.append((route, route.fetch())) if recalls else route.continue_()

    page.route(re.compile("component_server"), hold)
    panel.get_by_label("Open a kept query or view").select_option(label="slow to come back")
    panel.get_by_role("button", name="Forget").click()
    expect(panel.locator(".told")).to_have_text("Forgotten.")
    ((recalled, answer),) = held
    recalled.fulfill(response=answer)
    expect(page.get_by_label("Query text")).to_have_value("a red car")
    expect(panel.locator(".told")).to_have_text("Forgotten.")


def test_the_gallery_says_how_it_is_searched_and_which_images_are_alike(visit: Visit) -> None:  # noqa: F811
    page, expect = visit.open(), playwright.expect
    page.get_by_role("tab", name="Gallery").click()
    grid = page.locator("#studio-grid")
    grid.get_by_role("button", name="Near-duplicates").click()
    alike = page.locator("#studio-duplicates")
    status = alike.get_by_role("status")
    expect(status).to_contain_text("24 images compared")
    before = status.inner_text()
    expect(grid).to_be_hidden()
    alike.get_by_label("Threshold").fill("0.5")
    alike.get_by_role("button", name="Look", exact=True).click()
    expect(status).not_to_have_text(before)
    others = alike.locator("li .tile:not(.first)")
    far = others.filter(has_text="⚠").count()
    copies = others.count()
    alike.get_by_role("button", name="Select all copies").click()
    assert alike.locator("input:checked").count() == copies - far > 0
    alike.get_by_role("button", name=f"Also {far} ⚠").click()
    assert alike.locator("input:checked").count() == copies > far > 0
    expect(alike.locator(".tile.first input").first).not_to_be_checked()
    alike.locator("li .tile:not(.first) input").first.uncheck()
    alike.get_by_role("button", name=f"Remove {copies - 1}", exact=True).click()
    expect(alike.get_by_role("button", name=f"Yes, remove {copies - 1}")).to_be_visible()
    alike.get_by_role("button", name="Choose none").click()
    alike.get_by_role("button", name="All images").click()
    expect(alike).to_be_empty()
    grid.get_by_role("button", name="Remove …").click()
    grid.locator("li button").first.click()
    grid.get_by_role("button", name="Remove 1").click()
    expect(grid.get_by_role("button", name="Yes, remove 1")).to_be_visible()
    grid.get_by_role("button", name="Cancel").click()
    grid.get_by_text("How it is searched").click()
    expect(grid.locator(".indexes")).to_contain_text("exact")
