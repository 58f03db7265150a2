"""Embedding with the salience head costs at most 1.10 times embedding without it.

Strictly: all that SSA-ME adds to an image's embedding counts, head, regions, regeneration and key bias, against the baseline's.
"""

from __future__ import annotations

import sys

from benchmarks._timing import Claim, arguments, conclude, load, pictures, ratio, show, take_turns
from ssa_me.checkpoint import BASELINE, SSA_ME
from ssa_me.samples import Sample

BATCH = 32


def main() -> int:
    args = arguments(__doc__ or "", repeats=20)
    embedder = load(args)
    samples = [Sample(image=image) for image in pictures(BATCH)]
    sides = {
        "with the head (SSA-ME)": lambda: embedder.embed(samples, versions=(SSA_ME,)),
        "without (baseline)": lambda: embedder.embed(samples, versions=(BASELINE,)),
    }
    seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds, each=BATCH)
    value = ratio(seconds, "with the head (SSA-ME)", "without (baseline)")
    return conclude(
        Claim(f"embedding with the salience head ÷ without, batches of {BATCH} images", value, 1.10)
    )


if __name__ == "__main__":
    sys.exit(main())
