"""`index`: put a folder, a zip, an ImageFolder set or a data set of the hub into a gallery; embed a gallery again."""

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
    from ssa_me.gallery.sources import Source


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="a folder of images, a zip, an ImageFolder set, or hub:USER/NAME[:SPLIT] (needs the library datasets); without "
        "it, images that lack vectors of the checkpoint get them",
    )
    parser.add_argument(
        "--gallery", type=Path, required=True, metavar="DIR", help="the gallery; made if it is not there"
    )


def _run(args: Namespace, progress: Report) -> Answer:
    source = _source(args.source)
    from ssa_me.gallery.ingest import ingest
    from ssa_me.gallery.store import Gallery, is_gallery

    folder = args.gallery.resolve()
    gallery = Gallery.open(folder) if is_gallery(folder) or args.source is None else None
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
            f"{state} ({state.added:,} added, {state.duplicates:,} duplicates, {state.skipped:,} skipped)"
        )

    try:
        report = ingest(gallery, source, embedder, progress=tell)
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


def _source(text: str | None) -> Source:
    """What is put in: nothing where there is no text. Raises InputError where a path does not exist."""
    from ssa_me.gallery.hub_data import parse_hub

    if text is None:
        return []
    hub = parse_hub(text)
    if hub is None and not Path(text).exists():
        raise InputError(f"{text} does not exist. Give a folder of images, a zip, or an ImageFolder set.")
    return hub or Path(text)


def _online(args: Namespace) -> bool:
    return str(args.source).startswith("hub:")


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


COMMAND = Command("index", "put images into a gallery", _arguments, _run, _online)
