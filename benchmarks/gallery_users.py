"""Ten users search a gallery at once: every answer is what one user alone gets, and none waits long.

The model embeds one query after the other, since adapters are shared, so ten users wait for each other there; ranking runs
side by side. Both lists of the page are asked for, and both of its subjects' rankings.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks._timing import UNSEEN, Claim, arguments, conclude, load
from ssa_me.embedder import SalientEmbedder
from ssa_me.gallery import Gallery, Query, ingest, search
from ssa_me.scenes import write_scenes

IMAGES = 120
USERS = 10
EACH = 5
K = 12
RANKINGS = ("baseline", "ssa-me", "baseline+subjects", "ssa-me+subjects")
TEXTS = (
    "a person in red",
    "a blue car",
    "a cat on a chair",
    "a white bird -tree",
    "two horses",
    "a green house",
)


def ask(gallery: Gallery, embedder: SalientEmbedder, text: str) -> tuple[float, dict[str, list[int]]]:
    """Seconds, and ranking → ids."""
    begun = time.perf_counter()
    found = search(gallery, embedder, Query(text), RANKINGS, K)
    ids = {name: [hit.id for hit in hits] for name, hits in found.results.items()}
    return time.perf_counter() - begun, ids


def show(name: str, seconds: Sequence[float]) -> None:
    p95 = statistics.quantiles(seconds, n=20)[-1]
    print(f"  {name:34s} p50 {1000 * statistics.median(seconds):7.1f} ms   p95 {1000 * p95:7.1f} ms")


def main() -> int:
    args = arguments(__doc__ or "", repeats=1)
    embedder = load(args)
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder) / "scenes", IMAGES, UNSEEN, workers=1)
        gallery = Gallery.create(Path(folder) / "gallery", "benchmark", embedder.info.checkpoint)
        ingest(gallery, Path(folder) / "scenes", embedder)
        alone = {text: ask(gallery, embedder, text)[1] for text in TEXTS}
        show("one user", [ask(gallery, embedder, text)[0] for text in TEXTS * 3])
        texts = [TEXTS[n % len(TEXTS)] for n in range(USERS * EACH * args.repeats)]
        begun = time.perf_counter()
        with ThreadPoolExecutor(USERS) as users:
            answers = list(users.map(lambda text: ask(gallery, embedder, text), texts))
        rate = len(texts) / (time.perf_counter() - begun)
        show(f"{USERS} users at once", [seconds for seconds, _ in answers])
        print(f"  {rate:.1f} searches a second")
        wrong = sum(found != alone[text] for text, (_, found) in zip(texts, answers, strict=True))
    return conclude(Claim(f"wrong answers among {len(texts)}", wrong, 0, unit=""))


if __name__ == "__main__":
    sys.exit(main())
