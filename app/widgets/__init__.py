"""Custom parts of the page: each a script and a style, `NAME.js` and `NAME.css`, on a `gr.HTML` whose value is JSON.

    masthead    the gallery that is open, and which model runs where and why
    query       text, image, the image's weight, number of results, ranking, examples
    notice      one line that says what went wrong with a query, or what to know of its results
    ranking     both lists side by side; the same image lights up in both
    opened      the opened image: both attentions and their difference, the salience's stages, its subjects
    trainform   what a run is made of: data with its check, recipe, estimate
    runs        runs of training as they stand, with a curve for each objective
    versions    the versions of the model, and the before and after of one
    grid        a gallery's images, a page at a time
    progress    a gallery in the making: progress, counts, and what was skipped and why

The head of each script says what its value looks like and what it triggers. The scripts build elements themselves and
the template stays empty: Gradio evaluates templates as code, so no value may ever be put into one. What comes back from
the browser can be forged: take nothing from it unchecked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

_FOLDER = Path(__file__).parent
SHARED_SCRIPT = _FOLDER / "studio.js"


def widget(name: str, value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """The widget of that name, with `studio-NAME` for its id; `options` are those of `gr.HTML`, and its properties."""
    return gr.HTML(
        value,
        html_template="",
        css_template=(_FOLDER / f"{name}.css").read_text(encoding="utf-8"),
        js_on_load=(_FOLDER / f"{name}.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id=f"studio-{name}",
        elem_classes="studio",
        **options,
    )
