"""A gallery of N images, synthetic: an approximate index recalls 0.98, a search takes 20 ms at most, memory is stated.

    python -m benchmarks.gallery_size 100000

Vectors are made, not embedded: N points without clusters, whose variance lies in as many directions as that of embeddings
(an effective dimension of 24; the embedded model's have 11), written down as `index` writes them. Queries are further such
points, none of them one that the index was tuned with. Then one searcher, and ten at once whose answers are compared with those of one. Memory is the process's own
and what of the vectors is mapped, which the system may drop at any time.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks._claim import Claim, conclude
from ssa_me.gallery import Gallery
from ssa_me.gallery.approximate import nearest
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.items import NewImage, NewVectors, Spaces
from ssa_me.gallery.near_duplicates import near_duplicates

DIMENSION = 192
EFFECTIVE = 24
CHUNK = 20_000
QUERIES = 200
USERS = 10
K = 10
MOST_COMPARED = 200_000
"""Near-duplicates are looked for in galleries up to so many images."""
SPACES = Spaces({"ssa-me": "0" * 12})


def draw(count: int, random: np.random.Generator) -> np.ndarray:
    """(count, D) of unit length that lie as embeddings do: in one corner, and spread over some two dozen directions."""
    spread = np.exp(-np.arange(DIMENSION) / EFFECTIVE).astype(np.float32)
    rows = random.standard_normal((count, DIMENSION), dtype=np.float32) * spread
    rows[:, 0] += np.sqrt((spread**2).sum() / 2)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def fill(gallery: Gallery, count: int, random: np.random.Generator) -> None:
    for start in range(0, count, CHUNK):
        rows = draw(min(CHUNK, count - start), random)
        images = [
            NewImage(f"{start + n:064x}", f"{start + n}.jpg", gallery.folder / "none.jpg", 640, 480)
            for n in range(len(rows))
        ]
        found = {SPACES.images("ssa-me"): list(rows[:, None])}
        gallery.write(images, NewVectors(SPACES.head, [()] * len(rows), found))


def recall(index: VectorIndex, queries: np.ndarray) -> float:
    """recall@10 of what the index finds, against an exact search of the same vectors."""
    hits = 0
    for query in queries:
        tenth = nearest(query[None], index.vectors, K)[0][-1]
        hits += int((index.best(query, K).scores[:K] >= tenth - 1e-6).sum())
    return hits / (K * len(queries))


def timed(index: VectorIndex, queries: np.ndarray, users: int) -> tuple[list[float], list[list[int]]]:
    """Seconds and found ids of each query, `users` of them at once."""

    def one(query: np.ndarray) -> tuple[float, list[int]]:
        begun = time.perf_counter()
        found = index.best(query, K)
        return time.perf_counter() - begun, found.ids[:K].tolist()

    with ThreadPoolExecutor(users) as pool:
        answers = list(pool.map(one, queries))
    return [seconds for seconds, _ in answers], [ids for _, ids in answers]


def memory() -> float:
    """The most that this process has held, mapped files included, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(name: str, seconds: list[float]) -> float:
    """Print the median and the 95th percentile in ms; returns the latter."""
    cuts = statistics.quantiles(seconds, n=20)
    print(f"  {name:34s} p50 {1000 * statistics.median(seconds):6.2f} ms   p95 {1000 * cuts[-1]:6.2f} ms")
    return 1000 * cuts[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", type=int, nargs="?", default=100_000)
    count = parser.parse_args().images
    random = np.random.default_rng(11)
    with tempfile.TemporaryDirectory() as folder:
        before = memory()
        gallery = Gallery.create(Path(folder) / "gallery", "benchmark", "none")
        begun = time.perf_counter()
        fill(gallery, count, random)
        print(f"{count:,} images of {DIMENSION} numbers, stored in {time.perf_counter() - begun:.1f} s")
        begun = time.perf_counter()
        gallery.prepare(SPACES)
        made = time.perf_counter() - begun
        gallery = Gallery.open(gallery.folder)
        begun = time.perf_counter()
        index = gallery.index(SPACES.images("ssa-me"))
        assert index is not None
        (card,) = gallery.cards()
        print(f"  {card.kind} index made in {made:.1f} s, opened in {time.perf_counter() - begun:.2f} s")
        if card.recall is not None:
            print(
                f"  {card.probes} of {card.lists} lists probed, recall@10 {card.recall:.4f} when it was tuned"
            )
        queries = draw(QUERIES, random)
        timed(index, queries, 1)
        seconds, alone = timed(index, queries, 1)
        p95 = show("one searcher", seconds)
        half = np.arange(1, count + 1, 2)
        begun = time.perf_counter()
        for query in queries[:20]:
            index.best(query, K, half)
        print(
            f"  {'under a condition that half fulfil':34s} mean {50 * (time.perf_counter() - begun):5.2f} ms"
        )
        busy, together = timed(index, queries, USERS)
        show(f"{USERS} searchers at once", busy)
        wrong = sum(a != b for a, b in zip(alone, together, strict=True))
        reached = recall(index, queries)
        mapped = index.vectors.nbytes / 2**20
        print(
            f"  memory: {memory():.0f} MB at most, {before:.0f} of them before; {mapped:.0f} MB of vectors mapped"
        )
        if count <= MOST_COMPARED:
            alike = near_duplicates(gallery, SPACES.images("ssa-me"))
            print(
                f"  near-duplicates of all: {len(alike.groups):,} groups in {alike.seconds:.1f} s ({alike.kind}), "
                f"{memory():.0f} MB"
            )
    return conclude(
        Claim(f"recall@10 on other queries, {count:,} images", reached, 0.98, at_least=True, unit=""),
        Claim("95th percentile of a search", p95, 20, unit="ms"),
        Claim(f"wrong answers to {USERS} searchers at once", wrong, 0, unit=""),
    )


if __name__ == "__main__":
    sys.exit(main())
