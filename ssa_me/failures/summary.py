"""What a run comes to for people: the slices of its failures, and the report of a selection as one HTML file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ssa_me.failures.mining import FailureRun
from ssa_me.failures.report import (
    OUTCOME_TITLES,
    Section,
    measures_section,
    outcomes_section,
    rows_section,
    slices_section,
)
from ssa_me.failures.selection import Selection
from ssa_me.failures.slices import Slice, Tags, over_represented
from ssa_me.failures.table import FailureTable, counted

WRONG = "queries that SSA-ME misses"


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
) -> str:
    """The report of `rows` as one HTML page that needs no other file. names, pictures: of the gallery's images by id."""
    what = OUTCOME_TITLES[selection.outcome]
    sections = [
        measures_section(measured),
        outcomes_section(counted(run.table, selection.k), selection.k),
        slices_section(slices, WRONG if selection.outcome == "all" else what),
        rows_section((run.table.row(int(at)) for at in rows), names, pictures.get, what),
        _origin(run, selection),
    ]
    return _page(f"Failures: {run.name} of {run.gallery}", sections)


def _origin(run: FailureRun, selection: Selection) -> Section:
    prints = ", ".join(f"{version} {fingerprint}" for version, fingerprint in run.fingerprints.items())
    command = (
        f"python -m ssa_me failures --gallery {shlex.quote(run.gallery)} --out OUT --ranking {run.ranking} "
        f"-k {selection.k} --outcome {selection.outcome}"
    )
    return "How to make it again", f"<p>Models: {escape(prints)}.</p><pre>{escape(command)}</pre>"


_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:32px auto;padding:0 20px;color:#1b1d21;background:#fff}
h1{font-size:24px}h2{font-size:17px;margin-top:32px}table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid #e3e3df;vertical-align:top}th{color:#5d626b;font-weight:500}
img{border-radius:6px;display:block}p,small{color:#5d626b}pre{background:#f7f7f5;padding:10px;overflow:auto}
@media(prefers-color-scheme:dark){body{background:#141518;color:#ecedef}td,th{border-color:#2e3137}pre{background:#1c1e22}}"""


def _page(title: str, sections: Sequence[Section]) -> str:
    body = "".join(f"<section><h2>{escape(heading)}</h2>{html}</section>" for heading, html in sections)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>\n'
    )
