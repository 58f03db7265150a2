"""`evaluate`: retrieval and localisation of the models on an ImageFolder set."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssa_me.commands.base import (
    Answer,
    Command,
    Progress,
    image_folder,
    interval_text,
    listing,
    load_embedder,
    table,
)

_RETRIEVAL = ("queries", "recall@1", "recall@5", "recall@10", "median_rank", "ndcg@10")
_LOCALISATION = ("regions", "pointing_game", "energy_pointing_game", "average_precision")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="an ImageFolder set: a folder or a zip"
    )
    parser.add_argument(
        "--models",
        default="both",
        metavar="NAME,…",
        help="baseline, ssa-me, ssa-me+subjects … (default: both)",
    )
    parser.add_argument("--split", metavar="NAME", help="a split, or all (default: test, else val, else all)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.evaluation import evaluate, parse_models

    models = parse_models(args.models)
    with image_folder(args.data) as folder:
        embedder = load_embedder(args, progress)
        found = evaluate(folder, embedder, models, args.split, seed=args.seed, progress=progress)
    found["data"] = str(args.data)
    return Answer(found, _text(found))


def _text(found: Mapping[str, Any]) -> str:
    split = f", split {found['split']}" if "split" in found else ""
    parts = [f"{found['data']}{split}: {found['images']:,} images"]
    models = found["models"]
    for direction in ("text_to_image", "image_to_text"):
        rows = [
            [name, *(m[direction][key] for key in _RETRIEVAL)] for name, m in models.items() if direction in m
        ]
        if rows:
            parts.append(table(rows, [direction.replace("_", " "), *_RETRIEVAL]))
    rows, by_size = [], []
    for name, model in models.items():
        for source, scores in model.get("localisation", {}).items():
            if scores is not None:
                rows.append([name, source, *(scores[key] for key in _LOCALISATION)])
                for size, part in scores["by_size"].items():
                    low, high = (f"{100 * share:g}" for share in part["area"])
                    by_size.append(
                        [
                            name,
                            source,
                            f"{size} ({low}–{high} % of the image)",
                            *(part[key] for key in _LOCALISATION),
                        ]
                    )
    if rows:
        parts.append(table(rows, ["localisation", "map", *_LOCALISATION]))
        parts.append(table(by_size, ["localisation", "map", "region", *_LOCALISATION]))
    for pair, differences in found["difference"].items():
        lines = [[name, interval_text(difference)] for name, difference in differences.items()]
        parts.append(table(lines, [pair, "difference [95 % interval]"]))
    if "skipped" in found:
        parts.append(
            listing([[item["name"], item["reason"]] for item in found["skipped"]], ["skipped", "reason"])
        )
    return "\n\n".join(parts)


COMMAND = Command("evaluate", "measure retrieval and localisation on an ImageFolder set", _arguments, _run)
