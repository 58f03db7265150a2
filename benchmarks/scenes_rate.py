"""The generated world is drawn and written at 100 scenes a second or more, on as many cores as there are."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from ssa_me.scenes import make_scene, write_scenes

SCENES = 600


def main() -> int:
    from benchmarks._timing import (
        UNSEEN,
        Claim,
        arguments,
        conclude,
    )  # here: drawing processes import this file

    args = arguments(__doc__ or "", repeats=3)
    rates = []
    for turn in range(args.repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            write_scenes(Path(folder) / "scenes", SCENES, seed=UNSEEN + turn * SCENES)
            rates.append(SCENES / (time.perf_counter() - start))
    start = time.process_time()
    for seed in range(UNSEEN, UNSEEN + 100):
        make_scene(seed)
    drawing = 100 / (time.process_time() - start)
    print(f"  written with {os.cpu_count()} cores: {', '.join(f'{rate:.0f}' for rate in rates)} scenes/s")
    print(f"  drawn alone, a core's time: {drawing:.0f} scenes/s")
    value = sorted(rates)[len(rates) // 2]
    return conclude(Claim(f"scenes written, {SCENES} at a time", value, 100, at_least=True, unit="scenes/s"))


if __name__ == "__main__":
    sys.exit(main())
