"""`train`: train the models on ImageFolder sets and on pairs by a recipe."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ssa_me.commands.base import Answer, Command, Progress, image_folder
from ssa_me.errors import InputError


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="DIR[=WEIGHT]",
        help="ImageFolder sets, folders or zips, and folders of pairs in MMEB's training format; a weight says how often "
        "a batch is drawn from a set (default: 1)",
    )
    parser.add_argument(
        "--recipe",
        default="fine-tune",
        metavar="NAME|FILE",
        help="a recipe by name, or a file (default: fine-tune)",
    )
    parser.add_argument(
        "--held-out",
        type=Path,
        metavar="DIR",
        help="an ImageFolder that the log is told of where the recipe has [held_out] (default: val and test of --data)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="becomes a checkpoint folder")
    parser.add_argument(
        "--resume", action="store_true", help="go on where --out was left; starts anew where nothing is"
    )
    parser.add_argument("--max-steps", type=int, metavar="N", help="stop after N steps of each stage")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and train nothing")


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.hub import locate
    from ssa_me.training import TrainRequest, run

    if args.max_steps is not None and args.max_steps < 1:
        raise InputError(f"--max-steps is {args.max_steps}; give 1 or more.")
    recipe = Path(args.recipe) if Path(args.recipe).is_file() else args.recipe
    with weighted_folders(args.data) as weights:
        request = TrainRequest(
            data=tuple(weights),
            weights=weights,
            recipe=recipe,
            out=args.out,
            checkpoint=locate(args.checkpoint) if args.checkpoint else None,
            device=args.device,
            resume=args.resume,
            max_steps=args.max_steps,
            dry_run=args.dry_run,
            held_out=args.held_out,
        )
        summary = run(request, progress)
    return Answer(summary, "\n".join(_lines(summary)), done=bool(summary.get("finished", args.dry_run)))


@contextmanager
def weighted_folders(sources: Sequence[str]) -> Iterator[dict[Path, float]]:
    """`DIR` or `DIR=WEIGHT` → folder and weight; zips are unpacked for as long as the context lasts."""
    with ExitStack() as unpacked:
        given = [_weighted(source) for source in sources]
        yield {unpacked.enter_context(image_folder(source)): weight for source, weight in given}


def _weighted(source: str) -> tuple[Path, float]:
    """`DIR=WEIGHT`, or a folder alone, which may have a = in its name."""
    folder, sign, weight = source.rpartition("=")
    if not sign or Path(source).exists():
        return Path(source), 1.0
    try:
        value = float(weight)
    except ValueError:
        return Path(source), 1.0
    if not 0 < value < float("inf"):
        raise InputError(f"The weight in {source} must be above 0.")
    return Path(folder), value


def _lines(summary: Mapping[str, Any], indent: str = "") -> list[str]:
    """`key: value` a line, tables indented below their key; what is empty is left out."""
    lines: list[str] = []
    for key, value in summary.items():
        if isinstance(value, Mapping):
            nested = _lines(value, f"{indent}  ")
            lines += [f"{indent}{key}:", *nested] if nested else []
        elif isinstance(value, list):
            items = [
                ", ".join(map(str, item.values())) if isinstance(item, Mapping) else str(item)
                for item in value
            ]
            lines += [f"{indent}{key}: {'; '.join(items)}"] if items else []
        elif value not in ("", None):
            lines.append(f"{indent}{key}: {value}")
    return lines


COMMAND = Command("train", "train the models on ImageFolder sets", _arguments, _run)
