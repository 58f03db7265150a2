"""Failure mining: queries on both models, where one hits and the other misses, and what those queries have in common."""

from ssa_me.failures.mining import FailureRun, load_run, mine, run_id
from ssa_me.failures.queries import FailureQuery, QuerySet, caption_queries, listed_queries
from ssa_me.failures.selection import Selection, select
from ssa_me.failures.slices import Slice, over_represented, tags_of
from ssa_me.failures.table import FailureRow, FailureTable, measure

__all__ = [
    "FailureQuery",
    "FailureRow",
    "FailureRun",
    "FailureTable",
    "QuerySet",
    "Selection",
    "Slice",
    "caption_queries",
    "listed_queries",
    "load_run",
    "measure",
    "mine",
    "over_represented",
    "run_id",
    "select",
    "tags_of",
]
