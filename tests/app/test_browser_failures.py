"""The Failures tab as a researcher uses it, in the system's Chromium: run, look at what is fixed, open it, come back."""

from __future__ import annotations

import csv
import io

from app.workspace import Workspace
from tests.app.test_browser_tour import PATIENCE, Visit, chromium, playwright, pytestmark, visit  # noqa: F401

TABLE = "#studio-failures tbody tr"
IN_ORDER = """rows => {
    const said = [...document.querySelectorAll(rows)].map((row) => row.innerText.toLowerCase());
    return said.length > 0 && said.every((text, n) => text.includes(" in ") && (n === 0 || said[n - 1] <= text));
}"""


def open_a_run(page: playwright.Page, workspace: Workspace) -> None:
    """On the Failures tab: begin a run and wait for its table. One that is kept opens by itself: begun again, it would open
    anew once it is done, without the filters that were chosen meanwhile."""
    if not workspace.failures.kept():
        page.locator("#studio-failures_run .go").click()
    page.wait_for_selector(TABLE)


def test_from_a_run_to_an_opened_failure_and_back_by_its_link(visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    page = visit.open()
    page.get_by_role("tab", name="Failures").click()
    open_a_run(page, workspace)
    everything = page.locator("#studio-failures [data-outcome=all] b").inner_text()
    assert page.locator("#studio-failures_summary tbody tr").count() == 5
    page.wait_for_selector("#studio-failures_map canvas")

    counts = {
        name: int(page.locator(f"#studio-failures [data-outcome={name}] b").inner_text())
        for name in ("fixed", "broken", "both-wrong", "both-right")
    }
    assert sum(counts.values()) == int(everything)
    outcome = max(("fixed", "both-wrong", "broken"), key=lambda name: (counts[name] > 0, name == "fixed"))
    page.locator(f"#studio-failures [data-outcome={outcome}]").click()
    page.wait_for_function("name => new URLSearchParams(location.search).get('fo') === name", arg=outcome)
    playwright.expect(page.locator(TABLE)).to_have_count(min(25, counts[outcome]))
    page.fill("#studio-failures .find", " in ")
    page.wait_for_function("() => new URLSearchParams(location.search).get('fq') === ' in '")
    page.locator("#studio-failures [data-sort=query]").click()
    page.wait_for_function("() => new URLSearchParams(location.search).get('fs') === 'query'")
    page.wait_for_function(IN_ORDER, arg=f"{TABLE} .query strong")
    shown = page.locator(f"{TABLE} .query strong").all_inner_texts()
    assert shown == sorted(shown, key=str.casefold) and all(" in " in text for text in shown)
    link = page.url

    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert [row["query"] for row in rows][: len(shown)] == shown

    page.locator(TABLE).first.press("Enter")
    page.wait_for_selector("#studio-maps canvas")
    assert page.locator("#studio-asked input.text").input_value() == shown[0]

    page = visit.page = visit.context.new_page()
    page.goto(link)
    page.wait_for_selector(TABLE)
    assert page.locator(f"{TABLE} .query strong").all_inner_texts() == shown


def test_brush_and_vote(visit: Visit, workspace: Workspace) -> None:  # noqa: F811
    page = visit.open()
    page.get_by_role("tab", name="Failures").click()
    open_a_run(page, workspace)
    plot = page.locator("#studio-failures figure[data-column=length] .plot")
    plot.focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "Enter"):
        plot.press(key)
    page.wait_for_function("() => new URLSearchParams(location.search).get('fb')?.startsWith('length:')")
    page.get_by_role("button", name="Clear the brush of Words").click()
    page.wait_for_function("() => !new URLSearchParams(location.search).has('fb')")

    page.get_by_role("button", name="Vote A or B").click()
    page.wait_for_selector("#studio-failures_vote ol img")
    assert "SSA-ME" not in page.inner_text("#studio-failures_vote .lists")
    page.keyboard.press("1")
    page.wait_for_selector("#studio-failures_vote canvas")
    assert "SSA-ME" not in page.inner_text("#studio-failures_vote .lists")
    page.keyboard.press("3")
    playwright.expect(page.locator("#studio-failures_vote .lists")).to_contain_text(
        "SSA-ME", timeout=PATIENCE
    )
