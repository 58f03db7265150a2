"""The named endpoints that other programs call: search, compare, explain. They answer as the commands print.

But for one key: a hit has `file_name` and `url` (relative to the page) where the command prints `path`. Gradio's client
takes every object with a `path` for a file to fetch and puts its copy in the object's place, and the server's paths are
nobody's business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from app.answers import attempt, read_state
from app.workspace import Workspace
from ssa_me.errors import InputError

BOTH = ("baseline", "ssa-me")


def create(workspace: Workspace) -> None:
    """Add the endpoints to the page that is being built."""
    rankings = gr.Textbox("ssa-me", visible=False, label="model")
    gallery = gr.Textbox(visible=False, label="gallery")
    text = gr.Textbox(visible=False, label="text")
    image = gr.File(visible=False, label="image", type="filepath")
    weight = gr.Number(0.5, visible=False, label="image_weight")
    count = gr.Number(10, visible=False, label="k")
    mode = gr.Textbox("head", visible=False, label="salience")
    answer = gr.JSON(visible=False, label="result")
    trigger = gr.Button(visible=False)

    def find(
        text: str | None,
        image: str | None,
        image_weight: float,
        k: float,
        gallery: str | None,
        names: tuple[str, ...],
        salience: str = "head",
    ) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            digest = workspace.uploads.add(*_read(image)).hash if image else None
            values = {"text": text, "image": digest, "weight": image_weight, "k": k} | {"salience": salience}
            return workspace.searching.json(read_state(values, gallery), names)

        return _or_error(work)

    def search(
        text: str | None = None,
        image: str | None = None,
        image_weight: float = 0.5,
        k: float = 10,
        gallery: str | None = None,
        model: str = "ssa-me",
        salience: str = "head",
    ) -> dict[str, Any]:
        """Rank a gallery by text, image, or both. `model` is the name of a ranking, or "both"; `salience`, head or
        full, is what a ranking `+rerank` conditions images by."""
        return find(text, image, image_weight, k, gallery, BOTH if model == "both" else (model,), salience)

    def compare(
        text: str | None = None,
        image: str | None = None,
        image_weight: float = 0.5,
        k: float = 10,
        gallery: str | None = None,
    ) -> dict[str, Any]:
        """Both models' rankings of the same query, and how much they overlap."""
        return find(text, image, image_weight, k, gallery, BOTH)

    def explain(text: str | None = None, image: str | None = None, salience: str = "head") -> dict[str, Any]:
        """Where both models look in an image, and how well the subjects of a text are found in it. `salience`: head,
        or full for the whole pipeline of language model and visual expert."""

        def work() -> dict[str, Any]:
            if not image:
                raise InputError("There is no image to explain. Send one.")
            data, name = _read(image)
            return workspace.explain_json((text or "").strip() or None, data, name, salience)

        return _or_error(work)

    options: dict[str, Any] = {"concurrency_limit": 2, "show_progress": "hidden"}
    trigger.click(
        search, [text, image, weight, count, gallery, rankings, mode], answer, api_name="search", **options
    )
    trigger.click(compare, [text, image, weight, count, gallery], answer, api_name="compare", **options)
    trigger.click(explain, [text, image, mode], answer, api_name="explain", **options)


def _read(path: str) -> tuple[bytes, str]:
    """Bytes and name of an uploaded file; Gradio has checked that the path is one of its own."""
    return Path(path).read_bytes(), Path(path).name


def _or_error(work: Any) -> dict[str, Any]:
    result, trouble = attempt(work)
    if result is None:
        raise gr.Error(trouble, print_exception=False)
    return dict(result)
