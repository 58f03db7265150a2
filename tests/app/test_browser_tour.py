"""The page as a visitor uses it, in the system's Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from app.workspace import Workspace
from ssa_me.gallery.unfinished import hold

playwright = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed: pip install -r requirements-dev.txt"
)
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
PATIENCE = 30_000
"""Milliseconds: a busy machine is slow, and only a broken page is slower."""
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[playwright.Browser]:
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page with what went wrong on it: errors on the console, requests that left the machine."""

    def __init__(self, chromium: playwright.Browser, address: str, size: tuple[int, int]) -> None:
        viewport: playwright.ViewportSize = {"width": size[0], "height": size[1]}
        self.context = chromium.new_context(viewport=viewport, has_touch=size[0] < 700)
        self.context.set_default_timeout(PATIENCE)
        self.address, self.trouble = address, list[str]()
        self.page = self._new_page()

    def _new_page(self) -> playwright.Page:
        page = self.context.new_page()
        page.on(
            "console", lambda message: self.trouble.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda request: self._check(request.url))
        return page

    def _check(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.trouble.append(f"a request left: {url}")

    def open(self, link: str = "") -> playwright.Page:
        """The page at an address; a second one opens beside the first, whose events may still be running."""
        if self.page.url != "about:blank":
            self.page = self._new_page()
        self.page.goto(self.address + link)
        elsewhere = "tab=" in link  # the Search tab may be hidden again before it is looked at
        self.page.wait_for_selector("#studio-query input.text", state="attached" if elsewhere else "visible")
        playwright.expect(self.page.locator("#gallery-switch")).to_be_visible()
        return self.page

    def ask(self, text: str) -> None:
        self.page.fill("#studio-query input.text", text)
        self.page.press("#studio-query input.text", "Enter")
        self.page.wait_for_function(
            "text => new URLSearchParams(location.search).get('q') === text", arg=text
        )

    def hits(self, version: str) -> list[str]:
        nodes = self.page.locator(f"#studio-ranking .list.{version} .hit").all()
        return [str(node.get_attribute("data-id")) for node in nodes]


@pytest.fixture
def visit(chromium: playwright.Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """At 1440 × 900, or at the size that the test's parameter gives."""
    guest = Visit(chromium, address, getattr(request, "param", (1440, 900)))
    yield guest
    guest.context.close()
    assert guest.trouble == []


def test_two_lists_two_maps_and_a_link_that_says_it_all(visit: Visit) -> None:
    page = visit.open()
    assert "mini" in page.inner_text("#studio-masthead .model")
    assert "no GPU was found" in page.inner_text("#studio-masthead .model")
    assert "drawn scenes" in page.inner_text("#studio-masthead .knows")
    page.get_by_role("button", name="a person in red", exact=True).click()
    page.wait_for_selector("#studio-ranking .list.ssa-me .hit")
    before = visit.hits("baseline"), visit.hits("ssa-me")
    assert [len(ids) for ids in before] == [10, 10]

    page.locator("#studio-ranking .list.ssa-me .hit").nth(1).click()
    page.wait_for_selector("#studio-opened canvas")
    assert page.get_by_text("Baseline attention").is_visible()
    assert page.get_by_text("SSA-ME attention").is_visible()
    painted = "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    assert all(
        canvas.evaluate(painted) > 8 for canvas in page.locator("#studio-opened .attention canvas").all()
    )
    assert page.locator("#studio-opened tbody tr").count() == 1
    title, link = page.inner_text("#studio-opened h2"), page.url
    assert re.search(r"[?&]q=a\+person\+in\+red&.*hit=\d+", link)

    page = visit.open(link.removeprefix(visit.address))
    page.wait_for_selector("#studio-opened canvas")
    assert (visit.hits("baseline"), visit.hits("ssa-me")) == before
    assert page.inner_text("#studio-opened h2") == title
    assert page.input_value("#studio-query input.text") == "a person in red"
    assert page.url == link


def test_an_answer_stays_when_the_page_arrives_late(visit: Visit) -> None:
    """The first event on a slow line is the one that fills the page; a query typed by then is answered before it."""
    held: list[playwright.Route] = []
    visit.page.route("**/queue/join*", lambda route: held.append(route) if not held else route.continue_())
    with visit.page.expect_request("**/queue/join*"):  # else a query that is typed at once may come before it
        page = visit.open()
    visit.ask("a red car")
    page.wait_for_selector("#studio-ranking .hit")
    held[0].continue_()
    page.wait_for_selector("#studio-masthead details.model")
    page.wait_for_timeout(300)
    assert len(visit.hits("ssa-me")) == 10
    assert page.input_value("#studio-query input.text") == "a red car"


def test_the_head_explains_the_model_and_the_keys(visit: Visit) -> None:
    page = visit.open()
    page.locator("#studio-masthead details.model summary").click()
    facts = page.inner_text("#studio-masthead .facts")
    assert "3.5 M parameters" in facts
    assert "cpu in fp32, because no GPU was found" in facts
    page.keyboard.press("?")
    playwright.expect(page.locator("#studio-masthead dialog")).to_be_visible()
    assert "close the opened image" in page.inner_text("#studio-masthead .keys")
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#studio-masthead dialog")).to_be_hidden()


def test_the_same_image_lights_up_in_both_lists(visit: Visit) -> None:
    page = visit.open()
    visit.ask("a red car")
    shared = next(id for id in visit.hits("ssa-me") if id in visit.hits("baseline"))
    page.hover(f'#studio-ranking .list.ssa-me .hit[data-id="{shared}"]')
    assert page.locator("#studio-ranking .hit.lit").count() == 2
    page.hover("#studio-masthead")
    assert page.locator("#studio-ranking .hit.lit").count() == 0


def test_the_keyboard_walks_opens_and_closes(visit: Visit) -> None:
    page = visit.open()
    visit.ask("a red car")
    page.focus("#studio-ranking .list.baseline .hit")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#studio-opened canvas")
    hits = visit.hits("baseline")
    assert page.url.endswith(f"hit={hits[1]}")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("id => location.search.endsWith('hit=' + id)", arg=hits[2])
    page.wait_for_selector("#studio-opened canvas")
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#studio-opened canvas")).to_have_count(0)
    assert "hit=" not in page.url
    assert page.evaluate("document.activeElement.dataset.id") == hits[2]


def test_the_salience_of_an_opened_image_is_chosen_and_the_link_keeps_it(visit: Visit) -> None:
    page = visit.open()
    visit.ask("a red car")
    page.locator("#studio-ranking .list.ssa-me .hit").first.click()
    chosen = page.locator("#studio-opened .choice button[aria-pressed=true]")
    playwright.expect(chosen).to_have_text("head")
    searches = page.evaluate("window.studioToken")
    page.locator("#studio-opened .choice").get_by_role("button", name="full").click()
    playwright.expect(page.locator("#studio-opened .listed")).to_contain_text("listed by the language model")
    playwright.expect(chosen).to_have_text("full")
    playwright.expect(page.locator("#studio-opened .used")).to_contain_text("Fused")
    playwright.expect(page.get_by_label("Salience", exact=True).first).to_have_value("full")
    assert page.evaluate("window.studioToken") == searches, "opening it otherwise is no new search"
    assert "s=full" in page.url and "hit=" in page.url

    page = visit.open(page.url.removeprefix(visit.address) + "&m=rerank")
    playwright.expect(page.locator("#studio-opened .listed")).to_be_visible()
    searches, link = page.evaluate("window.studioToken"), page.url
    page.get_by_label("Salience", exact=True).first.select_option("head")
    page.wait_for_function("before => window.studioToken !== before", arg=searches)  # the ranking hangs on it
    chosen = page.locator("#studio-opened .choice button[aria-pressed=true]")
    playwright.expect(chosen).to_have_text("head")
    assert page.url == link.replace("&s=full", "")


def test_an_image_is_a_query_and_its_weight_counts_beside_a_text(
    visit: Visit, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    page = visit.open()
    (tmp_path / "q.png").write_bytes(picture("blue"))
    weight = page.get_by_role("slider", name="Weight of the image")
    assert weight.is_disabled()
    page.set_input_files("#studio-query input[type=file]", tmp_path / "q.png")
    page.wait_for_selector("#studio-query .picture img")
    visit.ask("a red car")
    assert weight.is_enabled()
    assert "i=" in page.url and "w=0.5" in page.url
    weight.fill("1")
    page.wait_for_function("location.search.includes('w=1&')")
    image_alone = visit.hits("baseline")
    weight.fill("0")
    page.wait_for_function("location.search.includes('w=0&')")
    assert visit.hits("baseline") != image_alone
    link = page.url
    page = visit.open(link.removeprefix(visit.address))
    page.wait_for_selector("#studio-query .picture img")
    page.wait_for_selector("#studio-ranking .hit")
    assert page.url == link


def test_bad_input_is_said_on_the_page_and_loses_nothing(visit: Visit, tmp_path: Path) -> None:
    page = visit.open()
    visit.ask("a red car")
    hits = visit.hits("ssa-me")
    page.fill("#studio-query input.text", "  ")
    page.press("#studio-query input.text", "Enter")
    playwright.expect(page.locator("#studio-notice")).to_contain_text("nothing to search for")
    assert visit.hits("ssa-me") == hits
    page.fill("#studio-query input.text", "a red car")
    page.fill("#studio-query .count", "0")
    page.evaluate("document.querySelector('#studio-query form').noValidate = true")
    page.press("#studio-query input.text", "Enter")
    playwright.expect(page.locator("#studio-notice")).to_contain_text("1 or more")
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    page.set_input_files("#studio-query input[type=file]", tmp_path / "broken.png")
    playwright.expect(page.locator("#studio-notice")).to_contain_text("broken.png")
    assert page.input_value("#studio-query input.text") == "a red car"
    assert page.locator("#studio-query form.busy").count() == 0
    assert visit.hits("ssa-me") == hits


def test_a_link_to_what_is_gone_says_so(visit: Visit) -> None:
    page = visit.open("?q=red&g=sold")
    playwright.expect(page.locator("#studio-notice")).to_contain_text("no gallery 'sold'")
    playwright.expect(page.locator("#studio-query input.text")).to_have_value("red")
    page = visit.open("?q=red&i=" + "0" * 64)
    playwright.expect(page.locator("#studio-notice")).to_contain_text("no longer here")


def test_a_zip_becomes_a_gallery_that_is_searched(
    visit: Visit, workspace: Workspace, photographs: Path
) -> None:
    page = visit.open()
    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_selector("#studio-grid li img")
    page.set_input_files("#new-files input[type=file]", photographs)
    playwright.expect(page.locator("#new-files")).to_contain_text("holiday")
    page.get_by_label("Name").fill("My holiday")
    page.get_by_role("button", name="Create and index").click()
    report = page.locator("#studio-progress")
    playwright.expect(report).to_contain_text("My holiday is ready with 3 images.")
    playwright.expect(report).to_contain_text("notes.txt")
    playwright.expect(report).to_contain_text("broken.jpg")
    report.get_by_role("button", name="Open and search it").click()
    playwright.expect(page.locator("#gallery-switch")).to_have_value("my-holiday")
    visit.ask("something blue")
    assert len(visit.hits("ssa-me")) == 3
    assert "g=my-holiday" in page.url
    page.locator("#gallery-switch").select_option("scenes")
    page.wait_for_function("location.search.includes('g=scenes')")
    assert len(visit.hits("ssa-me")) == 10
    # as if the page had been killed while an image was put in
    Image.new("RGB", (64, 48), "white").save(photographs.with_name("late.png"))
    hold(workspace.gallery("my-holiday").database, [[("late.png", photographs.with_name("late.png"))]])
    page.locator("#gallery-switch").select_option("my-holiday")
    page.get_by_role("tab", name="Gallery").click()
    grid = page.locator("#studio-grid")
    playwright.expect(grid).to_contain_text("Putting images in was interrupted: 0 images are in.")
    grid.get_by_role("button", name="Go on").click()
    playwright.expect(report).to_contain_text("My holiday holds 4 images, 1 of them new.")
    playwright.expect(grid).to_contain_text("4 images")
    playwright.expect(page.locator("#gallery-switch option[value=my-holiday]")).to_have_text("My holiday (4)")
    playwright.expect(grid).not_to_contain_text("interrupted")


@pytest.mark.parametrize("visit", [(390, 844)], indirect=True)
def test_a_phone_shows_two_columns_of_one_height_and_a_sheet(visit: Visit) -> None:
    page = visit.open()
    visit.ask("a red car")
    page.wait_for_selector("#studio-ranking .hit")
    first, second = (
        page.locator(f"#studio-ranking .list.{v}").bounding_box() for v in ("baseline", "ssa-me")
    )
    assert first is not None and second is not None
    assert first["height"] == second["height"]
    assert second["x"] >= first["x"] + first["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#studio-ranking .list.baseline .hit").first.tap()
    page.wait_for_selector("#studio-opened canvas")
    sheet = page.locator("#studio-opened .sheet")
    assert sheet.evaluate("s => getComputedStyle(s).position") == "fixed"
    box = sheet.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] == pytest.approx(844, abs=1)
    page.get_by_role("button", name="Close the opened image").tap()
    playwright.expect(sheet).to_have_count(0)
