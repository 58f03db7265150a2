"""All maps of an opened hit, every head's attention among them, take at most a second; another head takes no model at all."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks._timing import Claim, arguments, conclude, load, pictures, show, take_turns
from ssa_me.explanation import attention_of

QUERY = "a person in red and a bird"


def main() -> int:
    args = arguments(__doc__ or "", repeats=20)
    embedder = load(args)
    images = pictures(args.repeats + 1)
    seen = iter(images * 4)
    kept = embedder.explain(images[0], QUERY, heads=True)
    sides = {
        "all maps of an image": lambda: embedder.explain(next(seen), QUERY, also=("a tree",), heads=True),
        "drawn regions": lambda: embedder.embed_redrawn(next(seen), [(20, 20, 120, 160)]),
        "another layer and head": lambda: [
            attention_of(rows, 0, 0, embedder.layers) for rows in kept.heads.values()
        ],
    }
    seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds)
    claims = [
        Claim(f"{name}, median", float(np.median(seconds[name])), limit, unit="s")
        for name, limit in (
            ("all maps of an image", 1.0),
            ("drawn regions", 0.5),
            ("another layer and head", 0.05),
        )
    ]
    return conclude(*claims)


if __name__ == "__main__":
    sys.exit(main())
