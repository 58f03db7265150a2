"""`failures`: run queries on both models, and say where one hits and the other misses, and what those have in common."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands.base import (
    Answer,
    Command,
    Progress,
    add_against,
    interval_text,
    load_embedder,
    opposed,
    shortened,
    table,
)
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.failures import FailureRun, QuerySet, Selection
    from ssa_me.gallery.store import Gallery

_LISTED = 10


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="an ImageFolder set, or a zip of one, to put into the gallery first",
    )
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="G",
        help="the gallery; made if it is not there (with --binding: OUT/binding)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder for table and report"
    )
    parser.add_argument(
        "--queries",
        type=Path,
        metavar="FILE",
        help="a .txt, .csv or .jsonl list of queries (default: the captions of the gallery's images)",
    )
    parser.add_argument(
        "--binding", type=int, metavar="N", help="draw N binding queries of each of the four kinds instead"
    )
    parser.add_argument(
        "--ranking", default="vector", help="vector: one vector an image; subjects: its subjects count too"
    )
    parser.add_argument(
        "-k", type=int, default=1, help="a query is right with a rank up to k: 1, 5 or 10 (default: 1)"
    )
    parser.add_argument(
        "--outcome",
        default="all",
        help="what table and report show: all, fixed, broken, both-wrong or both-right (default: all)",
    )
    parser.add_argument("--rows", type=int, default=50, help="rows in the report, with images (default: 50)")
    add_against(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.failures import Selection, mine

    selection = Selection(outcome=args.outcome, k=args.k)
    told = _Told(progress)
    gallery, own = _gallery(args, progress, told)
    embedder = opposed(args, gallery, own, progress)
    queries = _queries(args, gallery)
    args.out.mkdir(parents=True, exist_ok=True)
    run = mine(gallery, embedder, queries, args.out, ranking=args.ranking, progress=told)
    assert run is not None, "nobody cancels"
    for note in run.notes:
        progress(note)
    data = _written(run, gallery, selection, args)
    return Answer(data, _text(data))


def _gallery(args: Namespace, progress: Progress, told: _Told) -> tuple[Gallery, SalientEmbedder]:
    from ssa_me.failures.binding import binding_gallery
    from ssa_me.gallery.store import Gallery, is_gallery

    if args.binding is not None:
        if args.data is not None or args.queries is not None:
            raise InputError("--binding draws its own images and queries: leave --data and --queries out.")
        embedder = load_embedder(args, progress)
        made = binding_gallery(
            (args.gallery or args.out / "binding").resolve(), args.binding, embedder, progress=told
        )
        assert made is not None, "nobody cancels"
        return made, embedder
    if args.gallery is None:
        raise InputError("Say with --gallery which gallery to run the queries in.")
    if args.data is not None and not args.data.exists():
        raise InputError(f"{args.data} does not exist. Give an ImageFolder set, or a zip of one.")
    folder = args.gallery.resolve()
    if args.data is None or is_gallery(folder):
        gallery = Gallery.open(folder)
        embedder = load_embedder(args, progress, gallery.checkpoint)
    else:
        embedder = load_embedder(args, progress)
        gallery = Gallery.create(folder, folder.name, embedder.info.checkpoint)
    if args.data is not None:
        _index(args.data, gallery, embedder, told)
    return gallery, embedder


def _index(data: Path, gallery: Gallery, embedder: SalientEmbedder, told: _Told) -> None:
    from ssa_me.gallery import ingest

    ingest(
        gallery,
        data,
        embedder,
        progress=lambda now: told(f"{now.stage}: {now.total:,} images", now.done / max(1, now.total)),
    )


def _queries(args: Namespace, gallery: Gallery) -> QuerySet:
    from ssa_me.failures import caption_queries, listed_queries
    from ssa_me.failures.binding import binding_queries, is_binding

    items = gallery.items(0, len(gallery))
    if args.binding is not None or (args.queries is None and is_binding(gallery)):
        return binding_queries(gallery, items)
    if args.queries is None:
        return caption_queries(items)
    try:
        return listed_queries(args.queries.read_bytes(), args.queries.name, items)
    except OSError as error:
        raise InputError(f"{args.queries} cannot be read: {error.strerror}.") from error


def _written(run: FailureRun, gallery: Gallery, selection: Selection, args: Namespace) -> dict[str, Any]:
    """Write the table as CSV and JSON and the report; the answer of `--json`."""
    from ssa_me.failures import measure
    from ssa_me.failures.export import rows_csv, rows_json
    from ssa_me.failures.selection import select
    from ssa_me.failures.slices import tags_of
    from ssa_me.failures.summary import failing_slices, report_html
    from ssa_me.failures.table import counted

    tags = tags_of(run.table)
    rows = select(run.table, selection, tags)
    items = gallery.items(0, len(gallery))
    names = {item.id: item.file_name for item in items}
    measured = measure(run.table, seed=args.seed)
    slices = failing_slices(run.table, tags, selection)
    summary = {
        "gallery": str(gallery.folder),
        "queries": len(run.table),
        "images": run.images,
        "ranking": run.ranking,
        "fingerprints": dict(run.fingerprints),
        **({"titles": dict(run.titles)} if args.against else {}),
        "chance": measured["chance"],
        "models": measured["models"],
        "difference": measured["difference"],
        "k": selection.k,
        "outcomes": counted(run.table, selection.k),
        "slices": [found.to_json() for found in slices],
        "skipped": [{"query": query, "reason": reason} for query, reason in run.skipped],
    }
    files = {name: args.out / f"failures.{name}" for name in ("csv", "json", "html")}
    files["csv"].write_text(rows_csv(run.table, rows, names), encoding="utf-8")
    listed = {**summary, "outcome": selection.outcome, "rows": rows_json(run.table, rows, names)}
    files["json"].write_text(json.dumps(listed, indent=1), encoding="utf-8")
    pictures = {item.id: item.thumbnail for item in items}
    page = report_html(
        run, selection, rows[: max(0, args.rows)], names, pictures, measured, slices, _command(args)
    )
    files["html"].write_text(page, encoding="utf-8")
    return summary | {"rows": len(rows), "files": [str(path) for path in files.values()]}


def _command(args: Namespace) -> str:
    """The call that makes the same again."""
    named = {
        "--data": args.data,
        "--gallery": args.gallery,
        "--out": args.out,
        "--queries": args.queries,
        "--binding": args.binding,
        "--checkpoint": args.checkpoint,
        "--ranking": args.ranking,
        "-k": args.k,
        "--outcome": args.outcome,
    }
    given = [f"{name} {shlex.quote(str(value))}" for name, value in named.items() if value is not None]
    return " ".join(["python -m ssa_me failures", *given])


class _Told:
    """Says how far the work is, a line at every tenth of each part of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._last = progress, ("", -1)

    def __call__(self, what: str, share: float) -> None:
        words = "".join(letter for letter in what if not letter.isdigit())
        now = (words, int(share * 10))
        if now != self._last:
            self._last = now
            self._progress(f"{what} ({share:.0%})")


