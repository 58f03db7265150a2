"""Times things side by side, and says whether a claim holds. It knows nothing of what is timed.

Absolute times depend on the machine and on what else runs there; a ratio of two things that take turns in one run
depends on it less, and one of processor times (`--processor-time`) hardly at all. Every script prints its ratio, the
limit, and the times behind them, and exits with 1 where the claim fails.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks._claim import Claim, conclude
from ssa_me.embedder import SalientEmbedder
from ssa_me.scenes import make_scene

__all__ = [
    "UNSEEN",
    "Claim",
    "arguments",
    "conclude",
    "load",
    "pictures",
    "ratio",
    "show",
    "take_turns",
]

UNSEEN = 2_000_000  # seeds of scenes that nothing trains or shows


def arguments(description: str, repeats: int) -> argparse.Namespace:
    """The options that all scripts share: checkpoint, device, repeats, threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--checkpoint", type=Path, help="a checkpoint folder (default: the embedded mini model)"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--repeats", type=int, default=repeats, help=f"turns of each side (default: {repeats})"
    )
    parser.add_argument("--threads", type=int, help="threads of torch (default: one a core)")
    parser.add_argument(
        "--processor-time", action="store_true", help="on one thread; for a machine that is busy"
    )
    args = parser.parse_args()
    if args.processor_time:
        args.threads = 1
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def load(args: argparse.Namespace) -> SalientEmbedder:
    """The embedder to measure; says which one, and where."""
    embedder = SalientEmbedder.load(args.checkpoint, args.device)
    info = embedder.info
    print(
        f"{info.name}, {info.device} {info.precision}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"
    )
    return embedder


def pictures(count: int, size: int = 256) -> list[Image.Image]:
    """Generated scenes as upright RGB images of `size`×`size` pixels."""
    return [make_scene(UNSEEN + i, size).image for i in range(count)]


def take_turns(
    sides: Mapping[str, Callable[[], object]], repeats: int, processor_time: bool = False
) -> dict[str, np.ndarray]:
    """Seconds of each side in each of `repeats` turns, after one that does not count. Who begins changes every turn."""
    clock = time.process_time if processor_time else time.perf_counter
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats):
        order = list(sides.items())
        for name, side in order if turn % 2 == 0 else reversed(order):
            start = clock()
            side()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(clock() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(seconds: Mapping[str, np.ndarray], side: str, reference: str) -> float:
    """The median over turns of how much longer `side` took than `reference` in the same turn."""
    return float(np.median(seconds[side] / seconds[reference]))


def show(seconds: Mapping[str, np.ndarray], each: int = 1) -> None:
    """Print each side's median and quartiles in milliseconds, divided by `each` items of a turn."""
    for name, values in seconds.items():
        low, middle, high = statistics.quantiles(values * 1000 / each, n=4)
        print(f"  {name:34s} {middle:8.2f} ms  (quartiles {low:.2f} to {high:.2f})")
