"""Results of a search as files to keep: a table, JSON, or both with thumbnails. Served under the parameters of the page's link.

    studio/results/results.csv?…  results.json  results.zip

The search is made anew; nothing is written, a client names no file, and nothing says where images lie on this machine.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import permalink
from app.downloads import or_not_found, saved
from app.permalink import SearchState
from app.reports import slug
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.workspace import Workspace

KINDS = {
    "results.csv": "text/csv; charset=utf-8",
    "results.json": "application/json",
    "results.zip": "application/zip",
}


def export_routes(workspace: Workspace) -> list[Route]:
    """Routes that belong in front of the page's own."""

    def results(request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in KINDS:
            raise InputError("There is no such export.")
        state = permalink.parse(dict(request.query_params))
        stem = "-".join(filter(None, ["results", slug(state.text)]))
        return saved(build(workspace, state, name), f"{stem}.{name.rpartition('.')[2]}", KINDS[name])

    return [Route("/studio/results/{name}", or_not_found(results))]


def build(workspace: Workspace, state: SearchState, name: str) -> bytes:
    """The bytes of one of `KINDS`. Raises InputError where the search makes no sense."""
    from ssa_me.gallery.export import to_csv, to_json

    found = workspace.searching.find(state)
    items = found.gallery.items_of(hit.id for hits in found.result.results.values() for hit in hits)
    pictured = name == "results.zip"
    made = {
        "results.csv": to_csv(found.result, items, thumbnails=pictured, paths=False),
        "results.json": to_json(found.result, items, thumbnails=pictured, paths=False),
    }
    encoded = {key: text.encode("utf-8", "backslashreplace") for key, text in made.items()}
    if not pictured:
        return encoded[name]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as whole:
        for key, data in encoded.items():
            whole.writestr(key, data)
        for item in items.values():
            whole.write(item.thumbnail, f"thumbnails/{item.thumbnail.name}", zipfile.ZIP_STORED)
    return archive.getvalue()
