"""`ablate`: what each part of the method gives, trained and measured alike."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from ssa_me.commands.base import Answer, Command, Progress
from ssa_me.commands.train import weighted_folders


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe by name, or a file")
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="DIR[=WEIGHT]", help="sets to train on, as for train"
    )
    parser.add_argument(
        "--photographs",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="held-out ImageFolder sets to measure on, beside the generated ones",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where all of it lies; the same call goes on there",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="steps of each adapter (default: the recipe's)"
    )
    parser.add_argument("--n", type=int, default=200, help="size of each generated set (default: 200)")
    parser.add_argument("--seed", type=int, default=7, help="of the generated sets (default: 7)")
    parser.add_argument(
        "--variants", default="", metavar="NAME;…", help="some variants by name (default: all)"
    )


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.ablation import StudyRequest, run_study

    recipe = Path(args.recipe) if Path(args.recipe).is_file() else args.recipe
    names = tuple(name.strip() for name in args.variants.split(";") if name.strip())
    with weighted_folders(args.data) as weights:
        request = StudyRequest(
            recipe=recipe,
            data=tuple(weights),
            out=args.out,
            checkpoint=Path(args.checkpoint) if args.checkpoint else None,
            photographs=tuple(args.photographs),
            device=args.device,
            n=args.n,
            seed=args.seed,
            steps=args.steps,
            variants=names,
            weights=weights,
        )
        found: dict[str, Any] = run_study(request, progress)
    table = found.get("table", found.get("next", ""))
    if found["finished"]:
        (args.out / "table.md").write_text(table, encoding="utf-8")
    return Answer(found, table, done=found["finished"])


COMMAND = Command(
    "ablate", "what each part of the method gives, trained and measured alike", _arguments, _run
)
