"""`index`: put a folder, a zip or an ImageFolder set of images into a gallery."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands.base import Answer, Command, every_tenth, listing, load_embedder
from ssa_me.commands.base import Progress as Report
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.gallery.ingest import Progress


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="a folder of images, a zip, or an ImageFolder set"
    )
    parser.add_argument(
        "--gallery", type=Path, required=True, metavar="DIR", help="the gallery; made if it is not there"
    )


def _run(args: Namespace, progress: Report) -> Answer:
    if not args.source.exists():
        raise InputError(
            f"{args.source} does not exist. Give a folder of images, a zip, or an ImageFolder set."
        )
    from ssa_me.gallery.ingest import ingest
    from ssa_me.gallery.store import Gallery, is_gallery

    folder = args.gallery.resolve()
    gallery = Gallery.open(folder) if is_gallery(folder) else None
    made_here = gallery is None
    embedder = load_embedder(args, progress, gallery.checkpoint if gallery else None)
    if gallery is None:
        gallery = Gallery.create(folder, folder.name, embedder.info.checkpoint)

    unpacking = every_tenth(progress, "files of the zip read")

    def tell(state: Progress) -> None:
        if state.stage == "unpacking":
            unpacking(state.done, state.total)
            return
        progress(
            f"{state.stage}: {state.done:,} of {state.total:,}"
            f" ({state.added:,} added, {state.duplicates:,} duplicates, {state.skipped:,} skipped)"
        )

    try:
        report = ingest(gallery, args.source, embedder, progress=tell)
    except InputError:
        if made_here and len(gallery) == 0:
            shutil.rmtree(folder)
        raise
    data = {
        "gallery": str(args.gallery),
        "images": len(gallery),
        "found": report.found,
        "added": report.added,
        "again": report.again,
        "duplicates": [{"name": name, "same_as": same} for name, same in report.duplicates],
        "skipped": [{"name": name, "reason": reason} for name, reason in report.skipped],
        "seconds": report.seconds,
    }
    return Answer(data, _text(data))


def _text(data: dict[str, Any]) -> str:
    again = f", {data['again']:,} embedded again" if data["again"] else ""
    duplicates = [
        [item["name"], item["same_as"]] for item in data["duplicates"] if item["name"] != item["same_as"]
    ]
    known = len(data["duplicates"]) - len(duplicates)
    there = f" {known:,} were there already," if known else ""
    parts = [
        f"{data['gallery']}: {data['images']:,} images. Of {data['found']:,} found {data['added']:,} were added{again},{there}"
        f" {len(duplicates):,} were duplicates, {len(data['skipped']):,} were skipped ({data['seconds']:.1f} s)."
    ]
    if duplicates:
        parts.append(listing(duplicates, ["duplicate", "same as"]))
    if data["skipped"]:
        parts.append(
            listing([[item["name"], item["reason"]] for item in data["skipped"]], ["skipped", "reason"])
        )
    return "\n\n".join(parts)


COMMAND = Command("index", "put images into a gallery", _arguments, _run)
