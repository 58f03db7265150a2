"""Searches a gallery by a text, an image, a region of one, or both, under one ranking or several side by side. Knows no page.

With q the query's vector, p those of what it states (its phrases, its setting, its relation), e an image's vector and s_k
those of its subjects, of the relations between them and of the ground:

    VERSION            cos(q, e), one vector an image
    VERSION+subjects   (1 - b) cos(q, e) + b mean_p max_k cos(p, s_k), b = `SUBJECT_SHARE`, over the whole gallery
    VERSION+rerank     the first 20 read again together with the text, and asked for each of its phrases p ("the dog" for
                       "a red dog"), under the salience that the text conditions: the mean of cos(q, e(image, text)) and
                       of the phrases' mean cos(e(p), e(image, question)); cos(q, e(image)) where the model never
                       learned to read both so. Where subjects have trained codes, the mean of that and of
                       mean_p max_k cos(p, s_k)

Unwanted things u ("red bird -flower") with u_ = u - (u·q) q: `MOVED` times u_ comes off the vector that images are compared
with, and under `+subjects`, `PENALTY` times max(0, max_k cos(u_, a_k)) off the subjects' part: one subject of the kind is
enough. The same comes off `+rerank`, where salience that follows the text would hide what is unwanted.

Scores are exact in any case, and so are the lists of a gallery of up to 50,000 images; in a larger one an approximate
index may miss some of the best (its recall is on its card). Equal scores are ordered by id.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssa_me.errors import InputError
from ssa_me.explanation import SalienceMode
from ssa_me.gallery.refine import Refinement
from ssa_me.gallery.results import Hit, Query, SearchResult, overlap
from ssa_me.gallery.searcher import RERANK_DEPTH, Ranked, Ranking, Searcher
from ssa_me.gallery.store import Gallery

if TYPE_CHECKING:
    from ssa_me.embedding import Embedder

RANKINGS = ("baseline", "ssa-me", "ssa-me+subjects", "ssa-me+rerank", "baseline+subjects", "baseline+rerank")
EXPLAINED = {
    "baseline": "one vector an image, of the model trained by the contrastive loss alone",
    "ssa-me": "one vector an image, of the model that looks at its salient subjects",
    "ssa-me+subjects": "the image's vector, and each thing that the query states held against the image's subjects",
    "ssa-me+rerank": f"the first {RERANK_DEPTH} of ssa-me read again with the query and asked for what it names, and their subjects",
    "baseline+subjects": "control: the same regions for the baseline, without a trained part",
    "baseline+rerank": "control: the baseline's first ones read again under the same salience",
}
"""What each ranking is, in a line for people."""
__all__ = ["EXPLAINED", "RANKINGS", "RERANK_DEPTH", "search"]


def search(
    gallery: Gallery,
    embedder: Embedder,
    query: Query,
    rankings: Sequence[str] = ("baseline", "ssa-me"),
    k: int = 10,
    *,
    refinement: Refinement | None = None,
    remedy: str | None = None,
    salience: SalienceMode = "head",
) -> SearchResult:
    """The `k` best images under each of `rankings` that pass `refinement`. The query is embedded once for all of them.

    Every hit of a query with text also says which of its subjects answers to the query's first phrase best
    (under `+subjects`: the phrase and the region that fit each other best). Raises InputError for an unknown ranking, k below 1, an empty gallery, or one without vectors of this checkpoint. k above the
    number of images there are gives all of them, and a note. `remedy` is the sentence that says how images without such
    vectors get them; by default it gives the command. `salience`: what `+rerank` conditions images by.
    """
    started = time.perf_counter()
    chosen = _parse_rankings(rankings)
    if k < 1:
        raise InputError(f"k is {k}; ask for at least 1 image.")
    refinement = refinement or Refinement()
    versions = tuple(dict.fromkeys(ranking.version for ranking in chosen))
    searcher = Searcher(gallery, embedder, query, versions, k, refinement, remedy, salience)
    seconds = {"query": time.perf_counter() - started}
    ranked: dict[str, list[Ranked]] = {}
    hidden: dict[str, int] = {}
    for ranking in chosen:
        begun = time.perf_counter()
        ranked[ranking.name], hidden[ranking.name] = searcher.best(ranking)
        seconds[ranking.name] = time.perf_counter() - begun
    searcher.fetch([entry for entries in ranked.values() for entry in entries])
    results = {
        name: _ordered([searcher.hit(rank, entry) for rank, entry in enumerate(entries, start=1)], refinement)
        for name, entries in ranked.items()
    }
    notes = tuple(dict.fromkeys(searcher.notes))
    found = overlap(list(results.values()))
    return SearchResult(query, searcher.k, results, found, seconds, notes, refinement, hidden)


def _ordered(hits: list[Hit], refinement: Refinement) -> tuple[Hit, ...]:
    """The hits in the order that is asked for, ranks from 1."""
    if refinement.sort == "score":
        return tuple(hits)
    hits.sort(key=lambda hit: -hit.subject.score if hit.subject else float("inf"))
    return tuple(
        Hit(rank, hit.id, hit.path, hit.score, hit.subject) for rank, hit in enumerate(hits, start=1)
    )


def _parse_rankings(names: Sequence[str]) -> list[Ranking]:
    if not names:
        raise InputError(f"No ranking is given. Choose from {', '.join(RANKINGS)}.")
    for name in names:
        if name not in RANKINGS:
            raise InputError(f"There is no ranking {name!r}. Choose from {', '.join(RANKINGS)}.")
    parts = [name.partition("+") for name in dict.fromkeys(names)]
    return [Ranking(version, method) for version, _, method in parts]
