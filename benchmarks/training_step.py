"""A training step of SSA-ME takes at most 1.35 times a baseline's at the same batch.

Forward and backward pass of both adapters on the same scenes, SSA-ME with all objectives; image tokens are cached.
"""

from __future__ import annotations

import sys

from benchmarks._timing import Claim, arguments, conclude, ratio, show, take_turns
from benchmarks._training import make_stage, step_of
from ssa_me.checkpoint import BASELINE, SSA_ME

BATCH = 96


def main() -> int:
    args = arguments(__doc__ or "", repeats=10)
    sides = {version: step_of(make_stage(args, version, BATCH)) for version in (SSA_ME, BASELINE)}
    seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds, each=BATCH)
    value = ratio(seconds, SSA_ME, BASELINE)
    return conclude(Claim(f"a step of SSA-ME ÷ a step of the baseline, {BATCH} images", value, 1.35))


if __name__ == "__main__":
    sys.exit(main())
