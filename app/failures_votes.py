"""A ballot: one query's two lists as A and B, and then where both looked, without a word about which model is which.

What says who is who leaves the server only after the second vote. Knows no page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.failures import FailureRuns
from app.failures_open import OpenRun
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.failures import FailureRow

Json = dict[str, Any]
HITS = 6
SIDES = ("a", "b")
_VOTER = re.compile(r"[0-9a-f]{8,32}")
_VERSIONS = ("baseline", "ssa-me")
Explain = Callable[[str, str, int, str | None], Json]
"""What the page shows of an opened image: of a gallery, a text, an image's id, and the version in the baseline's place."""


def check_voter(value: object) -> str:
    """`value` as the name that a browser has made up for its visitor; InputError where it cannot be one."""
    if not isinstance(value, str) or not _VOTER.fullmatch(value):
        raise InputError("This browser cannot vote. Reload the page and try again.")
    return value


def ballot(runs: FailureRuns, run: object, at: object, voter: object) -> Json:
    """The two lists of a row's query, and what the voter has said of it so far. Raises InputError where it is gone."""
    opened, row, name = _row(runs, run, at, voter)
    said = runs.votes.phases(opened.id, row.row, name)
    lists = opened.lists(row, HITS)
    shown: Json = {side: lists[version] for side, version in _sides(opened.id, row.row, name).items()}
    answer = {
        "run": opened.id,
        "row": row.row,
        "query": row.query,
        "kind": row.kind,
        "lists": shown,
        "said": said,
    }
    return answer | (_revealed(runs, opened, row, name) if "after" in said else {})


def vote(runs: FailureRuns, run: object, at: object, voter: object, phase: object, choice: object) -> Json:
    """Keep a vote; after the second one the answer says who is who. Raises InputError for what is no vote."""
    from ssa_me.failures.votes import CHOICES, PHASES, Vote

    opened, row, name = _row(runs, run, at, voter)
    when = next((known for known in PHASES if known == phase), None)
    what = next((known for known in CHOICES if known == choice), None)
    if when is None or what is None:
        raise InputError("That is no vote. Choose A, B, a tie, or both bad.")
    runs.votes.add(Vote(opened.id, row.row, row.query, name, when, what))
    said = runs.votes.phases(opened.id, row.row, name)
    return {"said": said} | (_revealed(runs, opened, row, name) if "after" in said else {})


def maps(runs: FailureRuns, explain: Explain, run: object, at: object, voter: object) -> Json:
    """Each side's attention on its own first image, on one scale. Raises InputError before the first vote."""
    opened, row, name = _row(runs, run, at, voter)
    if not runs.votes.phases(opened.id, row.row, name):
        raise InputError("Vote on the lists before you look at the maps.")
    lists = opened.lists(row, 1)
    found = {}
    for side, version in _sides(opened.id, row.row, name).items():
        view = explain(opened.gallery_id, row.query, int(lists[version][0]["id"]), opened.against)
        found[side] = {key: view[key] for key in ("id", "image", "size", "boxes")} | {
            "attention": view["attention"][version],
            "on_image": view["on_image"][version],
        }
    return {"maps": found}


def _row(runs: FailureRuns, run: object, at: object, voter: object) -> tuple[OpenRun, FailureRow, str]:
    opened = runs.open(run)
    return opened, opened.row(at), check_voter(voter)


def _sides(run: str, row: int, voter: str) -> dict[str, str]:
    """Side → version."""
    from ssa_me.failures.votes import first_side

    first = first_side(run, row, voter)
    return dict(zip(SIDES, (first, *(version for version in _VERSIONS if version != first)), strict=True))


def _revealed(runs: FailureRuns, opened: OpenRun, row: FailureRow, voter: str) -> Json:
    from ssa_me.failures.votes import tally

    return {
        "sides": _sides(opened.id, row.row, voter),
        "ranks": {"baseline": row.rank_baseline, "ssa-me": row.rank_ssa_me},
        "tally": tally(runs.votes.votes(opened.id)),
    }
