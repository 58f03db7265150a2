"""Downloads of the Failures tab: the selected rows of a run as CSV, JSON or a report, and its votes. Knows no Gradio.

The address holds what is selected, as the page's own link does; a client names a run by its id, never a file.
"""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import failures_state
from app.downloads import or_not_found, saved
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
            return saved(opened.csv(state), f"failures-{opened.id}.csv", TYPES[kind])
        if kind == "json":
            return saved(json.dumps(opened.json(state), indent=1), f"failures-{opened.id}.json", TYPES[kind])
        if kind == "html":
            return saved(opened.report(state), f"failures-{opened.id}.html", TYPES[kind])
        raise InputError("There is no such download.")

    def votes(request: Request) -> Response:
        from ssa_me.failures.export import csv_text
        from ssa_me.failures.votes import HEADER, tally

        kind = request.path_params["kind"]
        opened = runs.open(request.path_params["run"])
        found = runs.votes.votes(opened.id)
        if kind == "csv":
            lines = [[vote[name] for name in HEADER] for vote in found]
            return saved(csv_text(HEADER, lines), f"votes-{opened.id}.csv", TYPES[kind])
        if kind == "json":
            data = {"run": opened.id, "tally": tally(found), "votes": found}
            return saved(json.dumps(data, indent=1), f"votes-{opened.id}.json", TYPES[kind])
        raise InputError("There is no such download.")

    return [
        Route("/studio/failures/{run}/rows.{kind}", or_not_found(rows)),
        Route("/studio/failures/{run}/votes.{kind}", or_not_found(votes)),
    ]
