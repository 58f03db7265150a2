"""The loop of the Train tab in the system's Chromium: data, a run that outlives the page, before and after, a version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import room
from app.workspace import Workspace
from tests.app.conftest import served
from tests.app.fakes import FakeEmbedder
from tests.app.test_browser_tour import CHROMIUM, PATIENCE, Visit, chromium, playwright

__all__ = ["chromium"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
SLOW = 10 * PATIENCE


@pytest.fixture(scope="module")
def tiny(
    tmp_path_factory: pytest.TempPathFactory, trained_checkpoint: Path
) -> Iterator[tuple[Workspace, str]]:
    """A workspace whose runs train the tiny checkpoint, and where its page is served."""
    folder = tmp_path_factory.mktemp("train")
    workspace = Workspace(folder, str(trained_checkpoint), "cpu", load=FakeEmbedder, demo_images=6).start()
    assert workspace._start.wait(60).phase == "done"
    with served(workspace) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "free_gb", lambda device: (8.0, 16.0))  # whatever else this machine does
        yield workspace, url


def test_the_loop_closes(chromium: playwright.Browser, tiny: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, address = tiny
    expect = playwright.expect
    visit = Visit(chromium, address, (1440, 900))
    page = visit.open()
    page.get_by_role("tab", name="Train").click()

    with page.expect_download() as download:
        page.get_by_role("link", name="Download a small sample set").click()
    download.value.save_as(tmp_path / "sample.zip")
    page.set_input_files("#train-files input[type=file]", str(tmp_path / "sample.zip"))
    expect(page.get_by_text("24 images to train on, 8 held out")).to_be_visible(timeout=SLOW)

    page.get_by_role("radio", name="Fast").click()
    page.fill("#studio-trainform input[name=steps]", "100")
    page.fill("#studio-trainform input[name=batch]", "8")
    page.fill("#studio-trainform input[name=name]", "Closed loop")
    page.press("#studio-trainform input[name=name]", "Tab")
    expect(page.locator("#studio-trainform .estimate")).to_contain_text("A guess from", timeout=SLOW)
    page.click("#train-start")
    expect(page.locator("#studio-runs li.running")).to_be_visible(timeout=SLOW)
    expect(page.locator("#studio-runs figure path").first).to_be_visible(timeout=SLOW)

    page = visit.open()  # a new page: the run is found with its curves
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#studio-runs li.running")).to_be_visible(timeout=SLOW)
    expect(page.locator("#studio-runs figure path").first).to_be_visible(timeout=SLOW)
    expect(page.locator("#train-plot-loss svg.marks, #train-plot-loss canvas").first).to_be_visible(
        timeout=SLOW
    )

    page.locator("#studio-runs").get_by_role("button", name="Stop").click()
    expect(page.locator("#studio-runs li.stopped")).to_be_visible(timeout=SLOW)
    page.locator("#studio-runs").get_by_role("button", name="Resume").click()
    expect(page.locator("#studio-versions").locator("strong", has_text="Closed loop")).to_be_visible(
        timeout=SLOW
    )
    expect(page.locator("#studio-versions .result table").first).to_be_visible(timeout=SLOW)
    assert "recall@1" in page.inner_text("#studio-versions .result")

    (version,) = workspace.training.shelf.versions()[1:]
    row = page.locator("#studio-versions li", has_text="Closed loop")
    with page.expect_download() as exported:
        row.get_by_role("link", name="Export").click()
    assert exported.value.suggested_filename == "Closed-loop.zip"
    row.get_by_role("button", name="Use", exact=True).click()
    expect(row.get_by_text("in use")).to_be_visible(timeout=SLOW)
    assert workspace.training.checkpoint_in_use() == version.checkpoint
    visit.context.close()
    assert visit.trouble == []
