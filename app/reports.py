"""What is inspected, as files to keep: a report, its data, a figure. Served under the very parameters of the page's link.

    studio/report/inspection.html?…  inspection.json  figure.png  figure.svg

Nothing is written; a client names no file.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import inspect_settings, permalink
from app.downloads import or_not_found, saved
from app.inspect_settings import InspectSettings
from app.permalink import SearchState
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.report.inspection import Inspection

KINDS = {
    "inspection.html": "text/html; charset=utf-8",
    "inspection.json": "application/json",
    "figure.png": "image/png",
    "figure.svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox",
}


def report_routes(workspace: Workspace) -> list[Route]:
    """Routes that belong in front of the page's own."""

    def report(request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in KINDS:
            raise InputError("There is no such report.")
        parameters = dict(request.query_params)
        data, stem = build(workspace, permalink.parse(parameters), inspect_settings.parse(parameters), name)
        return saved(data, f"{stem}.{name.rpartition('.')[2]}", KINDS[name], _HEADERS)

    return [Route("/studio/report/{name}", or_not_found(report))]


def build(
    workspace: Workspace, state: SearchState, settings: InspectSettings, name: str
) -> tuple[bytes, str]:
    """The bytes of one of `KINDS`, and a name for the file without its ending. Raises InputError where gallery, image or
    query image is not there."""
    from ssa_me.attribution.reporting import attribution_section
    from ssa_me.report import plots
    from ssa_me.report.inspection import inspection_json, inspection_page

    state = workspace.inspector.placed(state)
    inspection = inspect(workspace, state, settings)
    made = workspace.inspector.attributions.made(state, settings)
    _, gallery, item = workspace.inspector.item(state)
    stem = "-".join(filter(None, ["inspection", slug(state.text), slug(item.file_name.rpartition(".")[0])]))
    if name == "inspection.json":
        data = inspection_json(inspection)
        if made is not None:
            data["attributions"] = [made[0].to_json() | {"quality": made[1].to_json()}]
        return json.dumps(data, ensure_ascii=False, indent=1).encode(), stem
    image = gallery.image(item.id)
    if name == "inspection.html":
        further = [attribution_section(image, [made])] if made is not None else []
        return inspection_page(image, inspection, further).encode(), stem
    drawn = plots.attention_figure(
        image, inspection.explanation.boxes, inspection.attention, titles=inspection.titles
    )
    return plots.save(drawn, "svg" if name.endswith("svg") else "png", dpi=300), stem


def inspect(workspace: Workspace, state: SearchState, settings: InspectSettings) -> Inspection:
    """What the report is made of."""
    from ssa_me.explanation import attention_of
    from ssa_me.report.inspection import Inspection

    inspector, embedder = workspace.inspector, workspace.opponents.embedder(state.against)
    _, gallery, item = inspector.item(state)
    explanation = inspector.explanation(state, settings)
    layer, head = (None if n is None else n - 1 for n in (settings.layer, settings.head))
    standings = {} if state.is_empty else inspector.standings(state, gallery, item, settings.regions)
    return Inspection(
        name=item.file_name,
        text=state.text.strip(),
        explanation=explanation,
        attention={
            v: attention_of(rows, layer, head, embedder.layers) for v, rows in explanation.heads.items()
        },
        models=embedder.info.fingerprints,
        checkpoint=embedder.info.name,
        with_image=state.image is not None,
        layer=settings.layer,
        head=settings.head,
        standings={name: standing.to_json() for name, standing in standings.items()},
        regions=settings.regions,
        options=_options(settings),
        link=inspector.link(state, settings),
        titles=embedder.info.titles,
    )


def _options(settings: InspectSettings) -> list[str]:
    """Those of the command that attribute alike."""
    if not settings.attribution:
        return []
    asked = {
        "of": settings.target,
        "baseline": settings.baseline,
        "steps": settings.steps,
        "seed": settings.seed,
    }
    given = [[f"--{name}", str(value)] for name, value in asked.items() if value not in ("", None)]
    return ["--method", settings.attribution, *(part for pair in given for part in pair)]


def slug(text: str) -> str:
    """Text as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]
