"""Integrated Gradients of 32 points, of image and words, takes at most 3 seconds, and memory does not grow with the points:
the most that is held for backward passes at 256 is at most 1.3 times that at 32. The maps of an opened hit are there within
1 second.

Beside the seconds stands how many forward and backward passes of the image alone they are worth, which depends less on
the machine.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import torch

from benchmarks._memory import most_saved
from benchmarks._timing import Claim, arguments, conclude, load, pictures, ratio, show, take_turns
from ssa_me.attribution import Settings, attribute
from ssa_me.attribution.scores import ImageScores
from ssa_me.attribution.watching import Watch
from ssa_me.checkpoint import SSA_ME

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

    sides = {
        "Integrated Gradients, 32 points": lambda: attributed(32),
        "one forward and backward pass": forward_and_backward,
        "maps of an opened hit": lambda: embedder.explain(image, TEXT),
    }
    seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds)
    times = ratio(seconds, "Integrated Gradients, 32 points", "one forward and backward pass")
    print(f"Integrated Gradients of 32 points: {times:.1f} forward and backward passes of the image")
    with embedder.exact() as passes:
        weights = [passes.backbone.model, passes.parts]
    few, many = (most_saved(partial(attributed, steps), weights) for steps in (32, 256))
    print(f"held for backward passes: {few / 2**20:.1f} MB at 32 points, {many / 2**20:.1f} MB at 256")
    return conclude(
        Claim(
            "Integrated Gradients, 32 points, image and words",
            float(np.median(seconds["Integrated Gradients, 32 points"])),
            3.0,
            unit="s",
        ),
        Claim("maps of an opened hit", float(np.median(seconds["maps of an opened hit"])), 1.0, unit="s"),
        Claim("memory for backward passes at 256 points ÷ at 32", many / few, 1.3),
    )


if __name__ == "__main__":
    sys.exit(main())
