"""What the page's widgets are given: plain JSON made of the library's results. Knows no page; touches no files.

Arrays are rounded to four significant digits. Boxes of regions stay `x, y, width, height`, boxes of tokens `x0, y0, x1,
y1`, both in pixels of the upright image. Addresses of images are relative to the page and name a gallery and an id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ssa_me.explanation import Alignment, Explanation
    from ssa_me.gallery.items import Item
    from ssa_me.gallery.results import Hit, SearchResult, SubjectHit
    from ssa_me.gallery.store import Gallery
    from ssa_me.model_info import ModelInfo

Json = dict[str, Any]

STAGES = {
    "semantic": (
        "Semantic",
        "R: attention when the subject is named, relative to a generic prompt; r / (1 + r)",
    ),
    "expert": ("Expert", "E: the visual expert's region of the subject, without language"),
    "fused": ("Fused", "S = max over subjects of E^a · R^(1−a), never stretched to its maximum"),
    "head": ("Head", "the salience head's own map: what replaces the first three when the model runs"),
    "gain": ("Regenerated", "w = f + (1 − f) · S: how much of each visual token is kept"),
}
_SECONDS = {"semantic": "relevance", "expert": "expert", "fused": "fusion", "head": "head"}
"""Stage → the part of an explanation's time that it took."""
_ARTICLES = {"a", "an", "the", "some", "one"}
_PERSONS = {"man", "woman", "boy", "girl", "child", "lady"}


def thumbnail_url(gallery: str, item: Item) -> str:
    """With a part of the content hash, so that a browser may keep the answer."""
    return f"studio/thumb/{gallery}/{item.id}?v={item.thumbnail.stem[:8]}"


def image_url(gallery: str, item: Item) -> str:
    return f"studio/image/{gallery}/{item.id}?v={item.thumbnail.stem[:8]}"


def upload_url(digest: str) -> str:
    return f"studio/upload/{digest}"


def numbers(values: np.ndarray | Sequence[float]) -> list[Any]:
    """An array of any shape as nested lists with four significant digits; what is not finite becomes 0."""
    array = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    flat = [float(f"{value:.4g}") for value in array.ravel()]
    return np.array(flat).reshape(array.shape).tolist()


def agrees(phrase: str, label: str) -> bool:
    """Whether an annotated label and a query's phrase name the same subject: one's words contain the other's.
    A "person" on one side may be any man, woman or child on the other."""
    first, second = ({w for w in text.lower().split() if w not in _ARTICLES} for text in (phrase, label))
    if "person" in first ^ second:
        first, second = ({"person" if w in _PERSONS else w for w in words} for words in (first, second))
    return bool(first and second) and (first <= second or second <= first)


def model_view(info: ModelInfo) -> Json:
    return {
        "name": info.name,
        "checkpoint": Path(info.checkpoint).name,
        "family": info.family,
        "device": info.device,
        "precision": info.precision,
        "reason": info.reason,
        "parameters": info.parameters,
        "dimension": info.dimension,
        "fingerprints": dict(info.fingerprints),
        "trained": dict(info.trained),
        "knows": info.knows,
    }


def item_view(gallery_id: str, item: Item) -> Json:
    return {
        "id": item.id,
        "name": item.file_name,
        "thumb": thumbnail_url(gallery_id, item),
        "width": item.width,
        "height": item.height,
        "caption": item.captions[0] if item.captions else "",
    }


def title(ranking: str, titles: Mapping[str, str] | None = None) -> str:
    """The name of a ranking for people: `SSA-ME + subjects`. titles: those of the versions, where they are not the usual."""
    from ssa_me.model_info import TITLES

    version, _, extra = ranking.partition("+")
    return (titles or TITLES).get(version, version) + (f" + {extra}" if extra else "")


def explained(ranking: str, info: ModelInfo) -> str:
    """What a ranking is, in a line; of a version in the baseline's place, what its SSA-ME is."""
    from ssa_me.gallery.search import EXPLAINED

    version, plus, method = ranking.partition("+")
    if not info.heads:
        return EXPLAINED.get(ranking, "")
    return f"SSA-ME of {info.titles[version]} ({info.fingerprints[version]}): {EXPLAINED.get(f'ssa-me{plus}{method}', '')}"


def models_json(info: ModelInfo) -> Json:
    """Which models answered, where that is not the baseline and SSA-ME of the model in use."""
    if not info.heads:
        return {}
    return {"models": {v: {"name": info.titles[v], "fingerprint": info.fingerprints[v]} for v in info.titles}}


