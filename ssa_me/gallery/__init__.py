"""Galleries: images, their vectors and regions in a folder, and searching them."""

from ssa_me.gallery.filters import Filters, parse_filters
from ssa_me.gallery.ingest import IngestReport, Progress, ingest
from ssa_me.gallery.items import Item
from ssa_me.gallery.refine import Refinement
from ssa_me.gallery.results import Hit, Query, SearchResult, SubjectHit
from ssa_me.gallery.search import RANKINGS, search
from ssa_me.gallery.store import Gallery, is_gallery

__all__ = [
    "RANKINGS",
    "Filters",
    "Gallery",
    "Hit",
    "IngestReport",
    "Item",
    "Progress",
    "Query",
    "Refinement",
    "SearchResult",
    "SubjectHit",
    "ingest",
    "is_gallery",
    "parse_filters",
    "search",
]
