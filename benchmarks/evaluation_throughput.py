"""Evaluation's embedding keeps at least 0.85 of the speed of bare forward passes.

Both read the same JPEGs and texts, as an MMEB subset holds them: images alone, and texts. Evaluation reads them from disk, hashes
them, and keeps every vector in a cache that is new in each turn; the bare side has images and texts ready and does nothing but the
passes of both versions.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import count
from pathlib import Path

from benchmarks._timing import UNSEEN, Claim, arguments, conclude, load, ratio, show, take_turns
from ssa_me.checkpoint import VERSIONS
from ssa_me.evaluation.cache import ArrayCache
from ssa_me.evaluation.encode import BATCH
from ssa_me.evaluation.mmeb_data import Entry
from ssa_me.evaluation.mmeb_encode import Encoder, load_sample
from ssa_me.scenes import make_scene

IMAGES, TEXTS = 192, 64


def write_entries(folder: Path) -> list[Entry]:
    """Texts, then images of 256×256 pixels, as an evaluation orders them."""
    texts, images = [], []
    for i in range(IMAGES):
        scene = make_scene(UNSEEN + i, 256)
        scene.image.save(folder / f"{i:04d}.jpg", quality=92)
        images.append(Entry("", f"{i:04d}.jpg"))
        texts.append(Entry(f"{i}: {scene.captions[0]}", ""))
    return [*texts[:TEXTS], *images]


def main() -> int:
    args = arguments(__doc__ or "", repeats=5)
    embedder = load(args)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        entries = write_entries(folder)
        samples = [load_sample(entry, folder) for entry in entries]
        numbers = count()

        def evaluation() -> None:
            with ArrayCache(folder / f"cache-{next(numbers)}.sqlite") as cache:
                encoded, lost = Encoder(embedder, cache).encode(
                    entries, folder, VERSIONS, subjects=False, what="benchmark"
                )
            assert not lost and len(encoded.vectors["ssa-me"]) == len(entries)

        def bare() -> None:
            embedder.embed(samples, versions=VERSIONS, batch_size=BATCH)

        sides = {"evaluation": evaluation, "bare forward passes": bare}
        seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds, each=len(entries))
    value = ratio(seconds, "bare forward passes", "evaluation")
    text = f"speed of evaluation's embedding ÷ bare forward passes, {IMAGES} JPEGs and {TEXTS} texts"
    return conclude(Claim(text, value, 0.85, at_least=True))


if __name__ == "__main__":
    sys.exit(main())