def search_view(gallery_id: str, gallery: Gallery, result: SearchResult, info: ModelInfo) -> Json:
    """Both lists, the first being what the second's moves in rank refer to. Moves: places up, "new", or "out"."""
    names = list(result.results)
    ranks = {name: {hit.id: hit.rank for hit in hits} for name, hits in result.results.items()}
    first, second = ranks[names[0]], ranks[names[-1]]
    items = gallery.items_of(hit.id for hits in result.results.values() for hit in hits)
    lists = []
    for name, hits in result.results.items():
        rows = []
        for hit in hits:
            if name == names[0]:
                move: int | str | None = None if hit.id in second else "out"
            else:
                move = first[hit.id] - hit.rank if hit.id in first else "new"
            rows.append(hit_view(gallery_id, items[hit.id], hit) | {"move": move})
        version, _, method = name.partition("+")
        seconds = result.seconds.get(name)
        lists.append(
            {
                "name": name,
                "version": version,
                "method": method or "vector",
                "title": title(name, info.titles),
            }
            | {"explained": explained(name, info), "seconds": seconds, "hits": rows}
            | {"hidden": result.hidden.get(name, 0)}
        )
    shared = len(first.keys() & second.keys())
    query = result.seconds.get("query")
    return {
        "lists": lists,
        "query_seconds": query,
        "shared": shared,
        "overlap": result.overlap,
        "unwanted": list(result.query.unwanted),
        "notes": list(result.notes),
    }


def result_json(gallery_id: str, gallery: Gallery, result: SearchResult) -> Json:
    """The result's own JSON, its hits with the image's name and address instead of a path on this machine."""
    items = gallery.items_of(hit.id for hits in result.results.values() for hit in hits)
    lists: dict[str, list[Json]] = {}
    for name, hits in result.results.items():
        lists[name] = []
        for hit in hits:
            item = items[hit.id]
            place = {"file_name": item.file_name, "url": image_url(gallery_id, item)}
            lists[name].append({key: value for key, value in hit.to_json().items() if key != "path"} | place)
    return result.to_json() | {"results": lists}


def hit_view(gallery_id: str, item: Item, hit: Hit) -> Json:
    return item_view(gallery_id, item) | {
        "rank": hit.rank,
        "score": round(float(hit.score), 4),
        "subject": subject_view(hit.subject) if hit.subject else None,
    }


def subject_view(subject: SubjectHit) -> Json:
    """`agrees` is null where the winning region carries no annotation to compare with."""
    return {
        "phrase": subject.phrase,
        "score": round(float(subject.score), 4),
        "bbox": numbers(subject.bbox) if subject.bbox else None,
        "label": subject.label,
        "agrees": agrees(subject.phrase, subject.label) if subject.label else None,
    }


def explanation_view(gallery_id: str, item: Item, explanation: Explanation) -> Json:
    """Everything that the opened hit paints: token boxes, both attentions, stages, subjects."""
    stages = [
        {
            "name": name,
            "title": title,
            "hint": hint,
            "values": numbers(explanation.stages[name]),
            "seconds": explanation.seconds.get(_SECONDS.get(name, "")),
        }
        for name, (title, hint) in STAGES.items()
        if name in explanation.stages
    ]
    return item_view(gallery_id, item) | {
        "image": image_url(gallery_id, item),
        "size": list(explanation.image_size),
        "boxes": numbers(explanation.boxes),
        "attention": {name: numbers(values) for name, values in explanation.attention.items()},
        "on_image": _rounded(explanation.attention_on_image),
        "similarity": _rounded(explanation.similarity),
        "stages": stages,
        "regions": [
            {"bbox": numbers(r.bbox), "salience": round(float(r.salience), 4)} for r in explanation.regions
        ],
        "subjects": [alignment_view(alignment, item) for alignment in explanation.alignment],
        "seconds": _rounded(explanation.seconds),
        "salience": explanation.salience,
        "source": explanation.subjects.source,
        "described": explanation.subjects.described,
        "captions": list(item.captions),
    }


def alignment_view(alignment: Alignment, item: Item) -> Json:
    """`label` and `agrees` as in a list's row: what the region is annotated as, and whether that is the phrase."""
    from ssa_me.gallery.items import annotation

    label = annotation(alignment.region, item)
    return {
        "phrase": alignment.phrase,
        "score": round(float(alignment.score), 4),
        "scores": _rounded(alignment.scores),
        "region": numbers(alignment.region) if alignment.region else None,
        "rival": numbers(alignment.rival) if alignment.rival else None,
        "rival_score": None if alignment.rival_score is None else round(float(alignment.rival_score), 4),
        "misaligned": bool(alignment.misaligned),
        "label": label,
        "agrees": agrees(alignment.phrase, label) if label else None,
        "attention": _rounded(alignment.attention),
        "salience": numbers(alignment.salience),
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in values.items()}
