"""What the Inspect tab asks: one image of a gallery and one query, looked at closely. Imports no gradio.

Everything is checked here, because a client can forge any value. Nothing is written: an image that is embedded with
other regions is ranked in memory, the gallery stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from app import inspect_settings, inspect_view, permalink, views
from app.answers import read_state
from app.attributing import Attributions, options
from app.inspect_settings import InspectSettings
from app.permalink import SearchState
from app.searching import salience_of, wanted
from app.views import Json
from ssa_me.byte_cache import ByteCache
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from app.workspace import Workspace
    from ssa_me.explanation import Explanation
    from ssa_me.gallery.items import Item
    from ssa_me.gallery.standing import Standing
    from ssa_me.gallery.store import Gallery
    from ssa_me.samples import BBox

EXPLANATION_BYTES = 64 * 2**20
PICKED = 48
NO_IMAGE = "No image is chosen. Choose one of the gallery, or open a result of a search."
_FALLEN_BACK = "A second ranking looks at the first 20 alone; ranks here are those by one vector."


def read_entry(values: object, gallery: object = None) -> tuple[SearchState, InspectSettings]:
    """Query, image and settings as a browser sent them: `{gallery, text, image, id, against, settings}`, where `settings` may also
    hold the search's weight, method and salience. Raises InputError where a value makes no sense."""
    entry: Mapping[str, Any] = values if isinstance(values, Mapping) else {}
    settings = entry.get("settings")
    searched = settings if isinstance(settings, Mapping) else {}
    kept = {key: searched[key] for key in ("weight", "method", "salience") if searched.get(key) is not None}
    asked = {key: entry.get(key) for key in ("text", "image", "models", "against")}
    state = read_state(asked | kept, entry.get("gallery") or gallery)
    chosen = entry.get("id")
    if chosen is not None and (type(chosen) is not int or not 0 <= chosen < 2**53):
        raise InputError("There is no such image. Choose one of the gallery.")
    return replace(state, hit=chosen, tab="inspect"), inspect_settings.read(settings)


def entry_of(state: SearchState, settings: InspectSettings) -> Json:
    """The same as the browser keeps it."""
    searched = {"weight": state.weight, "method": state.method, "salience": state.salience}
    return {
        "gallery": state.gallery,
        "text": state.text,
        "image": state.image,
        "id": state.hit,
        "settings": settings.to_json() | searched,
        "models": list(state.models),
        "against": state.against,
    }


