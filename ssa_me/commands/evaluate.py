"""`evaluate`: retrieval and localisation of the models on an ImageFolder set."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
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
_CONDITIONED = ("images", "phrases", "own", "other", "maps_differ", "all_own")
_LISTS = ("subjects listed by the language model: images", "precision", "recall", "exact")
_LOCALISATION = ("regions", "pointing_game", "energy_pointing_game", "average_precision")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="ImageFolder sets: folders or zips; several are compared, such as the same scenes in several languages",
    )
    parser.add_argument(
        "--models",
        default="both",
        metavar="NAME,…",
        help="baseline, ssa-me, ssa-me+subjects … (default: both)",
    )
    parser.add_argument("--split", metavar="NAME", help="a split, or all (default: test, else val, else all)")
    parser.add_argument(
        "--localisation-controls",
        action="store_true",
        help="hold maps against chance, a centre prior, raw attention, gradients and the OpenCV expert",
    )
    parser.add_argument(
        "--shorter-phrases",
        action="store_true",
        help="look for regions, and images, by less than their phrase: all dogs by `the dog`",
    )
    parser.add_argument(
        "--subject-lists",
        action="store_true",
        help="also let the language model list the subjects of every image that has some (slow)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.evaluation import evaluate, parse_models

    models = parse_models(args.models)
    embedder = None
    sets = []
    for source in args.data:
        with image_folder(source) as folder:
            embedder = embedder or load_embedder(args, progress)
            found = evaluate(
                folder,
                embedder,
                models,
                args.split,
                seed=args.seed,
                progress=progress,
                controls=args.localisation_controls,
                listing=args.subject_lists,
                shorter=args.shorter_phrases,
            )
        sets.append(found | {"data": str(source)})
    if len(sets) == 1:
        return Answer(sets[0], _text(sets[0]))
    return Answer({"sets": sets}, "\n\n".join([_side_by_side(sets), *map(_text, sets)]))


def _side_by_side(sets: Sequence[Mapping[str, Any]]) -> str:
    """Retrieval on all sets in one table: a line a set, direction and model."""
    rows = [
        [_title(found), direction.replace("_", " "), name, *(model[direction][key] for key in _RETRIEVAL)]
        for direction in ("text_to_image", "image_to_text")
        for found in sets
        for name, model in found["models"].items()
        if direction in model
    ]
    return table(rows, ["data", "retrieval", "model", *_RETRIEVAL])


def _title(found: Mapping[str, Any]) -> str:
    return f"{found['data']} ({found['language']})" if "language" in found else str(found["data"])


def _text(found: Mapping[str, Any]) -> str:
    split = f", split {found['split']}" if "split" in found else ""
    parts = [f"{_title(found)}{split}: {found['images']:,} images"]
    models = found["models"]
    for direction in ("text_to_image", "image_to_text"):
        rows = [
            [name, *(m[direction][key] for key in _RETRIEVAL)] for name, m in models.items() if direction in m
        ]
        if rows:
            parts.append(table(rows, [direction.replace("_", " "), *_RETRIEVAL]))
    parts += _localisation(models, found.get("localisation", {}))
    parts += _conditioned(models)
    swapped = [[name, *m["relation_swap"].values()] for name, m in models.items() if "relation_swap" in m]
    if swapped:
        parts.append(table(swapped, ["relation swap (chance 0.5)", "pairs", "accuracy"]))
    by_kind = [[name, *m["by_kind"].values()] for name, m in models.items() if "by_kind" in m]
    if by_kind:
        parts.append(table(by_kind, ["images by the kind alone", "queries", "mean average precision"]))
    if "subjects" in found:
        parts.append(table([list(found["subjects"].values())], _LISTS))
    for pair, differences in found["difference"].items():
        lines = [[name, interval_text(difference)] for name, difference in differences.items()]
        parts.append(table(lines, [pair, "difference [95 % interval]"]))
    if "skipped" in found:
        parts.append(
            listing([[item["name"], item["reason"]] for item in found["skipped"]], ["skipped", "reason"])
        )
    return "\n\n".join(parts)


def _localisation(models: Mapping[str, Any], held: Mapping[str, Any]) -> list[str]:
    """Each model's maps, the controls that they are held against, and the same by size of region."""
    maps = [
        (name, source, scores)
        for name, model in models.items()
        for source, scores in model.get("localisation", {}).items()
        if source != "conditioned" and scores is not None
    ]
    maps += [
        ("control", name, scores) for name, scores in held.get("controls", {}).items() if scores is not None
    ]
    if not maps:
        return []
    rows = [[name, source, *(scores[key] for key in _LOCALISATION)] for name, source, scores in maps]
    by_size: list[list[object]] = []
    for name, source, scores in maps:
        for size, part in scores["by_size"].items():
            low, high = (f"{100 * share:g}" for share in part["area"])
            region = f"{size} ({low}–{high} % of the image)"
            by_size.append([name, source, region, *(part[key] for key in _LOCALISATION)])
    parts = [
        table(rows, ["localisation", "map", *_LOCALISATION]),
        table(by_size, ["localisation", "map", "region", *_LOCALISATION]),
    ]
    gaps = [
        [pair, *(interval_text(measures[key]) if key in measures else "–" for key in _LOCALISATION[1:])]
        for pair, measures in held.get("difference", {}).items()
    ]
    return [*parts, table(gaps, ["difference [95 % interval]", *_LOCALISATION[1:]])] if gaps else parts


def _conditioned(models: Mapping[str, Any]) -> list[str]:
    """Whether the maps of an image's several phrases point each into its own region."""
    rows = [
        [name, source, *(scores[key] for key in _CONDITIONED)]
        for name, model in models.items()
        for source, scores in model.get("localisation", {}).get("conditioned", {}).items()
    ]
    return [table(rows, ["several phrases of an image", "map", *_CONDITIONED])] if rows else []


COMMAND = Command("evaluate", "measure retrieval and localisation on an ImageFolder set", _arguments, _run)
