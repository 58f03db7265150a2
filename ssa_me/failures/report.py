"""What a report of failures says: measures with intervals, outcomes, slices, and the first rows with their images.

Sections of HTML with every value escaped; images are data URLs, so that a page made of them needs nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ssa_me.failures.slices import Slice
from ssa_me.failures.table import FailureRow

Section = tuple[str, str]
"""A heading, and HTML below it."""
OUTCOME_TITLES = {
    "all": "all queries",
    "fixed": "fixed by SSA-ME",
    "broken": "broken by SSA-ME",
    "both-wrong": "both wrong",
    "both-right": "both right",
}
_MEASURES = {
    "recall@1": "recall@1",
    "recall@5": "recall@5",
    "recall@10": "recall@10",
    "ndcg@10": "nDCG@10",
    "mean_rank": "mean rank (lower is better)",
}


def measures_section(measured: Mapping[str, Any]) -> Section:
    """`measured` as `measure` gives it."""
    rows = []
    for name, title in _MEASURES.items():
        gap = measured["difference"][name]
        low, high = gap["interval"]
        models = [f"{measured['models'][version][name]:.3f}" for version in ("baseline", "ssa-me")]
        rows.append([title, *models, f"{gap['value']:+.3f} [{low:+.3f}, {high:+.3f}]"])
    note = (
        f"<p>{measured['queries']:,} queries; recall@1 by chance {measured['chance']:.1%}. Ranks are pessimistic under "
        "ties; intervals are 95 %, paired bootstrap clustered by image or scene.</p>"
    )
    return "Measures", html_table(["", "Baseline", "SSA-ME", "SSA-ME − baseline"], rows) + note


def outcomes_section(counts: Mapping[str, int], k: int) -> Section:
    """How many queries have each outcome at the cut-off `k`."""
    rows = [[OUTCOME_TITLES[name], f"{count:,}"] for name, count in counts.items()]
    return f"Outcomes at {k}", html_table(["Outcome", "Queries"], rows)


def slices_section(slices: Sequence[Slice], what: str) -> Section:
    """The properties that are more frequent among `what`."""
    if not slices:
        return (
            f"Slices of {what}",
            "<p>No word, colour, subject, size or other value is over-represented.</p>",
        )
    rows = [
        [s.column, s.value, f"{s.failures} of {s.count}", f"{s.expected:.1f}", f"{s.lift:.2f}", f"{s.q:.2g}"]
        for s in slices
    ]
    header = ["Column", "Value", "Queries", "Expected", "Lift", "q"]
    note = (
        "<p>Fisher's exact test, one-sided; q by Benjamini and Hochberg over all values that were tested.</p>"
    )
    return f"Slices of {what}", html_table(header, rows) + note


def rows_section(
    rows: Iterable[FailureRow], names: Mapping[int, str], picture: Callable[[int], Path | None], what: str
) -> Section:
    """A line a row with the right image and what each model puts first. names: id → what an image is called; picture:
    id → its thumbnail, None where there is none."""
    lines = [
        [
            _figure(row.query, row.kind),
            *(_image(id, names, picture) for id in (row.target, row.top_baseline, row.top_ssa_me)),
            _html(f"{row.rank_baseline:,} → <b>{row.rank_ssa_me:,}</b>"),
            f"{row.gain:+,}",
            "–" if row.alignment is None else f"{row.alignment:.2f}",
            {None: "–", True: "misaligned", False: "aligned"}[row.misaligned],
        ]
        for row in rows
    ]
    header = ["Query", "Right", "Baseline's first", "SSA-ME's first", "Rank", "Gain", "Alignment", ""]
    if not lines:
        return f"Queries: {what}", "<p>There is none.</p>"
    return f"Queries: {what}", html_table(header, lines)


class _Html(str):
    """Text that is HTML already."""


def _html(text: str) -> _Html:
    return _Html(text)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; every cell is escaped unless it is HTML that this module made."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in header)
    lines = (
        "<tr>"
        + "".join(f"<td>{cell if isinstance(cell, _Html) else escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _figure(query: str, kind: str) -> _Html:
    return _html(f"<strong>{escape(query)}</strong><br><small>{escape(kind)}</small>")


def _image(id: int, names: Mapping[int, str], picture: Callable[[int], Path | None]) -> _Html:
    name = escape(names.get(id, str(id)), quote=True)
    path = picture(id)
    if path is None or not path.is_file():
        return _html(name)
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return _html(f'<img src="data:image/jpeg;base64,{data}" alt="{name}" title="{name}" width="96">')
