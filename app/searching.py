"""What the Search tab asks of a workspace: lists, what can be filtered by, queries and views that are kept. Imports no gradio.

Everything is checked here or by the library, because a client can forge any value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from app import permalink, views
from app.permalink import SearchState
from app.refining import METHODS, PAIRS, Refining, settled
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from app.workspace import Workspace
    from ssa_me.explanation import SalienceMode
    from ssa_me.gallery.results import Query, SearchResult
    from ssa_me.gallery.store import Gallery
    from ssa_me.model_info import ModelInfo

REMEDY = "The Gallery tab says whether they are being embedded, and can embed them again."
READ_ONLY = "Nothing can be kept on a public page. Copy the link instead: it says the same search again."


@dataclass(frozen=True)
class Found:
    """The answer to a search, the gallery that gave it, and the models that did."""

    result: SearchResult
    gallery: Gallery
    gallery_id: str
    models: ModelInfo


def salience_of(value: object) -> SalienceMode:
    """`value` as what conditions salience. Raises InputError where it is neither."""
    return "full" if permalink.parse_salience(value) == "full" else "head"


def wanted(text: str) -> str | None:
    """What a text looks for, without what it does not want; None where nothing is left."""
    from ssa_me.gallery.terms import parse_terms

    return parse_terms(text).wanted


class Searching:
    """Searches the galleries of one workspace. Thread-safe as that is."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def find(self, state: SearchState, rankings: Sequence[str] = ()) -> Found:
        """The lists of a search: those of `rankings`, else the state's own. Raises InputError where it makes no sense."""
        from ssa_me.gallery.search import search

        state = replace(state, k=permalink.parse_count(state.k), weight=permalink.parse_weight(state.weight))
        if state.is_empty:
            raise InputError("There is nothing to search for. Type a text, add an image, or both.")
        names = tuple(rankings) or state.refining.rankings or PAIRS[permalink.parse_method(state.method)]
        salience, refinement = salience_of(state.salience), state.refining.refinement()
        gallery_id = self._workspace.gallery_id(state)
        gallery = self._workspace.gallery(gallery_id)
        query, embedder = self._query(state), self._workspace.opponents.embedder(state.against)
        result = search(
            *(gallery, embedder, query, names, state.k),
            refinement=refinement,
            remedy=self._remedy(state.against),
            salience=salience,
        )
        return Found(result, gallery, gallery_id, embedder.info)

    def view(self, state: SearchState, rankings: Sequence[str] = ()) -> views.Json:
        """Both lists as the page shows them."""
        found = self.find(state, rankings)
        return views.search_view(found.gallery_id, found.gallery, found.result, found.models)

    def json(self, state: SearchState, rankings: Sequence[str] = ()) -> dict[str, Any]:
        """The same as the commands print it, but that a hit has `file_name` and `url` instead of `path`."""
        found = self.find(state, rankings)
        return views.result_json(found.gallery_id, found.gallery, found.result) | views.models_json(
            found.models
        )

    def like(self, gallery_id: object, item_id: object, region: object) -> SearchState:
        """The search for more like a region (x, y, width, height in pixels) of an image of a gallery. Raises InputError
        where one of them is not there."""
        from app import refining

        asked = refining.read({"region": region})
        workspace = self._workspace
        upload = workspace.uploads.describe(workspace.keep_image(gallery_id, item_id))
        if asked.region is None:
            return SearchState(image=upload.hash)
        item = workspace.gallery(gallery_id).item(item_id) if type(item_id) is int else None
        scale = upload.width / item.width if item else 1.0
        x, y, width, height = (round(number * scale, 1) for number in asked.region)
        return SearchState(image=upload.hash, refining=Refining(region=(x, y, width, height)))

    # What can be filtered by, and what is kept

    def known(self, gallery_id: object) -> dict[str, Any]:
        """The rankings with what they are, keys and values to filter a gallery by, and what is kept in it by name."""
        from ssa_me.gallery.saved import KINDS, saved
        from ssa_me.gallery.search import EXPLAINED

        gallery = self._open(gallery_id)
        rankings = [{"name": n, "title": views.title(n), "explained": text} for n, text in EXPLAINED.items()]
        kept = [{"kind": kind, "name": name} for kind in KINDS for name in saved(gallery, kind)]
        return {"rankings": rankings, "fields": gallery.fields(), "saved": kept}

    def keep_query(self, state: SearchState, name: object) -> str:
        """Keep what is asked under a name, for `recall` and for the command `search --saved`. Returns the name as kept."""
        from ssa_me.gallery.saved import SavedQuery, save_query

        refinement = state.refining.refinement()
        names = state.refining.rankings or PAIRS[state.method]
        asked = SavedQuery(self._query(state), names, state.k, refinement)
        return save_query(self._open(state.gallery), str(name), asked)

    def keep_view(self, state: SearchState, name: object) -> str:
        """Keep all that is shown, as a link, under a name. Its image stays among the uploads only."""
        from ssa_me.gallery.saved import save

        link = permalink.build(replace(state, gallery=None, against=None, models=(), tab="search"))
        return save(self._open(state.gallery), "view", str(name), {"link": link})

    def recall(self, gallery_id: object, kind: object, name: object) -> SearchState:
        """The search that is kept under a name. Raises InputError where there is none."""
        from ssa_me.gallery.saved import load_query, saved

        gallery, place = self._open(gallery_id), permalink.check_gallery_id(gallery_id)
        if kind == "view":
            views_kept = saved(gallery, "view")
            if str(name) not in views_kept:
                raise InputError(f"There is no saved view {str(name)[:80]!r} in {gallery.name}.")
            link = str(views_kept[str(name)].get("link", ""))
            return replace(permalink.parse(dict(parse_qsl(link.removeprefix("?")))), gallery=place)
        asked = load_query(gallery, str(name))
        query, refinement = asked.query, asked.refinement
        upload = self._workspace.uploads.add_image(query.image) if query.image else None
        scale = upload.width / query.image.width if upload and query.image else 1.0
        lists = asked.rankings if len(asked.rankings) == 2 else (asked.rankings * 2)[:2]
        first, second = lists if lists[0] != lists[1] else _beside(lists[0])
        refined = Refining(
            rankings=(first, second),
            where=tuple(refinement.where.to_json()),
            least_alignment=refinement.least_alignment,
            hide_duplicates=refinement.hide_duplicates,
            sort=refinement.sort,
            region=tuple(n * scale for n in query.region) if query.region else None,  # type: ignore[arg-type]
        )
        method, refined = settled(METHODS[0], refined)
        return SearchState(
            text=query.text or "",
            image=upload.hash if upload else None,
            weight=query.image_weight,
            k=asked.k,
            method=method,
            gallery=place,
            refining=refined,
        )

    def forget(self, gallery_id: object, kind: object, name: object) -> None:
        """Forget what is kept under a name. Raises InputError where there is nothing."""
        from ssa_me.gallery.saved import forget

        forget(self._open(gallery_id), "view" if kind == "view" else "query", str(name))

    def _remedy(self, against: str | None) -> str:
        name = self._workspace.opponents.name(against)
        return f"It is to be embedded with {name} first: the Gallery tab has the button." if name else REMEDY

    def _open(self, gallery_id: object) -> Gallery:
        return self._workspace.gallery(gallery_id or self._workspace.default_gallery())

    def _query(self, state: SearchState) -> Query:
        from ssa_me.gallery.results import Query

        image = self._workspace.uploads.image(state.image) if state.image else None
        region = state.refining.region if image is not None else None
        return Query(state.text.strip() or None, image, state.weight, region)


def _beside(name: str) -> tuple[str, str]:
    """A ranking that was asked for alone, with the other model's beside it."""
    version, plus, method = name.partition("+")
    other = "ssa-me" if version == "baseline" else "baseline"
    lists = [f"{other}{plus}{method}", name]
    return (lists[0], lists[1]) if version != "baseline" else (lists[1], lists[0])
