"""Two versions of the model side by side in the system's Chromium: chosen in the head, kept by the link, named everywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.workspace import Workspace
from ssa_me.checkpoint import fingerprints
from ssa_me.gallery.items import Spaces
from tests.app.fakes import FakeEmbedder
from tests.app.test_browser_tour import Visit, chromium, playwright, pytestmark, visit  # noqa: F401

NAME = "Ten regions"


@pytest.fixture
def version(workspace: Workspace, trained_checkpoint: Path) -> Iterator[str]:
    """A version beside the one in use, whose models are fakes; taken away afterwards with its vectors."""
    shelf, opponents = workspace.training.shelf, workspace.opponents
    load, opponents._load = opponents._load, lambda checkpoint: FakeEmbedder(fingerprints(checkpoint))
    made = shelf.add(NAME, lambda out: shutil.copytree(trained_checkpoint, out))
    yield made.id
    shelf.delete(made.id)
    shutil.rmtree(shelf.folder)
    opponents.forget()
    opponents._load = load
    workspace.gallery("scenes").forget_others(Spaces(workspace.embedder().info.fingerprints))


def test_two_versions_are_compared_from_the_gallery_to_the_link(visit: Visit, version: str) -> None:  # noqa: F811
    visit.open()
    page, expect = visit.page, playwright.expect
    switch = page.locator("#opponent-switch")
    expect(switch).to_have_value("")
    switch.select_option(label=f"against {NAME}")

    # Its vectors are not there yet; the page says how they come, and makes them.
    page.fill("#studio-query input.text", "red")
    page.press("#studio-query input.text", "Enter")
    expect(page.locator("#studio-notice")).to_contain_text(f"embedded with {NAME} first")
    page.get_by_role("tab", name="Gallery").click()
    page.locator("#studio-grid").get_by_role("button", name="Embed again").click()
    expect(page.locator("#studio-progress")).to_contain_text("is ready", timeout=30_000)
    expect(page.locator("#studio-grid .lacking")).to_have_count(0)

    page.get_by_role("tab", name="Search").click()
    visit.ask("red")
    titles = page.locator("#studio-ranking .list .named")
    expect(titles).to_have_text([NAME, "mini (as it came)"])
    page.locator("#studio-ranking .list.ssa-me .hit").first.click()
    expect(page.locator("#studio-opened .attention figure strong").nth(1)).to_have_text(f"{NAME} attention")
    assert f"vs={version}" in page.url

    page.locator("#studio-opened").get_by_role("button", name="Inspect").click()
    figures = page.locator("#studio-maps .attention figure strong")
    expect(figures).to_have_text(["Image", NAME, "mini (as it came)", "Difference"])
    expect(page.locator("#studio-attribution .of button")).to_have_text(["mini (as it came)", NAME])

    # The link brings the same again, and another choice looks anew at what is inspected.
    page.reload()
    expect(figures).to_have_text(["Image", NAME, "mini (as it came)", "Difference"])
    expect(switch).to_have_value(version)
    switch.select_option("")
    expect(figures).to_have_text(["Image", "Baseline", "SSA-ME", "Difference"])
    assert "vs=" not in page.url
