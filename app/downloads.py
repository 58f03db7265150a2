"""Files that an address gives out: saved under a name, never sniffed or stored; what is not there is a 404. Knows no Gradio."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ssa_me.errors import InputError

FRESH = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def saved(
    data: bytes | str, name: str, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """`data` as a file that a browser saves as `name`, which is plain ASCII."""
    told = {**FRESH, **(headers or {}), "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=media_type, headers=told)


def or_not_found(
    answer: Callable[[Request], Response], instead: str | None = None
) -> Callable[[Request], Response]:
    """`answer`, or a 404 where the address names nothing: with what was wrong, or with `instead`."""

    def endpoint(request: Request) -> Response:
        try:
            return answer(request)
        except (InputError, OverflowError) as error:
            return PlainTextResponse(instead or str(error), status_code=404)

    return endpoint
