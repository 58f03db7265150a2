"""What a run comes to for people: the slices of its failures, and the report of a selection as one HTML file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssa_me.failures.mining import FailureRun
from ssa_me.failures.selection import Selection
from ssa_me.failures.slices import Slice, Tags, over_represented
from ssa_me.failures.table import FailureRow, FailureTable, counted
from ssa_me.figures import sheet
from ssa_me.images import load_image
from ssa_me.report import Markup, Section, code, facts, figure, note, page, paragraph, table

TITLES = {
    "all": "All queries",
    "fixed": "Fixed by SSA-ME",
    "broken": "Broken by SSA-ME",
    "both-wrong": "Both wrong",
    "both-right": "Both right",
}
MEASURES = {
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "ndcg@10": "nDCG@10",
    "mean_rank": "mean rank (lower is better)",
}
_MISSED = "Missed by SSA-ME"
_SIDE = 128
_ALIGNED = {None: "", True: ", misaligned", False: ", aligned"}


def failing_slices(table: FailureTable, tags: Tags, selection: Selection) -> list[Slice]:
    """What is over-represented among the queries of the selection's outcome; without one, among those that SSA-ME
    misses."""
    if selection.outcome == "all":
        return over_represented(tags, table.numbers["rank_ssa_me"] > selection.k)
    return over_represented(tags, table.outcome(selection.outcome, selection.k))


def report_html(
    run: FailureRun,
    selection: Selection,
    rows: np.ndarray | Sequence[int],
    names: Mapping[int, str],
    pictures: Mapping[int, Path],
    measured: Mapping[str, Any],
    slices: Sequence[Slice],
    command: str,
) -> str:
    """The report of `rows` as one HTML page that needs no other file. names, pictures: files of the gallery's images by
    id; command: what makes the run again, "" where none does."""
    what = _named(TITLES[selection.outcome], run)
    failing = _named(_MISSED, run) if selection.outcome == "all" else what
    shown = [figure(*drawn, width=None) for drawn in _drawn(run, rows, names, pictures)]
    sections = [
        Section("Measures", _measures(run, measured)),
        Section(f"Outcomes at {selection.k}", _outcomes(run, counted(run.table, selection.k))),
        Section(f"{failing}: what they have in common", _slices(slices)),
        Section(f"{what}: queries", tuple(shown) or (paragraph("There is none."),)),
        Section("How to make it again", _origin(run, command)),
    ]
    return page(
        f"Failures: {run.name} of {run.gallery}",
        sections,
        f"{len(run.table):,} queries on {run.images:,} images",
    )


def _measures(run: FailureRun, measured: Mapping[str, Any]) -> tuple[Markup, ...]:
    rows: list[list[str | float]] = []
    for name, title in MEASURES.items():
        gap = measured["difference"][name]
        low, high = gap["interval"]
        models = [float(measured["models"][version][name]) for version in ("baseline", "ssa-me")]
        rows.append([title, *models, f"{gap['value']:+.3f} [{low:+.3f}, {high:+.3f}]"])
    said = (
        f"recall@1 by chance is {measured['chance']:.1%}. Ranks are pessimistic under ties; intervals are 95 %, paired "
        "bootstrap clustered by image or scene."
    )
    first, second = run.titles["baseline"], run.titles["ssa-me"]
    return table(["", first, second, f"{second} − {first}"], rows), note(said)


def _outcomes(run: FailureRun, counts: Mapping[str, int]) -> tuple[Markup, ...]:
    rows: list[list[str | float]] = [[_named(TITLES[name], run), count] for name, count in counts.items()]
    return (table(["Outcome", "Queries"], rows),)


def _named(text: str, run: FailureRun) -> str:
    """One of the texts here, with the name that SSA-ME has in the run."""
    return text.replace("SSA-ME", run.titles["ssa-me"])


def _slices(slices: Sequence[Slice]) -> tuple[Markup, ...]:
    if not slices:
        return (paragraph("No word, colour, subject, size or other value is over-represented."),)
    rows: list[list[str | float]] = [
        [f"{s.column}: {s.value}", f"{s.failures} of {s.count}", round(s.expected, 1), s.lift, s.q]
        for s in slices
    ]
    said = "Fisher's exact test, one-sided; q by Benjamini and Hochberg over all values that were tested."
    return table(["Value", "Queries", "Expected", "Lift", "q"], rows), note(said)


def _origin(run: FailureRun, command: str) -> tuple[Markup, ...]:
    models = {f"Model: {run.titles.get(v, v)}": print for v, print in run.fingerprints.items()}
    return (facts(models), code(command)) if command else (facts(models),)


def _drawn(
    run: FailureRun,
    rows: Iterable[int] | np.ndarray,
    names: Mapping[int, str],
    pictures: Mapping[int, Path],
) -> Iterator[tuple[bytes, str]]:
    """A PNG a row, the right image beside what each model puts first, and what is said of it."""
    for at in rows:
        row = run.table.row(int(at))
        panels = [
            (title, _picture(pictures.get(id)))
            for title, id in (
                ("right", row.target),
                (f"{run.titles['baseline']} #1", row.top_baseline),
                (f"{run.titles['ssa-me']} #1", row.top_ssa_me),
            )
        ]
        buffer = io.BytesIO()
        few = Image.fromarray(sheet(panels)).quantize(128, method=Image.Quantize.FASTOCTREE)
        few.save(buffer, "PNG")
        yield buffer.getvalue(), _said(row, names, run.titles)


def _said(row: FailureRow, names: Mapping[int, str], titles: Mapping[str, str]) -> str:
    fit = "no region for its subject" if row.alignment is None else f"alignment {row.alignment:.2f}"
    return (
        f"“{row.query}”: {titles['baseline']}'s rank {row.rank_baseline:,}, {titles['ssa-me']}'s {row.rank_ssa_me:,} "
        f"({row.gain:+,}); {row.kind}; "
        f"{fit}{_ALIGNED[row.misaligned]}; {names.get(row.target, row.target)}"
    )


def _picture(path: Path | None) -> np.ndarray:
    """A thumbnail within a white square of `_SIDE` pixels; the square alone where there is none."""
    square = Image.new("RGB", (_SIDE, _SIDE), "white")
    if path is not None and path.is_file():
        image = load_image(path)
        image.thumbnail((_SIDE, _SIDE))
        square.paste(image, ((_SIDE - image.width) // 2, (_SIDE - image.height) // 2))
    return np.asarray(square)
