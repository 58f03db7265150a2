"""Indexing keeps at least 0.85 of the speed of a bare loop that decodes, resizes and runs both forwards.

Both read the same photographs-to-be from disk (generated scenes as JPEG). Indexing also finds duplicates, makes thumbnails, finds
subjects, embeds them and writes everything down; the loop throws its vectors away.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from PIL import Image

from benchmarks._timing import UNSEEN, Claim, arguments, conclude, load, ratio, show, take_turns
from ssa_me.checkpoint import VERSIONS
from ssa_me.embedder import SalientEmbedder
from ssa_me.gallery import Gallery, ingest
from ssa_me.samples import Sample
from ssa_me.scenes import make_scene

IMAGES = 192
WIDTH, HEIGHT = 800, 600
BATCH = 32


def write_images(folder: Path) -> list[Path]:
    paths = []
    for i in range(IMAGES):
        path = folder / f"{i:04d}.jpg"
        make_scene(UNSEEN + i, 256).image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(
            path, quality=90
        )
        paths.append(path)
    return paths


def bare_loop(paths: list[Path], embedder: SalientEmbedder) -> None:
    """Decode, resize (inside the image processor), both forwards, in batches."""
    for start in range(0, len(paths), BATCH):
        samples = [Sample(image=Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]]
        embedder.embed(samples, versions=VERSIONS, batch_size=BATCH)


def fresh_folders(root: Path) -> Iterator[Path]:
    return (root / f"gallery-{i}" for i in count())


def main() -> int:
    args = arguments(__doc__ or "", repeats=5)
    embedder = load(args)
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "images"
        source.mkdir()
        paths = write_images(source)
        folders = fresh_folders(Path(temporary))

        def index() -> None:
            gallery = Gallery.create(next(folders), "benchmark", embedder.info.checkpoint)
            report = ingest(gallery, source, embedder)
            assert report.added == IMAGES, report

        sides = {"index": index, "bare loop": lambda: bare_loop(paths, embedder)}
        seconds = take_turns(sides, args.repeats, args.processor_time)
    show(seconds, each=IMAGES)
    value = ratio(seconds, "bare loop", "index")
    text = f"speed of index ÷ bare loop, {IMAGES} JPEGs of {WIDTH}×{HEIGHT}"
    return conclude(Claim(text, value, 0.85, at_least=True))


if __name__ == "__main__":
    sys.exit(main())
