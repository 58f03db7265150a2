"""`gallery`: what a gallery holds and how it is searched; its near-duplicates; remove images, other versions' vectors, saved
queries."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands.base import Answer, Command, Progress, listing, load_embedder, table
from ssa_me.errors import InputError
from ssa_me.nearness import NEAR_DUPLICATE

if TYPE_CHECKING:
    from ssa_me.gallery.near_duplicates import NearDuplicates
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
        "--near-duplicates",
        type=float,
        nargs="?",
        const=NEAR_DUPLICATE,
        metavar="X",
        help="list the images that are nearly the same, in groups: those linked by a cosine of at least X, of SSA-ME's "
        f"vectors (default: {NEAR_DUPLICATE})",
    )
    parser.add_argument(
        "--remove-near-duplicates",
        action="store_true",
        help="with --near-duplicates: of each group forget those that are so alike to its largest image; originals stay",
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

    if args.remove_near_duplicates and args.near_duplicates is None:
        raise InputError("--remove-near-duplicates goes with --near-duplicates. Look at the groups first.")
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
    if args.near_duplicates is None:
        data = describe(gallery)
        return Answer(data, _text(data))
    found, groups = _near_duplicates(gallery, args, progress)
    gone = gallery.remove(found.copies) if args.remove_near_duplicates else 0
    data = describe(gallery)
    listed = {
        "threshold": found.threshold,
        "compared": len(found.searched),
        "search": found.kind,
        "seconds": found.seconds,
        "groups": groups,
        "removed": gone,
    }
    return Answer(data | {"near_duplicates": listed}, "\n\n".join([_text(data), _groups_text(listed)]))


def _near_duplicates(
    gallery: Gallery, args: Namespace, progress: Progress
) -> tuple[NearDuplicates, list[dict[str, Any]]]:
    """What is alike in a gallery, and its groups with the images' names, as they are before anything is removed."""
    from ssa_me.gallery.items import HEAD, Spaces
    from ssa_me.gallery.near_duplicates import near_duplicates

    embedder = load_embedder(args, progress, gallery.checkpoint)
    told = 0

    def tell(part: float) -> None:
        nonlocal told
        if int(10 * part) > told:
            told = int(10 * part)
            progress(f"{10 * told} % of the images compared")

    space = Spaces(embedder.info.fingerprints).images(HEAD)
    found = near_duplicates(gallery, space, args.near_duplicates, progress=tell)
    groups = []
    for group in found.groups:
        items = gallery.items_of(group.ids)
        images = [
            {
                "id": id,
                "file_name": items[id].file_name,
                "path": str(items[id].path),
                "width": items[id].width,
                "height": items[id].height,
                "cosine": cosine,
            }
            for id, cosine in zip(group.ids, group.cosines, strict=True)
        ]
        groups.append({"representative": group.representative, "images": images})
    return found, groups


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


def _groups_text(listed: dict[str, Any]) -> str:
    groups = listed["groups"]
    rows = [
        [
            number,
            image["id"],
            image["file_name"],
            f"{image['width']} × {image['height']}",
            None if image["id"] == group["representative"] else image["cosine"],
        ]
        for number, group in enumerate(groups, start=1)
        for image in sorted(group["images"], key=lambda image: image["id"] != group["representative"])
    ]
    head = (
        f"{len(groups):,} groups of near-duplicates, {len(rows) - len(groups):,} images beside the largest of each, from a "
        f"cosine of {listed['threshold']:g} ({listed['compared']:,} images, {listed['search']}, {listed['seconds']:.1f} s)"
    )
    removed = [f"{listed['removed']:,} of them removed; the largest of each group stays"] * bool(
        listed["removed"]
    )
    columns = ["group", "id", "image", "size", "cosine with the largest"]
    return "\n\n".join([head, *([listing(rows, columns, 60)] if rows else []), *removed])


COMMAND = Command("gallery", "what a gallery holds; remove images from it", _arguments, _run)
