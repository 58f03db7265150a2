"""Text stands out from its ground on every tab, light and dark: WCAG's level AA, measured in the system's Chromium.

It knows how each tab is brought to show something; what is measured, and how, is in contrast.js.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.workspace import Workspace
from tests.app.test_browser_failures import open_a_run
from tests.app.test_browser_tour import Visit, chromium, playwright, visit  # noqa: F401
from tests.app.test_browser_tour import pytestmark as of_browsers

pytestmark = [*of_browsers, pytest.mark.usefixtures("queue")]
MEASURE = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"


def search(page: playwright.Page, visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    visit.ask("a red car")
    page.locator("#studio-ranking .list.ssa-me .hit").nth(1).click()
    page.wait_for_selector("#studio-opened canvas")
    page.get_by_role("button", name="Filters", exact=True).click()


def inspect(page: playwright.Page, visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    page.locator("#studio-opened").get_by_role("button", name="Inspect").click()
    page.wait_for_selector("#studio-maps canvas")
    page.wait_for_selector("#studio-redraw svg.boxes")
    page.wait_for_selector("#studio-alignment tbody tr")


def failures(page: playwright.Page, visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    open_a_run(page, workspace)
    page.wait_for_selector("#studio-failures_map canvas")


def annotate(page: playwright.Page, visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    page.get_by_label("Your name").fill("Ann")
    page.keyboard.press("Enter")
    page.wait_for_selector("#studio-annotate canvas")
    page.keyboard.press("a")
    playwright.expect(page.locator("#studio-annotate .save")).to_contain_text("Saved")


def train(page: playwright.Page, visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    page.wait_for_selector("#studio-trainform input[name=steps]")


def gallery(page: playwright.Page, visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    page.wait_for_selector("#studio-grid li img")
    page.locator("#studio-grid").get_by_text("How it is searched").click()


STATES: dict[str, Callable[[playwright.Page, Visit, Workspace], None]] = {
    "Search": search,
    "Inspect": inspect,
    "Failures": failures,
    "Annotate": annotate,
    "Train": train,
    "Gallery": gallery,
}


def faint_texts(page: playwright.Page) -> list[str]:
    """The texts on the page that stand out too little, in the light or the dark page; it is left light."""
    page.add_style_tag(content=STILL)
    faint = list[str]()
    for scheme in ("light", "dark"):
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", scheme == "dark")
        measured = page.evaluate(MEASURE)
        assert measured["texts"] >= 25, "hardly any text is shown"
        faint += [f"{scheme}: {text}" for text in measured["failing"]]
    page.evaluate("document.body.classList.remove('dark')")
    return faint


def test_every_text_of_every_tab_stands_out_in_light_and_dark(visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    page, found = visit.open(), list[str]()
    for name, show in STATES.items():
        if name != "Inspect":  # the button of an opened result leads there
            page.get_by_role("tab", name=name).click()
        show(page, visit, workspace)
        found += [f"{name}, {text}" for text in faint_texts(page)]
    assert not found, "\n".join(found)


def test_text_that_is_too_faint_is_found(visit: Visit) -> None:  # noqa: F811
    page = visit.open()
    page.evaluate("""() => document.querySelector("#studio-masthead").insertAdjacentHTML("beforeend",
        `<div id="planted" style="background: #fff">
           <p style="color: #777">too faint</p>
           <p style="color: #777; font-size: 24px">large enough</p>
           <p style="color: #000; opacity: 0.4">a faint group</p>
           <button disabled style="color: #eee; background: #fff">off</button>
           <input placeholder="hardly there" style="color: #000; background: #fff">
         </div>
         <style>#planted input::placeholder { color: #ccc !important; }</style>`)""")
    planted = [text for text in page.evaluate(MEASURE)["failing"] if "#planted" in text]
    assert [text.split("“")[1].split("”")[0] for text in planted] == [
        "too faint", "a faint group", "hardly there",
    ]  # fmt: skip


def test_a_visitor_whose_system_is_dark_gets_the_dark_page(visit: Visit) -> None:  # noqa: F811
    visit.page.emulate_media(color_scheme="dark")
    page = visit.open()
    page.wait_for_selector("body.dark")
