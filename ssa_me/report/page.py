"""A self-contained HTML page made of sections: text, tables, pictures. It knows nothing of what is reported.

Whatever is put in is text and is escaped; markup comes from this module's functions alone. Pictures are embedded, no
script runs, and the page's own policy forbids that anything is fetched.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NewType

Markup = NewType("Markup", str)
"""HTML that a function of this module made: safe to put into a page."""
Cell = str | float | int | None
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1d21; --quiet: #5d626b; --line: #e3e3df; --soft: #f4f4f1; }
@media (prefers-color-scheme: dark) { :root { --paper: #141518; --ink: #ecedef; --quiet: #a2a7b0; --line: #2e3137; --soft: #1c1e22; } }
body { margin: 0 auto; padding: 28px 24px 48px; max-width: 1080px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0 0 4px; font-size: 24px; line-height: 1.25; } h2 { margin: 34px 0 10px; padding-top: 12px; font-size: 17px; border-top: 1px solid var(--line); }
.lead, .note, figcaption { color: var(--quiet); } .lead { margin: 0; } .note { font-size: 13.5px; } p { margin: 8px 0; max-width: 78ch; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; } caption { text-align: left; color: var(--quiet); padding: 0 0 6px; }
th { text-align: left; font-weight: 550; color: var(--quiet); } tbody th { color: var(--ink); font-weight: 600; }
th, td { padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 8px 0; font-size: 14px; } dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 14px 0; } img { max-width: 100%; height: auto; display: block; border-radius: 4px; background: #fff; } figcaption { font-size: 13.5px; margin-top: 6px; }
pre { margin: 8px 0; padding: 11px 13px; background: var(--soft); border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; }
@media (max-width: 600px) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 6px; } }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in order."""

    title: str
    parts: tuple[Markup, ...]


def page(title: str, sections: Iterable[Section], lead: str = "") -> str:
    """The whole page as HTML; `lead` is the line below its title. Sections without parts are left out."""
    bodies = [
        f"<section><h2>{escape(section.title)}</h2>\n{chr(10).join(section.parts)}</section>"
        for section in sections
        if section.parts
    ]
    first = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>{first}\n{chr(10).join(bodies)}\n</body></html>\n"
    )


def paragraph(text: str) -> Markup:
    return Markup(f"<p>{escape(text)}</p>")


def note(text: str) -> Markup:
    """A quieter paragraph: what is held fixed, what a number means."""
    return Markup(f'<p class="note">{escape(text)}</p>')


def code(text: str) -> Markup:
    """Commands or data as they are typed."""
    return Markup(f"<pre>{escape(text)}</pre>")


def facts(values: Mapping[str, Cell]) -> Markup:
    """Names and values, a line each."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{_said(value)}</dd>" for name, value in values.items())
    return Markup(f"<dl>{rows}</dl>")


def table(headings: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> Markup:
    """A table whose first column names the rows. Numbers stand to the right, with four digits; None is a dash."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{_said(row[0])}</th>{"".join(_cell(value) for value in row[1:])}</tr>'
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return Markup(
        f'<div class="scroll"><table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def figure(png: bytes, caption: str, width: int | None = None) -> Markup:
    """A PNG with its caption, which is also what a screen reader says; `width` in CSS pixels."""
    data = base64.b64encode(png).decode("ascii")
    size = f' width="{width}"' if width else ""
    said = escape(caption)
    return Markup(
        f'<figure><img src="data:image/png;base64,{data}" alt="{said}"{size}><figcaption>{said}</figcaption></figure>'
    )


def _cell(value: Cell) -> str:
    kind = ' class="number"' if isinstance(value, int | float) or value is None else ""
    return f"<td{kind}>{_said(value)}</td>"


def _said(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) else escape(value)
