"""Addresses of files: images of a gallery by id, uploads by content hash, exports by token, versions of the model by id. Knows
no Gradio.

A client names a gallery and a number, never a file: the workspace maps them, and everything else is a 404.
"""

from __future__ import annotations

import io

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.downloads import FRESH, or_not_found
from app.workspace import Workspace
from ssa_me.byte_cache import ByteCache

LONGEST = 1280
CACHE_BYTES = 64 * 2**20
_MISSING = "There is no such file."
_HEADERS = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}


def image_routes(workspace: Workspace) -> list[Route]:
    """Routes that belong in front of the page's own."""
    encoded: ByteCache[bytes] = ByteCache(CACHE_BYTES, len)

    def thumbnail(request: Request) -> Response:
        item = workspace.gallery(request.path_params["gallery"]).item(request.path_params["item"])
        return FileResponse(item.thumbnail, media_type="image/jpeg", headers=_HEADERS)

    def image(request: Request) -> Response:
        gallery = workspace.gallery(request.path_params["gallery"])
        item = gallery.item(request.path_params["item"])
        data = encoded.get(item.thumbnail)
        if data is None:
            picture = gallery.image(item.id)
            picture.thumbnail((LONGEST, LONGEST))
            buffer = io.BytesIO()
            picture.save(buffer, format="JPEG", quality=92)
            data = buffer.getvalue()
            encoded.put(item.thumbnail, data)
        return Response(data, media_type="image/jpeg", headers=_HEADERS)

    def upload(request: Request) -> Response:
        path = workspace.uploads.path(request.path_params["digest"])
        with path.open("rb") as file:
            is_png = file.read(4) == b"\x89PNG"
        return FileResponse(path, media_type="image/png" if is_png else "image/jpeg", headers=_HEADERS)

    def annotations(request: Request) -> Response:
        path, name = workspace.annotating.exported(request.path_params["token"])
        return FileResponse(path, media_type="application/octet-stream", filename=name, headers=FRESH)

    def version(request: Request) -> Response:
        path, name = workspace.training.exported(request.path_params["version"])
        return FileResponse(path, media_type="application/zip", filename=name, headers=FRESH)

    def sample_set(_: Request) -> Response:
        path, name = workspace.training.sample_set()
        return FileResponse(path, media_type="application/zip", filename=name, headers=FRESH)

    answers = {
        "/studio/version/{version}": version,
        "/studio/sample-set": sample_set,
        "/studio/thumb/{gallery}/{item:int}": thumbnail,
        "/studio/image/{gallery}/{item:int}": image,
        "/studio/upload/{digest}": upload,
        "/studio/annotations/{token}": annotations,
    }
    return [Route(path, or_not_found(answer, _MISSING)) for path, answer in answers.items()]
