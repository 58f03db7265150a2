"""`scenes`: draw scenes of the generated world, or tasks made of them in MMEB's format."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ssa_me.commands.base import Answer, Command, Progress, every_tenth
from ssa_me.errors import InputError


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write to")
    parser.add_argument("--n", type=int, default=500, help="scenes, or queries a binding task (default: 500)")
    parser.add_argument(
        "--seed", type=int, default=1, help="1,000,000 and more are for evaluation (default: 1)"
    )
    parser.add_argument("--binding", action="store_true", help="write the binding tasks in MMEB's format")
    parser.add_argument("--mmeb", action="store_true", help="write a small set with MMEB's four meta-tasks")
    parser.add_argument(
        "--pairs", choices=("seen", "held-out", "all"), default="all", help="colour × subject pairs"
    )
    parser.add_argument(
        "--language", choices=("en", "es", "zh"), default="en", help="of captions and phrases (default: en)"
    )


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.scenes import write_binding, write_scenes
    from ssa_me.scenes.tasks import write_tasks

    tell = every_tenth(progress, "drawn")
    asked = {"out": str(args.out), "seed": args.seed, "pairs": args.pairs}
    where = f"in {args.out} (seed {args.seed}, pairs: {args.pairs})"
    if args.binding and args.mmeb:
        raise InputError("Give either --binding or --mmeb; both write tasks.")
    if (args.binding or args.mmeb) and args.language != "en":
        raise InputError("The tasks are in English: leave out --language, or write scenes.")
    if args.mmeb:
        queries = write_tasks(args.out, args.n, args.seed, pairs=args.pairs, progress=tell)
        return Answer(asked | {"queries": queries}, f"{', '.join(queries)}: {args.n:,} queries each {where}.")
    if args.binding:
        report = write_binding(args.out, args.n, args.seed, pairs=args.pairs, progress=tell)
        data = asked | {"queries": report.queries, "candidates": report.candidates, "chance": report.chance}
        text = f"{', '.join(report.queries)}: {args.n:,} queries each {where}.\n"
        return Answer(data, text + f"{report.candidates} candidates a query: chance is {report.chance:.1%}.")
    records = write_scenes(
        args.out, args.n, args.seed, pairs=args.pairs, progress=tell, language=args.language
    )
    asked["language"] = args.language
    return Answer(asked | {"images": len(records)}, f"{len(records):,} scenes {where}.")


COMMAND = Command("scenes", "draw scenes of the generated world", _arguments, _run)
