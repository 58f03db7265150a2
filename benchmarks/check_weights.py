"""The embedded weights still score what `assets/check.json` says: a small, fast part of the results, measured again.

Binding queries and scenes of evaluation seeds that no other measurement uses. `--write` replaces the file, for new weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssa_me.checkpoint import MINI, fingerprints
from ssa_me.embedder import SalientEmbedder
from ssa_me.evaluation import evaluate, parse_models, run_mmeb
from ssa_me.scenes import EVALUATION_SEED, write_binding, write_scenes

CHECK = MINI.parent / "check.json"
TOLERANCE = 1
"""So many hits a count may differ by where another processor rounds otherwise."""
_TASK_SEED, _SIZE = 424_242, 128
_QUERIES, _SCENES = 8, 24
_MODELS = "baseline,ssa-me,ssa-me+subjects"
Counts = Mapping[str, float]


def measure(checkpoint: Path = MINI) -> dict[str, Any]:
    """`{"fingerprints", "of", "hits"}` of a checkpoint: `hits` are counts by `MODEL KIND` of binding queries won and by
    `MODEL MAP` of named regions pointed at, `of` how many there are of each; expected counts where maxima tie."""
    embedder = SalientEmbedder.load(checkpoint, "cpu")
    hits: dict[str, float] = {}
    of: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        binding, scenes = Path(name) / "binding", Path(name) / "scenes"
        write_binding(binding, _QUERIES, _TASK_SEED, size=_SIZE, workers=0)
        for model, found in run_mmeb(binding, embedder, parse_models(_MODELS))["models"].items():
            for kind, score in found["subsets"].items():
                of[f"{model} {kind}"] = score["queries"]
                hits[f"{model} {kind}"] = round(score["hit@1"] * score["queries"], 2)
        write_scenes(scenes, _SCENES, EVALUATION_SEED + _TASK_SEED, size=_SIZE, workers=0)
        for model, found in evaluate(scenes, embedder, parse_models("both"), "all")["models"].items():
            for kind in ("attention", "salience"):
                score = found["localisation"][kind]
                if score is not None:
                    of[f"{model} {kind}"] = score["regions"]
                    hits[f"{model} {kind}"] = round(score["pointing_game"] * score["regions"], 2)
    return {"fingerprints": fingerprints(checkpoint), "of": of, "hits": hits}


def apart(found: Counts, kept: Counts) -> Iterator[str]:
    """What differs by more than the tolerance, in words."""
    for name in sorted({*found, *kept}):
        if name not in found or name not in kept:
            yield f"{name} is only in one of the two"
        elif abs(found[name] - kept[name]) > TOLERANCE:
            yield f"{name}: {found[name]:g} instead of {kept[name]:g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"replace {CHECK.name} by what is measured now")
    args = parser.parse_args()
    found = measure()
    for name, hits in found["hits"].items():
        print(f"  {name:36s} {hits:6g} of {found['of'][name]}")
    if args.write:
        CHECK.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(f"written: {CHECK}")
        return 0
    wrong = list(apart(found["hits"], json.loads(CHECK.read_text(encoding="utf-8"))["hits"]))
    print("\n".join([f"FAILS: {line}" for line in wrong] or ["holds: the weights score what they did"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
