"""A language pass that collects the exact attention row costs at most 1.05 times one with transformers' plain SDPA."""

from __future__ import annotations

import sys

import torch

from benchmarks._timing import UNSEEN, Claim, arguments, conclude, pictures, ratio, show, take_turns
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import MINI
from ssa_me.devices import choose_device
from ssa_me.outputs import LanguagePass
from ssa_me.scenes import make_scene

BATCH = 16


def main() -> int:
    args = arguments(__doc__ or "", repeats=40)
    device = choose_device(args.device)
    folder = args.checkpoint or MINI
    probed = Backbone.load(folder, device.device, device.dtype)
    plain = Backbone.load(folder, device.device, device.dtype)
    plain.model.set_attn_implementation("sdpa")
    texts = [make_scene(UNSEEN + i, 64).captions[0] for i in range(BATCH)]
    with torch.inference_mode():
        visual = probed.vision_pass(pictures(BATCH))

        def passes(backbone: Backbone, collect: bool) -> LanguagePass:
            return backbone.language_pass(texts, visual, collect_rows=collect)

        difference = (passes(probed, True).last - passes(plain, False).last).abs().max().item()
        print(f"largest difference of the outcome: {difference:.1e}")
        sides = {
            "with the attention row": lambda: passes(probed, True),
            "plain SDPA": lambda: passes(plain, False),
        }
        seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds, each=BATCH)
    value = ratio(seconds, "with the attention row", "plain SDPA")
    return conclude(
        Claim(f"language pass with the attention row ÷ plain SDPA, batches of {BATCH}", value, 1.05)
    )


if __name__ == "__main__":
    sys.exit(main())
