"""A researcher's walk with the embedded model, in the system's Chromium: from a run of failures to a report of one of them.

It asks nothing of what the weights have learned but that the two models differ somewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.workspace import Workspace
from tests.app.conftest import served
from tests.app.test_browser_tour import Visit, chromium, playwright, pytestmark  # noqa: F401

SCENES = 60
ROWS = "#studio-failures tbody tr"
SLOW = 120_000


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is served with the embedded model and a small demo gallery."""
    workspace = Workspace(tmp_path_factory.mktemp("walk"), demo_images=SCENES).start()
    assert workspace._start.wait(300).phase == "done"
    with served(workspace) as url:
        yield url


@pytest.fixture
def visit(chromium: playwright.Browser, studio: str) -> Iterator[Visit]:  # noqa: F811
    guest = Visit(chromium, studio, (1440, 900))
    guest.context.set_default_timeout(SLOW)
    yield guest
    guest.context.close()
    assert guest.trouble == []


def test_from_the_failures_of_a_gallery_to_the_report_of_one(visit: Visit, tmp_path: Path) -> None:
    page, expect = visit.open(), playwright.expect
    page.get_by_role("tab", name="Failures").click()
    page.locator("#studio-failures_run .go").click()
    page.wait_for_selector(ROWS)
    fixed = page.locator("#studio-failures [data-outcome=fixed]")
    if int(fixed.locator("b").inner_text()):
        fixed.click()
        page.wait_for_function("() => new URLSearchParams(location.search).get('fo') === 'fixed'")
    page.fill("#studio-failures .find", "person in")
    page.wait_for_function("() => new URLSearchParams(location.search).get('fq') === 'person in'")
    if page.locator(ROWS).count() == 0:  # none of those that were fixed
        page.locator("#studio-failures [data-outcome=all]").click()
        page.wait_for_selector(ROWS)
    query = page.locator(f"{ROWS} .query strong").first.inner_text()
    assert "person in" in query
    page.locator(ROWS).first.press("Enter")

    page.wait_for_selector("#studio-maps canvas")
    assert page.locator("#studio-asked input.text").input_value() == query
    figures = page.locator("#studio-maps .attention figure strong").all_inner_texts()
    assert figures == ["Image", "Baseline", "SSA-ME", "Difference"]
    assert page.locator("#studio-alignment tbody tr").count() >= 1

    panel = page.locator("#studio-attribution")
    panel.locator("[data-model=difference]").click()
    panel.get_by_role("button", name="Attribute").click()
    expect(panel.locator(".trust .verdict")).to_contain_text("Can I trust this map?", timeout=SLOW)
    assert panel.locator("canvas").count() >= 1

    drawing = page.locator("#studio-redraw")
    picture = drawing.locator("svg.boxes")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + 70, box["y"] + 70, steps=4)
    page.mouse.up()
    expect(drawing.locator("tbody tr.ssa-me .rank")).to_contain_text("→", timeout=SLOW)
    page.wait_for_function("location.search.includes('r=')")

    link, ranks = page.url, drawing.locator("tbody").inner_text()
    page = visit.open(link.removeprefix(visit.address))
    page.wait_for_selector("#studio-maps canvas")
    expect(page.locator("#studio-redraw tbody tr.ssa-me .rank")).to_contain_text("→", timeout=SLOW)
    assert page.url == link and page.locator("#studio-redraw tbody").inner_text() == ranks
    assert page.locator("#studio-asked input.text").input_value() == query

    page.locator("#studio-asked details.save summary").click()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Report (HTML)").click()
    saved.value.save_as(tmp_path / "report.html")
    report = visit.context.new_page()
    report.goto((tmp_path / "report.html").as_uri())
    assert query in report.inner_text("h1") and report.locator("img").count() >= 3
