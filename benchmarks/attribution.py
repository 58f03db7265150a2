"""Integrated Gradients of 32 points, of image and words, takes at most 3 seconds, and memory does not grow with the points:
the peak of one with 256 is at most 1.3 times that of eight with 32, one after the other. The maps of an opened hit are
there within 1 second.

Beside the seconds stands how many forward and backward passes of the image alone they are worth, which depends less on
the machine. The peak is that of the process above what it held before (on a GPU that of its memory), so it needs Linux.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks._timing import Claim, arguments, conclude, load, pictures, ratio, show, take_turns
from ssa_me.attribution import Settings, attribute
from ssa_me.attribution.scores import ImageScores
from ssa_me.attribution.watching import Watch
from ssa_me.checkpoint import SSA_ME
from ssa_me.embedder import SalientEmbedder

TEXT = "a person in red left of a house"
METHOD = "integrated-gradients"


def main() -> int:
    args = arguments(__doc__ or "", repeats=5)
    embedder = load(args)
    (image,) = pictures(1)
    scores = ImageScores(embedder.exact, image, TEXT, {SSA_ME: 1.0}, Watch(1))

    def forward_and_backward() -> None:
        patches = scores.patches.clone().requires_grad_()
        torch.autograd.grad(scores.of_patches(patches).sum(), patches)

    def attributed(steps: int) -> None:
        attribute(embedder, image, TEXT, METHOD, settings=Settings(steps=steps))

    def repeated(steps: int) -> None:
        for _ in range(256 // steps):
            attributed(steps)

    sides = {
        "Integrated Gradients, 32 points": lambda: attributed(32),
        "one forward and backward pass": forward_and_backward,
        "maps of an opened hit": lambda: embedder.explain(image, TEXT),
    }
    seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds)
    times = ratio(seconds, "Integrated Gradients, 32 points", "one forward and backward pass")
    print(f"Integrated Gradients of 32 points: {times:.1f} forward and backward passes of the image")
    # one ground and as many batches for both: what the allocator leaves behind must neither lighten nor burden one side
    before = held(embedder)
    few, many = (peak(embedder, partial(repeated, steps)) - before for steps in (32, 256))
    print(f"peak memory above what was held: {few / 2**20:.0f} MB at 32 points, {many / 2**20:.0f} MB at 256")
    return conclude(
        Claim(
            "Integrated Gradients, 32 points, image and words",
            float(np.median(seconds["Integrated Gradients, 32 points"])),
            3.0,
            unit="s",
        ),
        Claim("maps of an opened hit", float(np.median(seconds["maps of an opened hit"])), 1.0, unit="s"),
        Claim("peak memory at 256 points ÷ at 32", max(1, many) / max(1, few), 1.3),
    )


def held(embedder: SalientEmbedder) -> int:
    """The bytes that are held now."""
    if embedder.info.device.startswith("cuda"):
        return int(torch.cuda.memory_allocated())
    return status("VmRSS")


def peak(embedder: SalientEmbedder, work: Callable[[], None]) -> int:
    """The most bytes that are held while `work` is done."""
    if embedder.info.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        work()
        return int(torch.cuda.max_memory_allocated())
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    work()
    return status("VmHWM")


def status(key: str) -> int:
    """A number of bytes from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


if __name__ == "__main__":
    sys.exit(main())
