"""`search`: rank a gallery's images for a text, an image, or both."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands.base import (
    Answer,
    Command,
    Progress,
    add_against,
    add_salience,
    load_embedder,
    opposed,
    shortened,
    table,
)
from ssa_me.errors import InputError
from ssa_me.nearness import NEAR_DUPLICATE

if TYPE_CHECKING:
    from ssa_me.gallery.saved import SavedQuery
    from ssa_me.samples import BBox

SORT_KEYS = ("score", "alignment")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        help="what to look for; -WORD in it is not wanted: 'red bird -flower'",
    )
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
    parser.add_argument(
        "--region", metavar="X,Y,W,H", help="of the image, in pixels: more like what is in this box"
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="only images that fulfil it: split=test, year>=2020, caption~dog, subject~flag … (may be repeated)",
    )
    parser.add_argument(
        "--least-alignment",
        type=float,
        metavar="X",
        help="only hits whose subject has this cosine with its phrase",
    )
    parser.add_argument(
        "--hide-duplicates",
        type=float,
        nargs="?",
        const=NEAR_DUPLICATE,
        metavar="X",
        help=f"hide images whose cosine with one further up is at least X (default: {NEAR_DUPLICATE})",
    )
    parser.add_argument(
        "--sort", choices=SORT_KEYS, default="score", help="the order of the k best (default: score)"
    )
    parser.add_argument("--only", action="store_true", help="of two lists, show what the other one lacks")
    parser.add_argument("--save", metavar="NAME", help="keep this query in the gallery")
    parser.add_argument("--saved", metavar="NAME", help="run a query that was kept")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write results.csv and results.json there")
    parser.add_argument("--thumbnails", action="store_true", help="with --export: thumbnails, too")
    add_against(parser)
    add_salience(parser)


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.gallery.export import export
    from ssa_me.gallery.saved import load_query, save_query
    from ssa_me.gallery.search import search
    from ssa_me.gallery.store import Gallery

    asked = None if args.saved else _asked(args)
    gallery = Gallery.open(args.gallery.resolve())
    asked = asked or load_query(gallery, args.saved)
    if args.save:
        progress(f"saved as {save_query(gallery, args.save, asked)!r}")
    embedder = opposed(args, gallery, load_embedder(args, progress, gallery.checkpoint), progress)
    found = search(
        *(gallery, embedder, asked.query, asked.rankings, asked.k),
        refinement=asked.refinement,
        salience=args.salience,
    )
    for note in found.notes:
        progress(note)
    if args.export:
        files = export(found, gallery, args.export, thumbnails=args.thumbnails)
        progress(f"{len(files):,} files written to {args.export}")
    told = {"models": dict(embedder.info.titles)} if args.against else {}
    return Answer(found.to_json() | told, _text(found.to_json(), len(gallery), args.only))


def _asked(args: Namespace) -> SavedQuery:
    """What the arguments ask for."""
    from ssa_me.evaluation.models import parse_models
    from ssa_me.gallery.filters import parse_filters
    from ssa_me.gallery.refine import Refinement
    from ssa_me.gallery.results import Query
    from ssa_me.gallery.saved import SavedQuery
    from ssa_me.images import load_image

    names = tuple(model.name for model in parse_models(args.model))
    where = parse_filters(args.where)
    refinement = Refinement(where, args.least_alignment, args.hide_duplicates, args.sort)
    image = load_image(args.image) if args.image else None
    query = Query(args.text, image, args.image_weight, _region(args.region))
    return SavedQuery(query, names, args.k, refinement)


def _region(text: str | None) -> BBox | None:
    if text is None:
        return None
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--region is X,Y,W,H in pixels, such as 40,30,120,80, not {text!r}.") from error
    return x, y, width, height


def _text(found: Mapping[str, Any], size: int, only: bool) -> str:
    parts = []
    for name, hits in found["results"].items():
        rows = []
        for hit in hits:
            if only and name in found["only"] and hit["id"] not in found["only"][name]:
                continue
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
    hidden = sum(found["hidden"].values())
    parts += [f"{hidden:,} near-duplicates hidden"] if hidden else []
    return "\n\n".join(parts)


COMMAND = Command("search", "rank a gallery's images for a text, an image, or both", _arguments, _run)
