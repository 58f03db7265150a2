"""From a decision to the next item: at most 150 ms at the median with 10,000 items; 20 annotators at once lose nothing.

The server's part, as the page calls it: the decision is written and on the disk, progress and agreement are counted, and
the next two items are chosen and leased. What the browser and the wire add is a few milliseconds on one machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from app.annotating import Annotating
from app.workspace import Workspace
from benchmarks._timing import Claim, conclude
from ssa_me.annotation import ORDERS, AnnotationStore, Proposal, Scores
from ssa_me.annotation.propose import picture_of
from ssa_me.gallery.items import NewImage, NewVectors
from ssa_me.gallery.store import Gallery
from ssa_me.samples import Subject

IMAGES, SUBJECTS, DECISIONS, PEOPLE, EACH = 2500, 4, 60, 20, 15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--decisions", type=int, default=DECISIONS, help=f"in each order (default: {DECISIONS})"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        annotating, store = _filled(Path(folder))
        seconds = {order: _decide(annotating, f"Ann {order}", order, args.decisions) for order in ORDERS}
        for order, values in seconds.items():
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.95)) * 1000
            print(f"  {order:14s} {middle:7.1f} ms  (quarter {low:.1f}, 95 % {high:.1f})")
        before = sum(store.progress().decided.values())
        started = time.perf_counter()
        with ThreadPoolExecutor(PEOPLE) as pool:
            names = [f"person {n}" for n in range(PEOPLE)]
            crowd = list(pool.map(lambda name: _decide(annotating, name, "uncertainty", EACH), names))
        took = time.perf_counter() - started
        after = store.progress()
        doubled = sum(store.item(n).judges > 1 for n in range(1, IMAGES * SUBJECTS + 1))
        print(
            f"  {PEOPLE} people at once: {PEOPLE * EACH / took:.0f} decisions/s, {np.median(crowd) * 1000:.0f} ms each"
        )
        lost = before + PEOPLE * EACH - sum(after.decided.values())
    slowest = max(float(np.median(values)) for values in seconds.values()) * 1000
    return conclude(
        Claim(
            f"decision to next item, median of the slowest order, {IMAGES * SUBJECTS:,} items",
            slowest,
            150,
            unit="ms",
        ),
        Claim(f"decisions of {PEOPLE} annotators at once that were lost", lost, 0, unit="decisions"),
        Claim("items that two of them judged", doubled, 0, unit="items"),
    )


def _filled(folder: Path) -> tuple[Annotating, AnnotationStore]:
    """The annotations of a gallery of images that nobody opens, with a full queue."""
    gallery = Gallery.create(folder / "galleries" / "many", "Many", "none")
    images = [
        NewImage(f"{n:064x}", f"{n}.jpg", gallery.copy_path(f"{n:064x}"), 640, 480) for n in range(IMAGES)
    ]
    gallery.write(images, NewVectors("head", [()] * IMAGES, {}))
    random = np.random.default_rng(0)
    proposals = [
        Proposal(
            image,
            Subject(f"subject {k}", (10.0 + 100 * k, 20.0, 90.0, 200.0)),
            "model",
            scores=Scores(*random.random(3).tolist()),
        )
        for image in range(1, IMAGES + 1)
        for k in range(SUBJECTS)
    ]
    annotating = Annotating(Workspace(folder, demo_images=0))
    store = annotating.store("many")
    store.add([picture_of(item) for item in gallery.items(0, IMAGES)], proposals)
    return annotating, store


def _decide(annotating: Annotating, name: str, order: str, count: int) -> np.ndarray:
    """Seconds of each of `count` decisions in a row."""
    sent: dict[str, Any] = {"gallery": "many", "name": name, "order": order}
    item = annotating.arrive(sent)["item"]
    seconds = []
    for n in range(count):
        verdict = "reject" if n % 4 == 3 else "accept"
        started = time.perf_counter()
        item = annotating.decide(sent | {"item": item["id"], "verdict": verdict, "seconds": 1.0})["item"]
        seconds.append(time.perf_counter() - started)
    return np.array(seconds)


if __name__ == "__main__":
    sys.exit(main())
