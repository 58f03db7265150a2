"""Writes the tables of a document anew out of what `mmeb`, `evaluate` and `neglect` printed with `--json`.

    python -m benchmarks.results_tables FOLDER docs/results.md assets/mini/README.md

A table stands behind a line `<!-- NAME KIND -->`; it is made of FOLDER/NAME.json, and stays where there is no such file. It
measures nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssa_me.ablation.scores import at

Found = Mapping[str, Any]
_MARKED = re.compile(r"(?m)^<!-- (?P<name>\S+) (?P<kind>\w+) -->\n\n?(?:\|.*\n)*")
_BOTH = "ssa-me - baseline"
_DIRECTIONS = {"text_to_image": "text to image", "image_to_text": "image to text"}
_MAPS = {
    "attention": "attention on the named region",
    "salience": "salience on the named region",
    "query_free": "query-free map on any subject",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first, *rest = (f"| {' | '.join(row)} |\n" for row in [head, *rows])
    return "".join([first, "|---" * len(head) + "|\n", *rest])


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def points(gap: Found | None) -> str:
    """A difference in points with its interval."""
    if gap is None:
        return ""
    value, low, high = (f"{100 * x:+.1f}" for x in (gap["value"], *gap["interval"]))
    return f"{value} [{low}, {high}]"


def hits(found: Found) -> str:
    """hit@1 by task."""
    models = found["models"]
    tasks = list(next(iter(models.values()))["subsets"])
    rows = [
        [name, *(percent(model["subsets"][t]["hit@1"]) for t in tasks), percent(model["overall"])]
        for name, model in models.items()
    ]
    return table(["hit@1, %", *(t.removeprefix("binding_") for t in tasks), "all"], rows)


def differences(found: Found) -> str:
    """Between models, by task."""
    gaps = found["difference"]
    parts = list(next(iter(gaps.values())))
    names = ["all" if p == "overall" else p.split(".")[1].removeprefix("binding_") for p in parts]
    rows = [[pair, *(points(gap.get(part)) for part in parts)] for pair, gap in gaps.items()]
    return table(["difference, points [95 %]", *names], rows)


def scores(found: Found) -> str:
    """Retrieval, localisation and relation swap of both models, as far as the data give them."""
    baseline, ours = (found["models"][name] for name in ("baseline", "ssa-me"))
    gaps, rows = found["difference"][_BOTH], []

    def row(label: str, path: Sequence[str]) -> None:
        values = [at(model, path) for model in (baseline, ours)]
        if values != [None, None]:
            rows.append([label, *map(percent, values), points(gaps.get(".".join(path))) or "–"])

    for direction, said in _DIRECTIONS.items():
        for k in (1, 10):
            row(f"{said} recall@{k}", (direction, f"recall@{k}"))
    for kind, said in _MAPS.items():
        counted = (
            f" ({ours['localisation'][kind]['regions']})"
            if kind == "attention" and "localisation" in ours
            else ""
        )
        row(f"{said}{counted}, pointing game", ("localisation", kind, "pointing_game"))
    row("images by the kind alone, mean average precision", ("by_kind", "map"))
    row("relation swap, accuracy (chance 50)", ("relation_swap", "accuracy"))
    return table(["%", "baseline", "ssa-me", "difference, points [95 %]"], rows)


def controls(found: Found) -> str:
    """Pointing game of maps by the size of regions, and what salience is held against."""
    maps = {
        "SSA-ME's salience": found["models"]["ssa-me"]["localisation"]["salience"],
        "SSA-ME's attention": found["models"]["ssa-me"]["localisation"]["attention"],
        "baseline's attention": found["models"]["baseline"]["localisation"]["attention"],
        **found["localisation"]["controls"],
    }
    sizes = maps["SSA-ME's salience"]["by_size"]
    gaps = found["localisation"]["difference"]
    rows = [
        [
            name,
            percent(one["pointing_game"]),
            *(percent(one["by_size"][size]["pointing_game"]) for size in sizes),
            points(gaps.get(f"salience - {name}", {}).get("pointing_game")),
        ]
        for name, one in maps.items()
    ]
    counted = [f"{size} ({part['regions']})" for size, part in sizes.items()]
    return table(["pointing game, %", "all", *counted, "salience less this, points [95 %]"], rows)


def conditioned(found: Found) -> str:
    """Where the maps of several phrases of one image point."""
    models = found["models"]
    shown = {
        "baseline's attention": models["baseline"]["localisation"]["conditioned"]["attention"],
        "SSA-ME's attention": models["ssa-me"]["localisation"]["conditioned"]["attention"],
        "SSA-ME's salience": models["ssa-me"]["localisation"]["conditioned"]["salience"],
    }
    rows = [
        [name, *(percent(one[key]) for key in ("own", "other", "maps_differ"))] for name, one in shown.items()
    ]
    head = ["several phrases of one image: the map points into", "its own region", "another's", "maps differ"]
    return table(head, rows)


def neglect(found: Found) -> str:
    """Every measure of the neglect task."""
    gaps = found["difference"][_BOTH]

    def number(estimate: Found | None) -> str:
        return "–" if estimate is None else f"{estimate['value']:.3f}"

    rows = []
    for name, gap in gaps.items():
        values = [number(at(found["models"][model], name.split("."))) for model in ("baseline", "ssa-me")]
        low, high = gap["interval"]
        rows.append([name, *values, f"{gap['value']:+.3f} [{low:+.3f}, {high:+.3f}]"])
    return table(["", "baseline", "ssa-me", "difference [95 %]"], rows)


KINDS: Mapping[str, Callable[[Found], str]] = {
    function.__name__: function for function in (hits, differences, scores, controls, conditioned, neglect)
}


def renewed(text: str, folder: Path) -> str:
    """The document with those tables made anew whose files `folder` holds."""

    def table_of(match: re.Match[str]) -> str:
        file = folder / f"{match['name']}.json"
        if not file.is_file():
            return match[0]
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SystemExit(f"{file} is no JSON ({error}). Run the command that makes it again.") from error
        return f"<!-- {match['name']} {match['kind']} -->\n\n{KINDS[match['kind']](found)}"

    return _MARKED.sub(table_of, text)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("documents", type=Path, nargs="+")
    args = parser.parse_args()
    for document in args.documents:
        document.write_text(renewed(document.read_text(encoding="utf-8"), args.folder), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
