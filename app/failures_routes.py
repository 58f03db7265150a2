"""Downloads of the Failures tab: the selected rows of a run as CSV, JSON or a report, and its votes. Knows no Gradio.

The address holds what is selected, as the page's own link does; a client names a run by its id, never a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app import failures_state
from app.failures import FailureRuns
from ssa_me.errors import InputError

TYPES = {"csv": "text/csv", "json": "application/json", "html": "text/html"}


def failure_routes(runs: FailureRuns) -> list[Route]:
    """Routes that belong in front of the page's own."""

    def rows(request: Request) -> Response:
        kind = request.path_params["kind"]
        state = failures_state.parse({**request.query_params, "fr": request.path_params["run"]})
        opened = runs.shown(state)
        if kind == "csv":
            return _file(opened.csv(state), f"failures-{opened.id}.csv", kind)
        if kind == "json":
            return _file(json.dumps(opened.json(state), indent=1), f"failures-{opened.id}.json", kind)
        if kind == "html":
            return _file(opened.report(state), f"failures-{opened.id}.html", kind)
        raise InputError("There is no such download.")

    def votes(request: Request) -> Response:
        from ssa_me.failures.export import csv_text
        from ssa_me.failures.votes import HEADER, tally

        kind = request.path_params["kind"]
        opened = runs.open(request.path_params["run"])
        found = runs.votes.votes(opened.id)
        if kind == "csv":
            lines = [[vote[name] for name in HEADER] for vote in found]
            return _file(csv_text(HEADER, lines), f"votes-{opened.id}.csv", kind)
        if kind == "json":
            data = {"run": opened.id, "tally": tally(found), "votes": found}
            return _file(json.dumps(data, indent=1), f"votes-{opened.id}.json", kind)
        raise InputError("There is no such download.")

    return [
        Route("/studio/failures/{run}/rows.{kind}", _or_not_found(rows)),
        Route("/studio/failures/{run}/votes.{kind}", _or_not_found(votes)),
    ]


def _file(text: str, name: str, kind: str) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return Response(text, media_type=TYPES[kind], headers=headers)


def _or_not_found(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        try:
            return answer(request)
        except InputError as error:
            return PlainTextResponse(str(error), status_code=404)

    return endpoint
