"""GradCache at 8 chunks takes at most 1.6 times a plain step's time, with at most 0.4 times its activation memory.

Activation memory is the most bytes that autograd holds for the backward pass at any moment; weights do not count.
"""

from __future__ import annotations

import sys

import torch
from torch import nn

from benchmarks._memory import most_saved
from benchmarks._timing import Claim, arguments, conclude, ratio, show, take_turns
from benchmarks._training import make_stage, step_of
from ssa_me.checkpoint import SSA_ME

BATCH = 256
CHUNKS = 8


def main() -> int:
    args = arguments(__doc__ or "", repeats=5)
    stage = make_stage(args, SSA_ME, BATCH, BATCH // 4)
    sides = {f"{n} chunks" if n > 1 else "plain": step_of(stage, n) for n in (1, CHUNKS)}
    seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds, each=BATCH)
    assert isinstance(stage, nn.Module)
    saved = {name: most_saved(step, [stage]) for name, step in sides.items()}
    for name, size in saved.items():
        print(f"  {name:34s} {size / 2**20:8.1f} MiB held at most")
    chunked, plain = f"{CHUNKS} chunks", "plain"
    return conclude(
        Claim(
            f"time at {CHUNKS} chunks ÷ a plain step's, {BATCH} images", ratio(seconds, chunked, plain), 1.6
        ),
        Claim("activation memory there ÷ a plain step's", saved[chunked] / saved[plain], 0.4),
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    sys.exit(main())
