"""`index`: put a folder, a zip, an ImageFolder set or a data set of the hub into a gallery; go on with what was interrupted;
embed a gallery again."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands.base import Answer, Command, every_tenth, listing, load_embedder
from ssa_me.commands.base import Progress as Report
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.gallery.ingest import IngestReport, Progress
    from ssa_me.gallery.unfinished import Left, Unfinished


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="a folder of images, a zip, an ImageFolder set, or hub:USER/NAME[:SPLIT] (needs the library datasets); without "
        "it, what was interrupted goes on, and images that lack vectors of the checkpoint get them",
    )
    parser.add_argument(
        "--gallery", type=Path, required=True, metavar="DIR", help="the gallery; made if it is not there"
    )


def _run(args: Namespace, progress: Report) -> Answer:
    asked = _asked(args)
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
        reports = [ingest(gallery, one.source, embedder, copy=one.copy, progress=tell) for one in asked]
    except InputError:
        if made_here and len(gallery) == 0:
            shutil.rmtree(folder)
        raise
    data = _data(args.gallery, len(gallery), reports)
    return Answer(data, _text(data))


def _asked(args: Namespace) -> Sequence[Left]:
    """What is put in: the source that is named, else what an interrupted run has left; nothing where there is neither. Raises
    InputError where a path does not exist, or another program is at it."""
    from ssa_me.gallery.hub_data import parse_hub
    from ssa_me.gallery.unfinished import Left

    if args.source is None:
        state = _unfinished(args.gallery.resolve())
        if state is not None and state.at_work:
            raise InputError(
                f"Another program is putting images into {args.gallery} at this moment. Wait for it, or stop it."
            )
        return state.left if state else [Left([])]
    hub = parse_hub(args.source)
    if hub is None and not Path(args.source).exists():
        raise InputError(
            f"{args.source} does not exist. Give a folder of images, a zip, or an ImageFolder set."
        )
    return [Left(hub or Path(args.source))]


def _unfinished(folder: Path) -> Unfinished | None:
    from ssa_me.gallery.database import Database
    from ssa_me.gallery.store import is_gallery
    from ssa_me.gallery.unfinished import unfinished

    return unfinished(Database(folder)) if is_gallery(folder) else None


def _online(args: Namespace) -> bool:
    """Whether the data comes from a hub."""
    from ssa_me.gallery.hub_data import HubData

    if args.source is not None:
        return str(args.source).startswith("hub:")
    state = _unfinished(args.gallery.resolve())
    return state is not None and any(isinstance(left.source, HubData) for left in state.left)


def _data(gallery: Path, images: int, reports: Sequence[IngestReport]) -> dict[str, Any]:
    return {
        "gallery": str(gallery),
        "images": images,
        "found": sum(report.found for report in reports),
        "added": sum(report.added for report in reports),
        "again": sum(report.again for report in reports),
        "duplicates": [{"name": n, "same_as": same} for report in reports for n, same in report.duplicates],
        "skipped": [{"name": n, "reason": why} for report in reports for n, why in report.skipped],
        "seconds": sum(report.seconds for report in reports),
    }


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
