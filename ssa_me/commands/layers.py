"""`layers`: which language layers look where a phrase points, and whose attention to read from now on."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssa_me.commands.base import Answer, Command, Progress, image_folder, load_embedder, table
from ssa_me.errors import InputError


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="an ImageFolder set with regions, or a zip of one",
    )
    parser.add_argument(
        "--by",
        default="backbone",
        metavar="VERSION",
        help="whose attention chooses: backbone, baseline or ssa-me (default: backbone, which relevance reads)",
    )
    parser.add_argument("--split", metavar="NAME", help="a split, or all (default: test, else val, else all)")
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many images")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the chosen layers into the checkpoint's ssa-me/ssa_me.json",
    )


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.checkpoint import SSA_ME, write_layers
    from ssa_me.layers import choose_layers

    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit is {args.limit}. Give 1 or more.")
    with image_folder(args.data) as folder:
        embedder = load_embedder(args, progress)
        if args.write and not embedder.info.trained[SSA_ME]:
            raise InputError(
                f"{embedder.info.checkpoint} holds no ssa-me/ to write layers into. Train it first."
            )
        found = choose_layers(folder, embedder, args.by, args.split, limit=args.limit, progress=progress)
    found["data"] = str(args.data)
    found["written"] = args.write
    if args.write:
        write_layers(Path(embedder.info.checkpoint) / SSA_ME, found["chosen"])
        progress("The checkpoint is another one now: index galleries of it again.")
    return Answer(found, _text(found))


def _text(found: Mapping[str, Any]) -> str:
    versions = list(found["held_out"]["chosen"])
    header = [f"{version} {name}" for version in versions for name in ("AUROC", "pointing")]
    rows = [[row["layer"], *_numbers(row, versions)] for row in found["layers"]]
    sets = [
        [
            name,
            _listing(found[name]) if name in found else "all",
            *_numbers(found["held_out"][name], versions),
        ]
        for name in ("chosen", "now", "all")
    ]
    written = "written into ssa-me/ssa_me.json" if found["written"] else "not written (--write)"
    return "\n\n".join(
        [
            f"{found['data']}: {found['images']:,} images, {found['regions']:,} regions",
            table(rows, ["layer", *header]),
            f"chosen by the attention of {found['chosen_by']} on one half, scored on the other "
            f"({found['held_out']['regions']:,} regions); {written}",
            table(sets, ["set", "layers", *header]),
        ]
    )


def _numbers(scores: Mapping[str, Any], versions: list[str]) -> list[float | None]:
    return [scores[version][name] for version in versions for name in ("auroc", "pointing_game")]


def _listing(layers: list[int]) -> str:
    return ", ".join(map(str, layers))


COMMAND = Command("layers", "choose the language layers whose attention is read", _arguments, _run)
