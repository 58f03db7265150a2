"""`gallery`: what a gallery holds and how it is searched; remove images, other versions' vectors, saved queries."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands.base import Answer, Command, Progress, load_embedder, table

if TYPE_CHECKING:
    from ssa_me.gallery.store import Gallery


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("gallery", type=Path, metavar="DIR", help="the gallery")
    parser.add_argument(
        "--remove", type=int, nargs="+", metavar="ID", default=[], help="forget these images; originals stay"
    )
    parser.add_argument(
        "--remove-where",
        action="append",
        metavar="CONDITION",
        default=[],
        help="forget the images that fulfil all of these, such as split=test (see search --where)",
    )
    parser.add_argument(
        "--forget-others",
        action="store_true",
        help="delete the vectors of all model versions but those of the checkpoint",
    )
    parser.add_argument(
        "--forget-unfinished",
        action="store_true",
        help="give up what an interrupted index has left; the images that are in stay",
    )
    parser.add_argument("--forget-query", metavar="NAME", help="delete a saved query")


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.gallery.filters import parse_filters
    from ssa_me.gallery.items import Spaces
    from ssa_me.gallery.saved import forget
    from ssa_me.gallery.store import Gallery
    from ssa_me.gallery.unfinished import forget as give_up

    where = parse_filters(args.remove_where)
    gallery = Gallery.open(args.gallery.resolve())
    ids = [*args.remove, *(gallery.matching(where).tolist() if where else [])]
    if ids:
        progress(f"{gallery.remove(ids):,} images removed")
    if args.forget_query is not None:
        forget(gallery, "query", args.forget_query)
    if args.forget_unfinished:
        give_up(gallery.database)
    if args.forget_others:
        embedder = load_embedder(args, progress, gallery.checkpoint)
        gone = gallery.forget_others(Spaces(embedder.info.fingerprints))
        progress(f"{gone:,} spaces of other versions deleted")
    data = describe(gallery)
    return Answer(data, _text(data))


def describe(gallery: Gallery) -> dict[str, Any]:
    """What there is to know of a gallery without a model. Bytes are those on the disk."""
    from ssa_me.gallery.saved import saved
    from ssa_me.gallery.unfinished import unfinished

    state = unfinished(gallery.database)
    files = [path.stat().st_size for path in gallery.folder.rglob("*") if path.is_file()]
    return {
        "gallery": str(gallery.folder),
        "name": gallery.name,
        "images": len(gallery),
        "checkpoint": gallery.checkpoint,
        "read_only": gallery.read_only,
        "unfinished": [str(left) for left in state.left] if state else [],
        "bytes": sum(files),
        "spaces": [
            {
                "space": card.space,
                "images": card.images,
                "rows": card.rows,
                "dimension": card.dimension,
                "bytes": card.bytes,
                "search": card.kind,
                "recall@10": card.recall,
                "probes": card.probes,
            }
            for card in gallery.cards()
        ],
        "fields": {key: dict(values) for key, values in gallery.fields().items()},
        "queries": list(saved(gallery, "query")),
        "views": list(saved(gallery, "view")),
    }


def _text(data: dict[str, Any]) -> str:
    rows = [
        [
            space["space"],
            space["images"],
            space["rows"],
            round(space["bytes"] / 2**20, 1),
            space["search"],
            space["recall@10"],
        ]
        for space in data["spaces"]
    ]
    only = ", read-only" if data["read_only"] else ""
    parts = [
        f"{data['name']}: {data['images']:,} images, {data['bytes'] / 2**20:,.1f} MB{only}, of the checkpoint "
        f"{data['checkpoint']}",
        table(rows, ["space", "images", "rows", "MB", "search", "recall@10"]),
    ]
    left = ", ".join(data["unfinished"])
    parts += [f"not finished: {left}; index --gallery {data['gallery']} goes on"] if left else []
    named = [
        f"{key}: {', '.join(f'{value} ({count:,})' for value, count in values.items())}"
        for key, values in data["fields"].items()
    ]
    parts += ["\n".join(named)] if named else []
    parts += [f"saved queries: {', '.join(data['queries'])}"] if data["queries"] else []
    return "\n\n".join(parts)


COMMAND = Command("gallery", "what a gallery holds; remove images from it", _arguments, _run)
