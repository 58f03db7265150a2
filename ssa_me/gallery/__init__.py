"""Galleries: images, their vectors and regions in a folder, and searching them."""

from ssa_me.gallery.ingest import IngestReport, Progress, ingest
from ssa_me.gallery.items import Item
from ssa_me.gallery.results import Hit, Query, SearchResult, SubjectHit
from ssa_me.gallery.search import RANKINGS, search
from ssa_me.gallery.store import Gallery, is_gallery

__all__ = [
    "RANKINGS",
    "Gallery",
    "Hit",
    "IngestReport",
    "Item",
    "Progress",
    "Query",
    "SearchResult",
    "SubjectHit",
    "ingest",
    "is_gallery",
    "search",
]
