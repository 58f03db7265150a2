"""`neglect`: do joint queries of image and text follow both of them?"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ssa_me.commands.base import (
    Answer,
    Command,
    Progress,
    every_tenth,
    interval_text,
    load_embedder,
    table,
)

_EXPLAINED = {
    "hit@1": "hit@1 among all candidates",
    "hit@1_image": "… among those that only the image tells apart",
    "hit@1_text": "… among those that only the text tells apart",
    "errors.ignores_image": "share of errors that ignore the image",
    "errors.ignores_text": "share of errors that ignore the text",
    "errors.neither": "share of errors that ignore both",
    "perceptual_score.image": "perceptual score of the image",
    "perceptual_score.text": "perceptual score of the text",
    "balance": "balance: image less text (0 is even)",
    "imbalance": "imbalance: its size",
    "image_share": "the image's share of both scores",
    "attention_on_image": "attention on the image",
}


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="a folder with neglect.jsonl (default: the task is drawn)"
    )
    parser.add_argument(
        "--n", type=int, default=200, help="scenes to draw, in groups of three (default: 200)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of the scenes, the permutations and the bootstrap (default: 1)"
    )
    parser.add_argument(
        "--colours",
        choices=("own", "shared"),
        default="own",
        help="each subject has a colour of its own, or all scenes of a group show the same three (default: own)",
    )
    parser.add_argument("--models", default="both", metavar="NAME,…", help="baseline, ssa-me (default: both)")
    parser.add_argument(
        "--keep", type=Path, metavar="OUT", help="write the drawn task to this folder and keep it"
    )


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.evaluation import parse_models
    from ssa_me.evaluation.neglect import run_neglect

    models = parse_models(args.models)
    with _task(args, progress) as folder:
        found = run_neglect(folder, load_embedder(args, progress), models, seed=args.seed, progress=progress)
    return Answer(found, _text(found))


@contextmanager
def _task(args: Namespace, progress: Progress) -> Iterator[Path]:
    """The folder of the task: given, or drawn and, unless `--keep` names one, gone afterwards."""
    from ssa_me.scenes.neglect import write_neglect

    if args.data is not None:
        yield args.data
        return
    with TemporaryDirectory(prefix="ssa-me-") as temporary:
        folder = args.keep or Path(temporary)
        told = every_tenth(progress, "groups of scenes drawn")
        write_neglect(folder, args.n, args.seed, told, colours=args.colours)
        yield folder


def _value(model: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    outer, _, inner = name.partition(".")
    found: Mapping[str, Any] | None = model[outer][inner] if inner else model[outer]
    return found


def _shown(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None:
        return "–"
    low, high = estimate["interval"]
    return f"{estimate['value']:.3f} [{low:.3f}, {high:.3f}]"


def _text(found: Mapping[str, Any]) -> str:
    parts = [
        f"{found['queries']:,} queries on {found['images']:,} scenes; chance is {found['chance']:.1%}, and a third among "
        "those that only one modality tells apart"
    ]
    rows = [
        [label, *(_shown(_value(model, name)) for model in found["models"].values())]
        for name, label in _EXPLAINED.items()
    ]
    parts.append(table(rows, ["neglect [95 % interval]", *found["models"]]))
    for pair, differences in found["difference"].items():
        lines = [[_EXPLAINED[name], interval_text(gap)] for name, gap in differences.items()]
        parts.append(table(lines, [pair, "difference [95 % interval]"]))
    return "\n\n".join(parts)


COMMAND = Command("neglect", "measure whether joint queries follow image and text", _arguments, _run)
