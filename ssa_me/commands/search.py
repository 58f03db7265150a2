"""`search`: rank a gallery's images for a text, an image, or both."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssa_me.commands.base import Answer, Command, Progress, add_salience, load_embedder, shortened, table


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what to look for")
    parser.add_argument(
        "--image", type=Path, metavar="F", help="an image to look for, alone or with the text"
    )
    parser.add_argument(
        "--image-weight",
        type=float,
        default=0.5,
        metavar="W",
        help="0: text alone, 1: image alone (default: 0.5)",
    )
    parser.add_argument("--gallery", type=Path, required=True, metavar="DIR", help="the gallery to search")
    parser.add_argument("-k", type=int, default=10, help="how many images to list (default: 10)")
    parser.add_argument(
        "--model",
        default="both",
        metavar="NAME,…",
        help="baseline, ssa-me, ssa-me+subjects, ssa-me+rerank … (default: both)",
    )
    add_salience(parser)


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.evaluation.models import parse_models
    from ssa_me.gallery.results import Query
    from ssa_me.gallery.search import search
    from ssa_me.gallery.store import Gallery
    from ssa_me.images import load_image

    names = tuple(model.name for model in parse_models(args.model))
    image = load_image(args.image) if args.image else None
    query = Query(args.text, image, args.image_weight)
    gallery = Gallery.open(args.gallery.resolve())
    embedder = load_embedder(args, progress, gallery.checkpoint)
    found = search(gallery, embedder, query, names, args.k, salience=args.salience)
    for note in found.notes:
        progress(note)
    return Answer(found.to_json(), _text(found.to_json(), len(gallery)))


def _text(found: Mapping[str, Any], size: int) -> str:
    parts = []
    for name, hits in found["results"].items():
        rows = []
        for hit in hits:
            subject = hit["subject"]
            rows.append(
                [
                    hit["rank"],
                    hit["score"],
                    hit["path"],
                    f"{shortened(subject['phrase'])} {subject['score']:.3f}" if subject else "",
                ]
            )
        parts.append(table(rows, ["#", name, "image", "subject"]))
    if len(found["results"]) > 1:
        parts.append(f"overlap {found['overlap']:g}, of {size:,} images")
    return "\n\n".join(parts)


COMMAND = Command("search", "rank a gallery's images for a text, an image, or both", _arguments, _run)
