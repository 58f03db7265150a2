"""GradCache at 8 chunks takes at most 1.6 times a plain step's time, with at most 0.4 times its activation memory.

Measured on the embedded model, whose steps are calls more than arithmetic, and on one of twice its width with six layers,
randomly initialised. Activation memory is the most bytes that autograd holds for the backward pass at any moment; weights
do not count.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from benchmarks._memory import most_saved
from benchmarks._timing import Claim, arguments, conclude, ratio, show, take_turns
from benchmarks._training import make_stage, step_of
from ssa_me.checkpoint import MINI, SSA_ME
from ssa_me.mini import build_mini

BATCH = 256
CHUNKS = 8


def main() -> int:
    args = arguments(__doc__ or "", repeats=5)
    claims = measure(args, "the embedded model" if args.checkpoint is None else str(args.checkpoint))
    if args.checkpoint is None:
        with TemporaryDirectory(prefix="ssa-me-") as folder:
            save_larger(Path(folder))
            claims += measure(Namespace(**vars(args) | {"checkpoint": Path(folder)}), "the larger one")
    return conclude(*claims)


def measure(args: Namespace, name: str) -> list[Claim]:
    stage = make_stage(args, SSA_ME, BATCH, BATCH // 4)
    sides = {f"{n} chunks" if n > 1 else "plain": step_of(stage, n) for n in (1, CHUNKS)}
    seconds = take_turns(sides, args.repeats, args.processor_time)
    print(name)
    show(seconds, each=BATCH)
    assert isinstance(stage, nn.Module)
    saved = {side: most_saved(step, [stage]) for side, step in sides.items()}
    for side, size in saved.items():
        print(f"  {side:34s} {size / 2**20:8.1f} MiB held at most")
    chunked, plain = f"{CHUNKS} chunks", "plain"
    time = ratio(seconds, chunked, plain)
    return [
        Claim(f"{name}: time at {CHUNKS} chunks ÷ a plain step's, {BATCH} images", time, 1.6),
        Claim(f"{name}: activation memory there ÷ a plain step's", saved[chunked] / saved[plain], 0.4),
    ]


def save_larger(folder: Path) -> None:
    torch.manual_seed(0)
    larger = build_mini(PreTrainedTokenizerFast.from_pretrained(MINI), width=384, layers=6, heads=12, mlp=768)
    for part in (larger.model, larger.tokenizer, larger.image_processor):
        part.save_pretrained(folder)


if __name__ == "__main__":
    torch.manual_seed(0)
    sys.exit(main())
