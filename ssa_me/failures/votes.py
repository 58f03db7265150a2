"""Side-by-side votes: which of two lists, whose models nobody names, answers a query better; kept in one SQLite file.

A voter sees the lists as A and B, votes, sees both models' maps, and votes again. It knows no page and no model.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ssa_me.errors import InputError
from ssa_me.evaluation.bootstrap import estimate
from ssa_me.evaluation.cache import digest
from ssa_me.evaluation.models import VERSIONS

Choice = Literal["a", "b", "tie", "both bad"]
Phase = Literal["before", "after"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
PHASES: tuple[Phase, ...] = get_args(Phase)
"""Before and after the voter has seen where the models looked."""
HEADER = ("run", "row", "query", "voter", "phase", "choice", "a", "winner", "time")

_SCHEMA = """CREATE TABLE IF NOT EXISTS votes (
    run TEXT NOT NULL, row INTEGER NOT NULL, query TEXT NOT NULL, voter TEXT NOT NULL, phase TEXT NOT NULL,
    choice TEXT NOT NULL, a TEXT NOT NULL, winner TEXT NOT NULL, time TEXT NOT NULL DEFAULT (datetime('now')),
    PRIMARY KEY (run, row, voter, phase)
) WITHOUT ROWID"""


def first_side(run: str, row: int, voter: str) -> str:
    """The version that a voter sees as A for a row: either, as if by chance, but the same whenever it is asked."""
    return VERSIONS[int(digest(run, str(row), voter), 16) % 2]


@dataclass(frozen=True)
class Vote:
    """A voter's choice for a row of a run. a: the version that was shown as A. winner: a version, "tie" or "both bad"."""

    run: str
    row: int
    query: str
    voter: str
    phase: Phase
    choice: Choice

    def __post_init__(self) -> None:
        for value, known in ((self.phase, PHASES), (self.choice, CHOICES)):
            if value not in known:
                raise InputError(f"There is no vote {str(value)[:20]!r}. Choose one of {', '.join(known)}.")

    @property
    def a(self) -> str:
        return first_side(self.run, self.row, self.voter)

    @property
    def winner(self) -> str:
        if self.choice in ("tie", "both bad"):
            return self.choice
        other = next(version for version in VERSIONS if version != self.a)
        return self.a if self.choice == "a" else other


class VoteStore:
    """Votes in the SQLite file `path`. A voter's second vote on the same takes the place of the first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, vote: Vote) -> None:
        """Keep a vote. Raises InputError for one after the maps by somebody who has not voted before."""
        with self._open() as db:
            if vote.phase == "after" and not self._phases(db, vote.run, vote.row, vote.voter):
                raise InputError("Vote on the lists before you look at the maps.")
            values = (
                vote.run,
                vote.row,
                vote.query,
                vote.voter,
                vote.phase,
                vote.choice,
                vote.a,
                vote.winner,
            )
            columns = "run, row, query, voter, phase, choice, a, winner"
            db.execute(f"INSERT OR REPLACE INTO votes ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def phases(self, run: str, row: int, voter: str) -> dict[str, str]:
        """Phase → choice of what a voter has said of a row."""
        with self._open() as db:
            return self._phases(db, run, row, voter)

    def votes(self, run: str) -> list[dict[str, Any]]:
        """All votes of a run, in the order of their time, with the columns of `HEADER`."""
        query = f"SELECT {', '.join(HEADER)} FROM votes WHERE run = ? ORDER BY time, row, voter, phase"
        with self._open() as db:
            return [dict(zip(HEADER, row, strict=True)) for row in db.execute(query, (run,))]

    def rows_of(self, run: str, voter: str) -> set[int]:
        """The rows of a run that a voter has voted on."""
        with self._open() as db:
            return {
                row
                for (row,) in db.execute("SELECT row FROM votes WHERE run = ? AND voter = ?", (run, voter))
            }

    @staticmethod
    def _phases(db: sqlite3.Connection, run: str, row: int, voter: str) -> dict[str, str]:
        query = "SELECT phase, choice FROM votes WHERE run = ? AND row = ? AND voter = ?"
        return dict(db.execute(query, (run, row, voter)).fetchall())

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=30)) as db, db:
            db.execute(_SCHEMA)
            yield db


def tally(votes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By phase: how often each won, and SSA-ME's wins less the baseline's as a share of all votes, with the 95 % interval
    of the bootstrap clustered by row; {} for a phase without votes."""
    found: dict[str, Any] = {}
    for phase in PHASES:
        cast = [vote for vote in votes if vote["phase"] == phase]
        wins = np.array(
            [(v["winner"] == "ssa-me") - (v["winner"] == "baseline") for v in cast], dtype=np.float64
        )
        margin = estimate(wins, [vote["row"] for vote in cast]) if cast else None
        counts = {
            winner: sum(v["winner"] == winner for v in cast) for winner in (*VERSIONS, "tie", "both bad")
        }
        found[phase] = {"votes": len(cast), **counts, "margin": margin.to_json()} if margin else {}
    return found
