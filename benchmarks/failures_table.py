"""The failures' table stays responsive at 50,000 rows: a page that is filtered, sorted and counted takes at most 0.3 s."""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from benchmarks._timing import Claim, conclude
from ssa_me.failures import FailureTable, Selection, select, tags_of
from ssa_me.failures.selection import HISTOGRAMS, chosen, histogram
from ssa_me.failures.table import COLUMNS, counted

WORDS = ("red", "blue", "green", "dog", "cat", "house", "car", "tree", "person", "beach", "park", "snow")
SELECTIONS = (
    Selection(),
    Selection(outcome="fixed", k=10, sort="alignment"),
    Selection(text="red", ranges={"gain": (1, 500)}, tags=(("word", "dog"),), sort="query", descending=False),
    Selection(outcome="both-wrong", sort="camera"),
)


def synthetic(count: int) -> FailureTable:
    """A table of `count` random queries."""
    random = np.random.default_rng(0)
    before, after = random.integers(1, 2000, (2, count)).astype(float)
    numbers = {name: random.random(count) for name in COLUMNS}
    numbers |= {"rank_baseline": before, "rank_ssa_me": after, "gain": before - after}
    numbers |= {"length": np.full(count, 4.0), "misaligned": (random.random(count) < 0.1).astype(float)}
    texts = [" ".join(WORDS[at] for at in row) for row in random.integers(0, len(WORDS), (count, 4))]
    return FailureTable(
        queries=tuple(texts),
        kinds=("caption",) * count,
        phrases=tuple(text.split()[0] for text in texts),
        targets=tuple((at,) for at in range(count)),
        clusters=tuple(str(at) for at in range(count)),
        candidates=((),) * count,
        chances=(1 / count,) * count,
        numbers=numbers,
        extra={"camera": tuple(f"camera {at % 7}" for at in range(count))},
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processor-time", action="store_true", help="for a machine that is busy")
    args = parser.parse_args()
    clock = time.process_time if args.processor_time else time.perf_counter
    table = synthetic(args.rows)
    begun = clock()
    tags = tags_of(table)
    print(f"  tags of {args.rows:,} rows, once a run: {clock() - begun:.2f} s")
    seconds = []
    for selection in SELECTIONS * (1 + args.repeats):
        begun = clock()
        rows = select(table, selection, tags)
        shown = [table.row(int(at)) for at in rows[:25]]
        for column in HISTOGRAMS:
            histogram(table, column, chosen(table, selection, tags, without=column))
        counted(table, selection.k)
        seconds.append(clock() - begun)
        assert shown
    slowest = max(statistics.median(seconds[at :: len(SELECTIONS)]) for at in range(len(SELECTIONS)))
    return conclude(
        Claim(f"a page of {args.rows:,} rows, the slowest selection's median", slowest, 0.3, unit="s")
    )


if __name__ == "__main__":
    sys.exit(main())
