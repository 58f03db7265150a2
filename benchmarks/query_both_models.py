"""Both models for one image+text query cost at most 1.6 times one baseline embedding: they share the vision pass.

A question ("the dog") is shown beside it: SSA-ME reads its text once more alone, to ask the salience head.
"""

from __future__ import annotations

import sys

from benchmarks._timing import Claim, arguments, conclude, load, pictures, ratio, show, take_turns
from ssa_me.checkpoint import BASELINE, VERSIONS


def main() -> int:
    args = arguments(__doc__ or "", repeats=60)
    embedder = load(args)
    (image,) = pictures(1)
    sides = {
        "both models": lambda: embedder.embed_query("a person in red", image, versions=VERSIONS),
        "baseline alone": lambda: embedder.embed_query("a person in red", image, versions=(BASELINE,)),
        "both models, a question": lambda: embedder.embed_query("the person", image, versions=VERSIONS),
        "baseline alone, a question": lambda: embedder.embed_query("the person", image, versions=(BASELINE,)),
    }
    seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds)
    value = ratio(seconds, "both models", "baseline alone")
    asked = ratio(seconds, "both models, a question", "baseline alone, a question")
    print(f"of a question: {asked:.2f} ×")
    return conclude(Claim("both models ÷ one baseline embedding, one image+text query", value, 1.6))


if __name__ == "__main__":
    sys.exit(main())
