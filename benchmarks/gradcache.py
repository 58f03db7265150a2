"""GradCache at 8 chunks takes at most 1.6 times a plain step's time, with at most 0.4 times its activation memory.

Activation memory is the most bytes that autograd holds for the backward pass at any moment, counted by its hooks for
saved tensors, each storage once; weights do not count.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from benchmarks._timing import Claim, arguments, conclude, ratio, show, take_turns
from benchmarks._training import make_stage, step_of
from ssa_me.checkpoint import SSA_ME

BATCH = 256
CHUNKS = 8


class _Saved:
    """A tensor that autograd holds. It is let go with its graph."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def most_saved(step: Callable[[], object], weights: nn.Module) -> int:
    """The most bytes held for the backward pass while `step` runs."""
    own = {parameter.untyped_storage().data_ptr() for parameter in weights.parameters()}
    holders: dict[int, int] = {}
    held = most = 0

    def release(storage: int, size: int) -> None:
        nonlocal held
        holders[storage] -= 1
        held -= size if not holders[storage] else 0

    def pack(tensor: Tensor) -> _Saved:
        nonlocal held, most
        saved, storage = _Saved(tensor), tensor.untyped_storage()
        if storage.data_ptr() not in own:
            place, size = storage.data_ptr(), storage.nbytes()
            held += size if not holders.get(place) else 0
            holders[place] = holders.get(place, 0) + 1
            most = max(most, held)
            weakref.finalize(saved, release, place, size)
        return saved

    with saved_tensors_hooks(pack, lambda saved: saved.tensor):
        step()
    return most


def main() -> int:
    args = arguments(__doc__ or "", repeats=5)
    stage = make_stage(args, SSA_ME, BATCH, BATCH // 4)
    sides = {f"{n} chunks" if n > 1 else "plain": step_of(stage, n) for n in (1, CHUNKS)}
    seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds, each=BATCH)
    assert isinstance(stage, nn.Module)
    saved = {name: most_saved(step, stage) for name, step in sides.items()}
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