class Inspector:
    """Answers what the Inspect tab asks, for the models and galleries of one workspace. Thread-safe as that is."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._explanations: ByteCache[Explanation] = ByteCache(EXPLANATION_BYTES, _bytes)
        self.attributions = Attributions(self, workspace.opponents)

    def look(self, state: SearchState, settings: InspectSettings) -> dict[str, Json]:
        """What each widget shows: entry, maps, alignment, redraw, attribution. Raises InputError where gallery, image, layer or head
        is not there, or no image is chosen."""
        state, lost = self._without_lost_image(self.placed(state))
        gallery_id, gallery, item = self.item(state)
        explanation = self.explanation(state, settings)
        embedder = self._workspace.opponents.embedder(state.against)
        maps = inspect_view.maps_view(gallery_id, item, explanation, settings, embedder.layers)
        titles = dict(embedder.info.titles)
        found = tuple(region.bbox for region in explanation.regions)
        drawn = settings.regions
        standings = {} if state.is_empty else self.standings(state, gallery, item, drawn)
        redraw = inspect_view.redraw_view(
            gallery_id, item, found if drawn is None else drawn, found, standings, titles
        )
        noted = _FALLEN_BACK if state.method == "rerank" and standings else ""
        return {
            "entry": self.entry(state, settings, lost),
            "maps": maps | {"titles": titles},
            "alignment": inspect_view.alignment_view(gallery_id, item, explanation) | {"titles": titles},
            "redraw": redraw
            | {"drawn": drawn is not None, "note": noted, "regional": state.against is not None},
            "attribution": {
                "image": maps["image"],
                "entry": entry_of(state, settings),
                "titles": titles,
                **options(state.against is not None),
            },
        }

    def entry(self, state: SearchState, settings: InspectSettings, trouble: str = "") -> Json:
        """What the tab's head shows: query, image, link, and whether the link was made with other models."""
        value = entry_of(replace(state, models=()), settings)
        if state.gallery and state.hit is not None:
            gallery = self._workspace.gallery(state.gallery)
            value["shown"] = views.item_view(state.gallery, gallery.item(state.hit))
        if state.image:
            upload = self._workspace.uploads.describe(state.image)
            value["query_image"] = {
                "url": views.upload_url(upload.hash),
                "width": upload.width,
                "height": upload.height,
            }
        return value | {
            "link": self.link(state, settings),
            "note": " ".join(filter(None, (trouble, self.other_models(state)))),
        }

    def link(self, state: SearchState, settings: InspectSettings) -> str:
        """The query string that shows the same again, and names the models that are loaded now."""
        return permalink.build(
            replace(state, tab="inspect", models=self.models(state.against)), settings.parameters()
        )

    def models(self, against: str | None = None) -> tuple[str, ...]:
        """The fingerprints of the versions that are compared; none until the model is loaded."""
        return tuple((self._workspace.opponents.fingerprints(against) or {}).values())

    def other_models(self, state: SearchState) -> str:
        """What to say where a link names other models than those that are loaded; else nothing."""
        loaded = self.models(state.against)
        if not state.models or not loaded or state.models == loaded:
            return ""
        return (
            f"This link was made with other models ({' and '.join(state.models)}) than are loaded now "
            f"({' and '.join(loaded)}): maps, scores and ranks may differ."
        )

    def explanation(self, state: SearchState, settings: InspectSettings) -> Explanation:
        """The explanation of the chosen image, with every head's attention; computed once."""
        _, gallery, item = self.item(state)
        embedder = self._workspace.opponents.embedder(state.against)
        text, salience = wanted(state.text), salience_of(state.salience)
        prints = tuple(embedder.info.fingerprints.items())
        key = (prints, str(gallery.folder), item.id, text, salience, settings.phrases)
        found = self._explanations.get(key)
        if found is None:
            found = embedder.explain(
                gallery.image(item.id), text, salience=salience, also=settings.phrases, heads=True
            )
            self._explanations.put(key, found)
        return found

    def standings(
        self, state: SearchState, gallery: Gallery, item: Item, drawn: tuple[BBox, ...] | None
    ) -> dict[str, Standing]:
        """Ranking → where the image stands for the query, and where it would with the `drawn` regions (None: as it is)."""
        from ssa_me.gallery.items import Spaces
        from ssa_me.gallery.search import RANKINGS
        from ssa_me.gallery.standing import standing
        from ssa_me.samples import Sample

        embedder = self._workspace.opponents.embedder(state.against)
        spaces = Spaces.of(embedder.info)
        image = self.query_image(state)
        text = wanted(state.text)
        if text is None and image is None:
            return {}
        queries = embedder.embed_query(text, image, state.weight)
        by_subjects = state.method == "subjects"
        stated = embedder.embed([Sample(text)], subjects=True).subject_vectors if text and by_subjects else {}
        redrawn = None if drawn is None else embedder.embed_redrawn(gallery.image(item.id), drawn)
        found = {}
        for version, query in queries.items():
            name = f"{version}+subjects" if state.method == "subjects" else version
            images, subjects = gallery.index(spaces.images(version)), gallery.index(spaces.subjects(version))
            if images is None or subjects is None or item.id not in images or name not in RANKINGS:
                continue
            held = subjects.of(item.id) if item.id in subjects else np.zeros((0, len(query)), np.float32)
            found[name] = standing(
                query,
                item.id,
                images.of(item.id)[0] if redrawn is None else redrawn.vectors[version],
                held if redrawn is None else redrawn.subject_vectors[version],
                images,
                subjects if by_subjects else None,
                stated[version][0] if version in stated else None,
            )
        return found

    def pick(self, state: SearchState, offset: object) -> Json:
        """Images to choose from: the best for the query where there is one, else a page of the gallery."""
        state = self.placed(state)
        if state.is_empty:
            at = offset if type(offset) is int else 0
            return self._workspace.page(state.gallery, at, PICKED)
        lists = self._workspace.search(replace(state, k=PICKED, hit=None), ("ssa-me",))["lists"]
        return {"items": lists[0]["hits"], "offset": 0, "limit": PICKED, "count": len(lists[0]["hits"])}

    def _without_lost_image(self, state: SearchState) -> tuple[SearchState, str]:
        """`state` without its query image where that is no longer there, and the sentence that says so."""
        if state.image is None:
            return state, ""
        try:
            self._workspace.uploads.path(state.image)
        except InputError as error:
            return replace(state, image=None), str(error)
        return state, ""

    def query_image(self, state: SearchState) -> Image.Image | None:
        """The query's image, where it has one. Raises InputError where that is no longer there."""
        return self._workspace.uploads.image(state.image) if state.image else None

    def placed(self, state: SearchState) -> SearchState:
        """`state` in a gallery: the first one where it names none. Raises InputError where there is none."""
        gallery = state.gallery or self._workspace.default_gallery()
        if gallery is None:
            raise InputError("There is no gallery yet. Make one in the Gallery tab.")
        return replace(state, gallery=gallery)

    def item(self, state: SearchState) -> tuple[str, Gallery, Item]:
        """The gallery's id, the gallery, and the chosen image. Raises InputError where one is not there."""
        placed = self.placed(state)
        if placed.hit is None:
            raise InputError(NO_IMAGE)
        gallery = self._workspace.gallery(placed.gallery)
        return str(placed.gallery), gallery, gallery.item(placed.hit)


def _bytes(explanation: Explanation) -> int:
    """Roughly what an explanation takes in memory."""
    arrays = [explanation.boxes]
    for rows in (explanation.attention, explanation.stages, explanation.each, explanation.heads):
        arrays += rows.values()
    return 4096 + sum(array.nbytes for array in arrays)