def _text(data: Mapping[str, Any]) -> str:
    models, differences = data["models"], data["difference"]
    rows = [
        [name, models["baseline"][name], models["ssa-me"][name], interval_text(gap)]
        for name, gap in differences.items()
    ]
    outcomes = ", ".join(f"{count:,} {name.replace('-', ' ')}" for name, count in data["outcomes"].items())
    parts = [
        f"{data['queries']:,} queries on {data['images']:,} images; recall@1 by chance {data['chance']:.1%}",
        table(rows, ["measure", "baseline", "ssa-me", "difference [95 % interval]"]),
        f"with a cut-off of {data['k']}: {outcomes}",
    ]
    if data["slices"]:
        lines = [
            [
                s["column"],
                shortened(s["value"], 30),
                f"{s['failures']} of {s['count']}",
                s["expected"],
                s["q"],
            ]
            for s in data["slices"][:_LISTED]
        ]
        parts.append(table(lines, ["over-represented", "value", "failures", "expected", "q"]))
    if data["skipped"]:
        first = data["skipped"][0]
        parts.append(
            f"{len(data['skipped']):,} queries were skipped, such as {shortened(first['query'])!r}: {first['reason']}"
        )
    return "\n\n".join([*parts, "\n".join(data["files"])])


COMMAND = Command(
    "failures", "find the queries on which one model hits and the other misses", _arguments, _run
)
