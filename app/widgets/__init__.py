"""Custom parts of the page: each a script and a style, `NAME.js` and `NAME.css`, on a `gr.HTML` whose value is JSON.

    masthead    the gallery that is open, and which model runs where and why
    query       text, image, the image's weight, number of results, ranking, examples; `filters` is its line that opens
    notice      one line that says what went wrong with a query, or what to know of its results
    ranking     both lists side by side; the same image lights up in both
    opened      the opened image: both attentions and their difference, the salience's stages, its subjects
    asked       the query and the image that are inspected; choosing another; link and report
    maps        both attentions by layer and head, their difference, the salience's stages by subject
    alignment   phrases against regions, and a phrase of one's own
    redraw      regions to draw, and where the image then stands in the ranking
    attribution pixels and words that make the score, how far that is to be trusted, image against text
    annotate    the queue of proposed subjects: judging, fixing, progress, exports; `regions` is its editor
    trainform   what a run is made of: data with its check, recipe, estimate
    runs        runs of training as they stand, with a curve for each objective
    versions    the versions of the model, and the before and after of one
    grid        a gallery's images, a page at a time
    duplicates  its near-duplicates in groups, a page at a time, and choosing copies to remove
    failures_run      which queries to run, how far they are, and the runs that are kept
    failures_summary  a run's measures for both models, with the interval of their difference
    failures_map      the gallery's embedding under both models, with a lasso
    failures          a run's queries: outcomes, slices, histograms to brush, and the table
    failures_vote     two lists side by side, unnamed, to vote on
    progress    a gallery in the making: progress, counts, and what was skipped and why

The head of each script says what its value looks like and what it triggers. The scripts build elements themselves and
the template stays empty: Gradio evaluates templates as code, so no value may ever be put into one. What comes back from
the browser can be forged: take nothing from it unchecked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

_FOLDER = Path(__file__).parent
SHARED_SCRIPTS = tuple(
    _FOLDER / f"{name}.js" for name in ("studio", "regions", "annotate_begin", "annotate_panel", "filters")
)
"""What all widgets may use: `studio`, and in it the region editor, what stands before and below the queue of annotations, and
the filters of a search."""


def widget(
    name: str,
    value: dict[str, Any] | None = None,
    *,
    styles: Sequence[str] = (),
    annotates: bool = False,
    **options: Any,
) -> gr.HTML:
    """The widget of that name, with `studio-NAME` for its id; `styles` names further style sheets, of shared parts that
    it shows; `annotates` gives it the class by which it knows that images can be annotated; `options` are those of `gr.HTML`,
    and its properties (which an event that skips the widget takes away, so read them when the script is run)."""
    sheets = [(_FOLDER / f"{sheet}.css").read_text(encoding="utf-8") for sheet in (*styles, name)]
    return gr.HTML(
        value,
        html_template="",
        css_template="\n".join(sheets),
        js_on_load=(_FOLDER / f"{name}.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id=f"studio-{name}",
        elem_classes=["studio", "annotates"] if annotates else ["studio"],
        **options,
    )
