"""Queries and views that are kept in a gallery by name. A query can be run again; a view is whatever a page says of itself.

    save_query(gallery, "red ones", SavedQuery(Query("red bird -flower"), ("ssa-me",), 10, Refinement()))
    load_query(gallery, "red ones").query.text

A query's image is kept in the gallery (`queries/<hash>.png`). It knows no search and no page.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from ssa_me.errors import InputError
from ssa_me.gallery.filters import parse_filters
from ssa_me.gallery.refine import Refinement
from ssa_me.gallery.results import Query
from ssa_me.gallery.store import Gallery
from ssa_me.images import load_image, pixel_hash

Kind = Literal["query", "view"]
KINDS: tuple[Kind, ...] = ("query", "view")
MOST = 1000
MOST_LETTERS = 80
MOST_STATE = 65_536


@dataclass(frozen=True)
class SavedQuery:
    """All that a search is asked: what, under which rankings, how many, and what is refined."""

    query: Query
    rankings: tuple[str, ...]
    k: int
    refinement: Refinement


def save(gallery: Gallery, kind: Kind, name: str, state: Mapping[str, Any]) -> str:
    """Keep a state under a name, in place of one that has it. Returns the name as it is kept. Raises InputError for a blank
    or long name, a state above 64 KB, more than 1,000 of a kind, or a read-only gallery."""
    name, text = _name(name), json.dumps(dict(state), allow_nan=False)
    if len(text) > MOST_STATE:
        raise InputError(
            f"What is to be saved as {name!r} takes {len(text):,} letters, more than {MOST_STATE:,}."
        )
    with gallery.database.writing() as db:
        db.execute("INSERT OR REPLACE INTO saved VALUES (?, ?, ?)", (_kind(kind), name, text))
        if db.execute("SELECT count(*) FROM saved WHERE kind = ?", (kind,)).fetchone()[0] > MOST:
            raise InputError(f"{MOST:,} are saved already. Delete some first.")
    return name


def saved(gallery: Gallery, kind: Kind) -> dict[str, dict[str, Any]]:
    """Name → state of all that is kept of a kind, by name."""
    query = "SELECT name, state FROM saved WHERE kind = ? ORDER BY name"
    with gallery.database.reading() as db:
        return {name: json.loads(state) for name, state in db.execute(query, (_kind(kind),))}


def forget(gallery: Gallery, kind: Kind, name: str) -> None:
    """Delete what is kept under a name. Raises InputError where there is nothing."""
    with gallery.database.writing() as db:
        gone = db.execute("DELETE FROM saved WHERE kind = ? AND name = ?", (_kind(kind), name)).rowcount
    if not gone:
        raise InputError(f"There is no saved {kind} {name!r} in {gallery.name}.")


def save_query(gallery: Gallery, name: str, asked: SavedQuery) -> str:
    """Keep a query under a name, its image in the gallery. See `save`."""
    query = asked.query
    return save(
        gallery,
        "query",
        name,
        {
            "text": query.text,
            "image": _keep_image(gallery, query.image) if query.image else None,
            "image_weight": query.image_weight,
            "region": list(query.region) if query.region else None,
            "rankings": list(asked.rankings),
            "k": asked.k,
            "refinement": asked.refinement.to_json(),
        },
    )


def load_query(gallery: Gallery, name: str) -> SavedQuery:
    """The query of a name. Raises InputError where there is none, or its image is gone."""
    found = saved(gallery, "query")
    if name not in found:
        names = ", ".join(found) or "none"
        raise InputError(f"There is no saved query {name!r} in {gallery.name}; there is: {names}.")
    state = found[name]
    digest, region = state["image"], state["region"]
    image = load_image(_image_path(gallery, digest), f"the image of {name!r}") if digest else None
    refinement = dict(state["refinement"])
    where = parse_filters(refinement.pop("where", ()))
    return SavedQuery(
        Query(state["text"], image, state["image_weight"], tuple(region) if region else None),
        tuple(state["rankings"]),
        int(state["k"]),
        Refinement(where, **refinement),
    )


def _keep_image(gallery: Gallery, image: Image.Image) -> str:
    digest = pixel_hash(image)
    path = _image_path(gallery, digest)
    if not path.is_file() and not gallery.read_only:
        path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as unfinished:
            image.save(unfinished, format="PNG")
        os.replace(unfinished.name, path)
    return digest


def _image_path(gallery: Gallery, digest: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise InputError(f"{digest[:80]!r} is not the hash of an image. Save the query again.")
    return gallery.folder / "queries" / f"{digest}.png"


def _name(name: str) -> str:
    clean = " ".join(name.split())
    if not clean or len(clean) > MOST_LETTERS or not clean.isprintable():
        raise InputError(f"A name has 1 to {MOST_LETTERS} printable letters, unlike {name[:90]!r}.")
    return clean


def _kind(kind: str) -> str:
    if kind not in KINDS:
        raise InputError(f"There is nothing of the kind {kind!r}. Choose one of {', '.join(KINDS)}.")
    return kind
