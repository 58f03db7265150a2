"""`python app.py` leads to a usable page within 15 seconds, and a click to both lists within 1 second at the median.

Usable: the page is served, the model is loaded, the demo gallery is there, and a search answers. The first start, which draws and
embeds the demo gallery, is timed too, and so is how soon the page itself is served. Clicks are real ones where Chromium is installed: from the click on Search until both
lists of the demo gallery show the new answer. Without Chromium the endpoint `compare` is called instead.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradio_client import Client

from benchmarks._timing import Claim, arguments, conclude

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "purple", "orange", "pink")
QUERIES = tuple(f"a {thing} in {colour}" for thing in ("person", "house") for colour in COLOURS)
PATIENCE = 300.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def page(workspace: Path, args: Namespace) -> Iterator[str]:
    """The page of a process of its own; yields its address at once."""
    port = free_port()
    options = ["--port", str(port), "--workspace", str(workspace), "--device", args.device]
    if args.checkpoint:
        options += ["--checkpoint", str(args.checkpoint.resolve())]
    process = subprocess.Popen(
        [sys.executable, "app.py", *options], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_until_usable(address: str, start: float) -> tuple[Client, float, float]:
    """A client once a search of the demo gallery answers; seconds since `start` until the page was served, and until then."""
    client: Client | None = None
    served = 0.0
    while time.perf_counter() - start < PATIENCE:
        try:
            if client is None:
                client = Client(address, verbose=False, analytics_enabled=False)
                served = time.perf_counter() - start
            if compare(client, "a person in red"):
                return client, served, time.perf_counter() - start
        except Exception:  # noqa: BLE001 - not up yet: a client raises whatever its transport raises
            time.sleep(0.1)
    raise TimeoutError(f"the page was not usable within {PATIENCE:.0f} s")


def compare(client: Client, text: str) -> Any:
    return client.predict(text=text, k=12, api_name="/compare")["results"]["ssa-me"]


def call_times(client: Client) -> list[float]:
    """Seconds of each call of the endpoint `compare`."""
    times = []
    for query in QUERIES:
        start = time.perf_counter()
        compare(client, query)
        times.append(time.perf_counter() - start)
    return times


def click_times(address: str, executable: str) -> list[float]:
    """Seconds from each click on Search until both lists show that query's answer, in a real browser."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.goto(address)
        field = tab.get_by_label("Query text")
        search = tab.get_by_role("button", name=re.compile("^search$", re.IGNORECASE))
        times = []
        for query in QUERIES:
            field.fill(query)
            tab.evaluate(
                "for (const list of document.querySelectorAll('ol[data-list]')) list.dataset.stale = ''"
            )
            start = time.perf_counter()
            search.click()
            expect(tab.locator("ol[data-list]:not([data-stale]):has(li)")).to_have_count(
                2, timeout=PATIENCE * 1000
            )
            times.append(time.perf_counter() - start)
        browser.close()
    return times[1:]  # the first one warms up


def main() -> int:
    args = arguments(__doc__ or "", repeats=3)
    executable = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    starts: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Path(temporary) / "workspace"
        for _ in range(args.repeats + 1):
            start = time.perf_counter()
            with page(workspace, args) as address:
                client, served, usable = wait_until_usable(address, start)
                print(f"  served after {served:.1f} s, usable after {usable:.1f} s", flush=True)
                starts.append(usable)
                if len(starts) > args.repeats:
                    calls = call_times(client)
                    clicks = click_times(address, executable) if executable else calls
    first, later, clicked = starts[0], statistics.median(starts[1:]), statistics.median(clicks)
    print(f"  on {os.cpu_count()} cores; the first start drew and embedded the demo gallery")
    print(f"  endpoint compare: {statistics.median(calls) * 1000:.0f} ms at the median")
    if not executable:
        print("  no Chromium here: calls of the endpoint stand for clicks")
    return conclude(
        Claim("from python app.py to a usable page, first start", first, 15, unit="s"),
        Claim("from python app.py to a usable page, later starts (median)", later, 15, unit="s"),
        Claim("from the click to both lists of the demo gallery (median)", clicked, 1, unit="s"),
    )


if __name__ == "__main__":
    sys.exit(main())
