"""`mmeb`: hit@1 by MMEB's protocol: MMEB itself from the hub, a local copy, or tasks of the generated world."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssa_me.commands.base import Answer, Command, Progress, interval_text, load_embedder, table

HUB = "hub"


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR|hub",
        help="a folder with SUBSET.jsonl or .parquet and their images; hub downloads MMEB's evaluation set",
    )
    parser.add_argument("--subsets", default="all", metavar="a,b|all", help="subsets by name (default: all)")
    parser.add_argument(
        "--models",
        default="both",
        metavar="NAME,…",
        help="baseline, ssa-me, ssa-me+subjects … (default: both)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("workspace", "mmeb"),
        metavar="DIR",
        help="keeps embeddings, and what hub downloads; a run that was stopped goes on (default: workspace/mmeb)",
    )
    parser.add_argument("--no-cache", action="store_true", help="neither read nor keep embeddings")
    parser.add_argument(
        "--strict", action="store_true", help="stop at a missing image (default: its queries count as missed)"
    )


def _online(args: Namespace) -> bool:
    return bool(args.data == HUB)


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.evaluation import parse_models, run_mmeb
    from ssa_me.evaluation.mmeb_data import subset_files
    from ssa_me.evaluation.mmeb_hub import fetch

    models = parse_models(args.models)
    names = None if args.subsets == "all" else [name.strip() for name in args.subsets.split(",")]
    data = fetch(args.cache / "MMEB-eval", names, progress) if args.data == HUB else Path(args.data)
    subset_files(data)
    found = run_mmeb(
        data,
        load_embedder(args, progress),
        models,
        names,
        seed=args.seed,
        progress=progress,
        cache=None if args.no_cache else args.cache,
        strict=args.strict,
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
    parts += _published(found)
    for subset, lost in found.get("missing_images", {}).items():
        named = ", ".join(lost["images"][:5]) + (" …" if len(lost["images"]) > 5 else "")
        parts.append(
            f"{subset}: {lost['queries']:,} queries count as missed, for {len(lost['images']):,} images are missing or "
            f"damaged: {named}"
        )
    return "\n\n".join([*parts, *found.get("notes", [])])


def _published(found: Mapping[str, Any]) -> list[str]:
    """The models of this run in one table with what others published, where MMEB's own subsets were run."""
    if "published" not in found:
        return []
    tasks = ("Classification", "VQA", "Retrieval", "Grounding")
    groups = ("ind", "ood", "overall")

    def row(name: str, size: str, scores: Mapping[str, Any], source: str) -> list[object]:
        by_task = [scores["meta_tasks"].get(task) for task in tasks]
        return [name, size, *by_task, *(scores.get(group) for group in groups), source]

    ours = [row(name, "", scores, "this run") for name, scores in found["models"].items()]
    theirs = [row(p["model"], p["size"], p, p["source"]) for p in found["published"]]
    note = "Published means are over all 36 subsets; those of this run over the subsets that it was given."
    return [table([*ours, *theirs], ["model", "size", *tasks, *groups, "source"]), note]


COMMAND = Command("mmeb", "hit@1 by MMEB's protocol", _arguments, _run, _online)
