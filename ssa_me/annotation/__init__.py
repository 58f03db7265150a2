"""Validating proposed subjects: the queue, the log of decisions, agreement, snapping, and exports."""

from ssa_me.annotation.records import (
    KEPT,
    ORDERS,
    SOURCES,
    STATUSES,
    Decision,
    Filters,
    Item,
    Outcome,
    Picture,
    Progress,
    Proposal,
    Scores,
    Truth,
    check_name,
)
from ssa_me.annotation.store import AnnotationStore

__all__ = [
    "KEPT",
    "ORDERS",
    "SOURCES",
    "STATUSES",
    "AnnotationStore",
    "Decision",
    "Filters",
    "Item",
    "Outcome",
    "Picture",
    "Progress",
    "Proposal",
    "Scores",
    "Truth",
    "check_name",
]
