"""`mmeb`: hit@1 by MMEB's protocol on local data, the binding tasks included."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from ssa_me.commands.base import Answer, Command, Progress, interval_text, load_embedder, table


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="a folder with SUBSET.jsonl or .parquet and their images"
    )
    parser.add_argument("--subsets", default="all", metavar="a,b|all", help="subsets by name (default: all)")
    parser.add_argument(
        "--models",
        default="both",
        metavar="NAME,…",
        help="baseline, ssa-me, ssa-me+subjects … (default: both)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.evaluation import parse_models, run_mmeb
    from ssa_me.evaluation.mmeb import check_local
    from ssa_me.evaluation.mmeb_data import subset_files

    models = parse_models(args.models)
    subset_files(check_local(args.data))
    subsets = (
        None
        if args.subsets == "all"
        else list(dict.fromkeys(name.strip() for name in args.subsets.split(",")))
    )
    found = run_mmeb(
        args.data, load_embedder(args, progress), models, subsets, seed=args.seed, progress=progress
    )
    return Answer(found, _text(found))


def _text(found: Mapping[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, model in found["models"].items():
        for subset, score in model["subsets"].items():
            low, high = score["interval"]
            rows.append(
                [
                    subset,
                    name,
                    score["hit@1"],
                    f"[{low:.3f}, {high:.3f}]",
                    score["chance"],
                    score["queries"],
                    score["ties"],
                ]
            )
    parts = [
        table(
            sorted(rows, key=lambda row: str(row[0])),
            ["subset", "model", "hit@1", "95 %", "chance", "queries", "ties"],
        )
    ]
    means: list[list[object]] = []
    for name, model in found["models"].items():
        labelled = model["meta_tasks"] | {
            key: model[key] for key in ("ind", "ood", "overall") if key in model
        }
        means.extend([label, name, mean] for label, mean in labelled.items())
    parts.append(table(means, ["mean of subsets", "model", "hit@1"]))
    for pair, differences in found["difference"].items():
        lines = [[name, interval_text(difference)] for name, difference in differences.items()]
        parts.append(table(lines, [pair, "difference [95 % interval]"]))
    return "\n\n".join([*parts, *found.get("notes", [])])


COMMAND = Command("mmeb", "hit@1 by MMEB's protocol on local data", _arguments, _run)
