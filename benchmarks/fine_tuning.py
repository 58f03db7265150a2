"""Fine-tuning the embedded model on 200 images for 200 steps of each adapter takes at most 3 minutes on two cores, and a
run from the page is within 5 % of the command line's throughput.

The images are generated scenes, written as a data set and read as anyone's would be. The page's run goes through the
workspace: checked data, the queue, a process of its own, with a page's polling beside it. Both train the same recipe; the
rate is what the runs' own logs say at the end of each stage.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._timing import Claim, conclude

IMAGES, STEPS, BATCH = 200, 200, 16
MINUTES = 3.0
SHARE = 0.95
GOING = ("waiting", "running")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, help="a checkpoint folder (default: the embedded mini model)"
    )
    parser.add_argument("--turns", type=int, default=1, help="runs of each side, in turn (default: 1)")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory(prefix="fine-tuning-") as name:
        return _measure(Path(name), args)


def _measure(folder: Path, args: argparse.Namespace) -> int:
    from app.workspace import Workspace
    from ssa_me.jobs import read_log

    workspace = Workspace(folder / "ws", str(args.checkpoint) if args.checkpoint else None, "cpu")
    training = workspace.training
    data = _data(workspace, folder)
    sent: dict[str, Any] = {"data": data.id, "recipe": "fast", "steps": STEPS, "batch": BATCH}
    rates: dict[str, list[dict[str, float]]] = {"page": [], "command": []}
    seconds = []
    for turn in range(args.turns):
        job = training.begin(sent | {"name": f"turn {turn}"})
        while training.queue.job(job.id).phase in GOING:
            training.log_of(training.queue.job(job.id))  # as a page asks every second
            time.sleep(1)
        if training.queue.job(job.id).phase != "done":
            print(training.queue.job(job.id).reason)
            return 1
        rates["page"].append(dict(training.log_of(training.queue.job(job.id)).rates))
        while sum(one.kind == "compare" and one.phase not in GOING for one in training.queue.jobs()) <= turn:
            time.sleep(0.5)  # the comparison that follows a run takes the machine's cores
        out, started = folder / f"out-{turn}", time.perf_counter()
        base = training.shelf.base
        command = [
            "train",
            "--data",
            str(data.data),
            "--recipe",
            str(job.folder / "recipe.toml"),
            "--out",
            str(out),
        ]
        subprocess.run(
            [sys.executable, "-m", "ssa_me", *command, "--checkpoint", str(base), "--device", "cpu"],
            check=True,
        )
        seconds.append(time.perf_counter() - started)
        rates["command"].append(dict(read_log(out / "training" / "log.jsonl").rates))
    for side, turns in rates.items():
        print(side, *({stage: f"{rate:.1f} samples/s" for stage, rate in one.items()} for one in turns))
    shares = [
        page[stage] / command[stage]
        for page, command in zip(rates["page"], rates["command"], strict=True)
        for stage in page
    ]
    print(f"{data.images} images trained on, {STEPS} steps × {BATCH} of each adapter: {min(seconds):.0f} s")
    share = sum(shares) / len(shares)
    return conclude(
        Claim("throughput of a run from the page ÷ the command line's", share, SHARE, at_least=True),
        Claim("fine-tuning the embedded model", min(seconds) / 60, MINUTES, unit="min"),
    )


def _data(workspace: Any, folder: Path) -> Any:
    """A checked set of generated scenes, a tenth held out."""
    import zipfile

    from ssa_me.scenes import write_scenes

    scenes = folder / "scenes"
    write_scenes(scenes, round(IMAGES / 0.9), 600_001)
    packed = folder / "scenes.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in scenes.iterdir():
            archive.write(path, path.name)
    state = workspace.training.data.from_upload([packed]).wait()
    return workspace.training.data.get(state.result["set"])


if __name__ == "__main__":
    sys.exit(main())
