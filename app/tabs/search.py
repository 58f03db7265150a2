"""The Search tab: a query, both rankings side by side, and the opened image. Lists come first, maps after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr

from app import permalink, views
from app.answers import HIDDEN, attempt, notice, read_asked, read_state, token
from app.permalink import SearchState
from app.refining import PAIRS
from app.searching import READ_ONLY
from app.uploads import MAX_BYTES
from app.widgets import widget
from app.workspace import Workspace
from ssa_me.errors import InputError
from ssa_me.nearness import NEAR_DUPLICATE

EXAMPLES = ["a person in red", "a red bird", "a yellow car in the city", "a cat left of a tree"]
METHODS = [("vector", "one vector"), ("subjects", "+ subjects"), ("rerank", "+ re-rank")]
MIXED = ("mixed", "two lists of choice")
"""What the choice of a method says where the two lists are no pair of one."""
SAMPLES = 40
EMPTY = {
    "title": "Ask both models the same question",
    "text": "Type what you look for, drop or paste an image, or both. Baseline and SSA-ME answer side by side; "
    "open a result to see where each of them looked.",
}


@dataclass(frozen=True)
class SearchTab:
    """The tab's parts that other tabs and the page's address set."""

    query: gr.HTML
    notice: gr.HTML
    ranking: gr.HTML
    opened: gr.HTML


def empty_ranking(workspace: Workspace, gallery: object, arrival: bool = False) -> dict[str, Any]:
    """What stands where the lists will be: what to do, and some images of the gallery. On `arrival` of a visitor it
    gives way to lists that are there already."""
    page, _ = attempt(lambda: workspace.page(gallery, 0, SAMPLES) if gallery else None)
    return {"token": token(), "empty": EMPTY | {"samples": page["items"] if page else [], "arrival": arrival}}


def query_value(workspace: Workspace, state: SearchState) -> dict[str, Any]:
    """What the query bar shows for a search. Raises InputError where its image is gone."""
    upload = workspace.query_image(state.image)
    return {
        "text": state.text,
        "image": image_value(upload.hash, upload.width, upload.height) if upload else None,
        "weight": state.weight,
        "k": state.k,
        "method": state.method,
        "salience": state.salience,
        "hit": state.hit,
        "models": list(state.models),
        "refining": state.refining.to_json(),
    }


def like_value(workspace: Workspace, sent: dict[str, Any]) -> dict[str, Any]:
    """What the query bar shows for more like a region of an opened image: {id, region, state} as the browser sent it. Raises
    InputError where it makes no sense."""
    values = sent.get("state")
    values = values if isinstance(values, dict) else {}
    asked = read_state(values, values.get("gallery"))
    found = workspace.searching.like(asked.gallery, sent.get("id"), sent.get("region"))
    refining = replace(asked.refining, region=found.refining.region, only="")
    return query_value(
        workspace, replace(asked, text="", image=found.image, models=(), hit=None, refining=refining)
    )


def image_value(digest: str, width: int, height: int) -> dict[str, Any]:
    return {"hash": digest, "width": width, "height": height, "url": views.upload_url(digest)}


def ranking_value(workspace: Workspace, state: SearchState) -> dict[str, Any]:
    """Both lists of a search as the ranking widget takes them. Raises InputError where the query makes no sense."""
    state = replace(state, gallery=state.gallery or workspace.default_gallery())
    view = workspace.search(state)
    shown = {
        "text": state.text,
        "image": state.image,
        "weight": state.weight,
        "k": state.k,
        "method": state.method,
        "salience": state.salience,
        "refining": state.refining.to_json(),
        "against": state.against,
    }
    return view | {
        "token": token(),
        "state": shown | {"gallery": state.gallery},
        "k": max((len(ranking["hits"]) for ranking in view["lists"]), default=0),
        "link": permalink.build(replace(state, hit=None, models=workspace.inspector.models(state.against))),
        "open": state.hit,
    }


def create(
    workspace: Workspace, masthead: gr.HTML, public: bool = False, annotates: bool = True
) -> SearchTab:
    """Build the tab and its events. `masthead` says which gallery is open. On a `public` page nothing is kept by name;
    `annotates`: whether an opened image can be annotated."""

    def take_image(sent: dict[str, Any]) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            upload = workspace.uploads.add(
                read_upload(sent.get("path")), str(sent.get("name") or "The image")[:80]
            )
            return {"image": image_value(upload.hash, upload.width, upload.height)}

        answer, trouble = attempt(work)
        return answer or {"error": trouble}

    query = widget(
        "query",
        {},
        styles=["filters"],
        server_functions=[take_image, *_keeping(workspace, public)],
        examples=EXAMPLES,
        methods=[*METHODS, MIXED],
        pairs=PAIRS,
        duplicate=NEAR_DUPLICATE,
        keeps=not public,
    )
    message = widget("notice")
    ranking = widget("ranking", {"token": "", "empty": EMPTY | {"samples": [], "arrival": True}})
    opened = widget("opened", annotates=annotates)
    tab = SearchTab(query, message, ranking, opened)
    query.submit(
        search_event(workspace),
        [query, masthead],
        [ranking, message],
        trigger_mode="always_last",
        concurrency_limit=4,
        concurrency_id="search",
        **HIDDEN,
    )

    def open_hit(event: gr.EventData) -> dict[str, Any]:
        sent = event._data if isinstance(event._data, dict) else {}

        def work() -> dict[str, Any]:
            values = sent.get("state")
            if not isinstance(values, dict) or type(sent.get("id")) is not int:
                raise InputError("There is no image to open. Search again.")
            return workspace.explain(read_state(values, values.get("gallery")), sent["id"])

        view, trouble = attempt(work)
        return (view or {"error": trouble, "id": sent.get("id")}) | {"token": token()}

    ranking.open(
        open_hit,
        None,
        opened,
        trigger_mode="always_last",
        concurrency_limit=2,
        **HIDDEN,
    )
    return tab


def _keeping(workspace: Workspace, public: bool) -> list[Callable[[dict[str, Any]], dict[str, Any]]]:
    """What the filters call: look_up {gallery}, keep {gallery, kind, name, entered, link}, recall and forget {gallery, kind,
    name}; each answers {error} where it cannot."""
    searching = workspace.searching

    def answered(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        answer, trouble = attempt(work)
        return {"error": trouble} if answer is None else answer

    def check_writable() -> None:
        if public:
            raise InputError(READ_ONLY)

    def look_up(sent: dict[str, Any]) -> dict[str, Any]:
        return answered(lambda: searching.known(sent.get("gallery")))

    def keep(sent: dict[str, Any]) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            check_writable()
            entered = sent.get("entered")
            gallery = sent.get("gallery") or workspace.default_gallery()
            state = read_state(entered if isinstance(entered, dict) else {}, gallery)
            if sent.get("kind") != "view":
                return {"name": searching.keep_query(state, sent.get("name") or "")}
            shown = permalink.parse(dict(parse_qsl(str(sent.get("link") or "").removeprefix("?"))))
            return {"name": searching.keep_view(replace(shown, gallery=gallery), sent.get("name") or "")}

        return answered(work)

    def recall(sent: dict[str, Any]) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            gallery = sent.get("gallery") or workspace.default_gallery()
            state = searching.recall(gallery, sent.get("kind"), sent.get("name"))
            return {"entered": query_value(workspace, state)}

        return answered(work)

    def forget(sent: dict[str, Any]) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            check_writable()
            searching.forget(sent.get("gallery"), sent.get("kind"), sent.get("name"))
            return {}

        return answered(work)

    return [look_up, keep, recall, forget]


def search_event(workspace: Workspace) -> Any:
    """The event that answers what the query bar holds; with nothing entered after a link without a query, the hint."""

    def answer(entered: dict[str, Any], masthead: dict[str, Any]) -> tuple[Any, dict[str, str]]:
        def work() -> tuple[dict[str, Any], str]:
            hit = (entered or {}).get("hit")
            state = read_asked(entered or {}, masthead)
            value = ranking_value(workspace, replace(state, hit=hit if type(hit) is int else None))
            return value, workspace.inspector.other_models(state)

        found, trouble = attempt(work)
        if found is None:
            return gr.skip(), notice(trouble)
        value, other = found
        return value, notice(" ".join(filter(None, [other, *value["notes"]])), "note")

    return answer


def read_upload(path: object, what: str = "image") -> bytes:
    """The bytes of a file that this page's upload put into its own temporary folder; InputError for any other path."""
    from gradio.utils import get_upload_folder

    folder = Path(get_upload_folder()).resolve()
    file = Path(str(path)).resolve()
    if not (file.is_relative_to(folder) and file.is_file()):
        raise InputError(f"The {what} did not arrive. Upload it again.")
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"The {what} is larger than {MAX_BYTES // 2**20} MB. Make it smaller and try again.")
    return file.read_bytes()
