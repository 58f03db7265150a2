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
    """Add the endpoints to the page that is being built. Their descriptions are also those of the tools of `--mcp`."""
    rankings = gr.Textbox("ssa-me", visible=False, label="model")
    gallery = gr.Textbox(visible=False, label="gallery")
    text = gr.Textbox(visible=False, label="text")
    image = gr.File(visible=False, label="image", type="filepath")
    weight = gr.Number(0.5, visible=False, label="image_weight")
    count = gr.Number(10, visible=False, label="k")
    mode = gr.Textbox("head", visible=False, label="salience")
    where = gr.Textbox(visible=False, label="where")
    alignment = gr.Number(None, visible=False, label="least_alignment")
    duplicates = gr.Number(None, visible=False, label="hide_duplicates")
    sort = gr.Textbox("score", visible=False, label="sort")
    region = gr.Textbox(visible=False, label="region")
    against = gr.Textbox(visible=False, label="against")
    answer = gr.JSON(visible=False, label="result")
    trigger = gr.Button(visible=False)

    def find(
        asked: dict[str, Any],
        image: str | None,
        gallery: str | None,
        names: tuple[str, ...],
        refined: tuple[str | None, float | None, float | None, str, str | None],
    ) -> dict[str, Any]:
        conditions, least, hidden, order, box = refined

        def work() -> dict[str, Any]:
            digest = workspace.uploads.add(*_read(image)).hash if image else None
            if box and digest is None:
                raise InputError("A region was given, but there is no image. Give the image, too.")
            refining = {
                "where": (conditions or "").split("\n"),
                "least_alignment": least,
                "hide_duplicates": hidden,
                "sort": order,
                "region": box.split(",") if box else None,
            }
            state = read_state(asked | {"image": digest, "refining": refining}, gallery)
            return workspace.searching.json(state, names)

        return _or_error(work)

    def search(
        text: str | None = None,
        image: str | None = None,
        image_weight: float = 0.5,
        k: float = 10,
        gallery: str | None = None,
        model: str = "ssa-me",
        salience: str = "head",
        where: str | None = None,
        least_alignment: float | None = None,
        hide_duplicates: float | None = None,
        sort: str = "score",
        region: str | None = None,
        against: str | None = None,
    ) -> dict[str, Any]:
        """Rank the images of a gallery by a text, an image, or both, with what of each image answers to the text.

        Args:
            text: what to look for; a minus says what is unwanted, as in: red bird -flower
            image: an image to look for, alone or with the text
            image_weight: 0 the text alone, 0.5 both together, 1 the image alone
            k: how many images to list
            gallery: the id of a gallery; the first one where none is given
            model: a ranking (baseline, ssa-me, ssa-me+subjects, ssa-me+rerank, baseline+subjects, baseline+rerank),
                several with commas between, or both
            salience: head or full, what a ranking +rerank conditions images by
            where: conditions on metadata, one a line, such as split=test, year>=2020, caption~dog
            least_alignment: only hits whose subject has this cosine with its phrase at least
            hide_duplicates: hide images whose cosine with one further up is at least this, such as 0.94
            sort: score, or alignment
            region: x,y,width,height in pixels of the image: more like what is in this box
            against: id of a version of the model whose SSA-ME stands in the baseline's place
        """
        asked = {"text": text, "weight": image_weight, "k": k, "salience": salience, "against": against}
        refined = (where, least_alignment, hide_duplicates, sort, region)
        names = BOTH if model == "both" else tuple(name.strip() for name in model.split(","))
        return find(asked, image, gallery, names, refined)

    def compare(
        text: str | None = None,
        image: str | None = None,
        image_weight: float = 0.5,
        k: float = 10,
        gallery: str | None = None,
        where: str | None = None,
        least_alignment: float | None = None,
        hide_duplicates: float | None = None,
        sort: str = "score",
        region: str | None = None,
        against: str | None = None,
    ) -> dict[str, Any]:
        """Baseline's and SSA-ME's rankings of the same query, how much they overlap, and what only one of them lists.

        Args:
            text: what to look for; a minus says what is unwanted, as in: red bird -flower
            image: an image to look for, alone or with the text
            image_weight: 0 the text alone, 0.5 both together, 1 the image alone
            k: how many images each list has
            gallery: the id of a gallery; the first one where none is given
            where: conditions on metadata, one a line, such as split=test, year>=2020, caption~dog
            least_alignment: only hits whose subject has this cosine with its phrase at least
            hide_duplicates: hide images whose cosine with one further up is at least this, such as 0.94
            sort: score, or alignment
            region: x,y,width,height in pixels of the image: more like what is in this box
            against: id of a version of the model whose SSA-ME stands in the baseline's place
        """
        asked = {"text": text, "weight": image_weight, "k": k, "against": against}
        refined = (where, least_alignment, hide_duplicates, sort, region)
        return find(asked, image, gallery, BOTH, refined)

    def explain(text: str | None = None, image: str | None = None, salience: str = "head") -> dict[str, Any]:
        """Where both models look in an image, and how well the subjects of a text are found in it.

        Args:
            text: whose subjects are looked for; without one, those that the image itself shows
            image: the image to explain
            salience: head, or full for the whole pipeline of language model and visual expert
        """

        def work() -> dict[str, Any]:
            if not image:
                raise InputError("There is no image to explain. Send one.")
            data, name = _read(image)
            return workspace.explain_json((text or "").strip() or None, data, name, salience)

        return _or_error(work)

    options: dict[str, Any] = {"concurrency_limit": 2, "show_progress": "hidden"}
    refining = [where, alignment, duplicates, sort, region, against]
    asked = [text, image, weight, count, gallery]
    trigger.click(search, [*asked, rankings, mode, *refining], answer, api_name="search", **options)
    trigger.click(compare, [*asked, *refining], answer, api_name="compare", **options)
    trigger.click(explain, [text, image, mode], answer, api_name="explain", **options)


def _read(path: str) -> tuple[bytes, str]:
    """Bytes and name of an uploaded file; Gradio has checked that the path is one of its own."""
    return Path(path).read_bytes(), Path(path).name


def _or_error(work: Any) -> dict[str, Any]:
    result, trouble = attempt(work)
    if result is None:
        raise gr.Error(trouble, print_exception=False)
    return dict(result)
