"""What the Inspect tab's widgets are given: plain JSON made of an explanation. Knows no page; touches no files.

Layers, heads and regions count from 1 where they are shown, from 0 here but for the settings. Boxes as in `views`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app import views
from app.inspect_settings import InspectSettings
from app.views import Json, numbers
from ssa_me.explanation import attention_of

if TYPE_CHECKING:
    from ssa_me.explanation import Explanation
    from ssa_me.gallery.items import Item
    from ssa_me.gallery.standing import Standing


def maps_view(
    gallery_id: str,
    item: Item,
    explanation: Explanation,
    settings: InspectSettings,
    layers: Sequence[int] | None,
) -> Json:
    """Both attentions at the chosen layer and head, and every stage of the salience, over all subjects and one by one.
    `layers`: those that the mean is taken over. Raises InputError where there is no such layer or head."""
    base = views.explanation_view(gallery_id, item, explanation)
    count, heads = next(iter(explanation.heads.values())).shape[:2]
    layer, head = (None if n is None else n - 1 for n in (settings.layer, settings.head))
    shown = {v: attention_of(rows, layer, head, layers) for v, rows in explanation.heads.items()}
    read = list(layers) if layers is not None else list(range(count // 2, count))
    stages = [
        stage
        | {"each": numbers(explanation.each[stage["name"]]) if stage["name"] in explanation.each else []}
        for stage in base["stages"]
    ]
    kept = [
        "id",
        "name",
        "caption",
        "captions",
        "image",
        "size",
        "boxes",
        "similarity",
        "seconds",
        "salience",
        "source",
        "described",
    ]
    return {key: base[key] for key in kept} | {
        "attention": {v: numbers(row) for v, row in shown.items()},
        "on_image": {v: round(float(row.sum()), 5) for v, row in shown.items()},
        "stages": stages,
        "phrases": [alignment.phrase for alignment in explanation.alignment],
        "layers": count,
        "heads": heads,
        "layer": settings.layer,
        "head": settings.head,
        "read": [number + 1 for number in read],
        "equal": all(np.array_equal(shown["baseline"], row) for row in shown.values()),
    }


def alignment_view(gallery_id: str, item: Item, explanation: Explanation) -> Json:
    """Phrases × regions with the scores of both versions; each region with what it is annotated as."""
    from ssa_me.gallery.items import annotation

    table = explanation.table
    regions = []
    for n, bbox in enumerate(table.bboxes if table else ()):
        regions.append(
            {
                "bbox": numbers(bbox),
                "owner": table.owners[n] if table else None,
                "label": annotation(bbox, item),
                "inside": {v: round(float(row[n]), 4) for v, row in table.inside.items()} if table else {},
            }
        )
    return {
        "id": item.id,
        "image": views.image_url(gallery_id, item),
        "size": list(explanation.image_size),
        "subjects": [views.alignment_view(alignment, item) for alignment in explanation.alignment],
        "asked": len(explanation.alignment) - len(explanation.subjects.phrases),
        "regions": regions,
        "scores": {v: numbers(rows) for v, rows in table.scores.items()} if table else {},
        "source": explanation.subjects.source,
    }


def redraw_view(
    gallery_id: str,
    item: Item,
    regions: Sequence[Any],
    found: Sequence[Any],
    standings: Mapping[str, Standing],
    titles: Mapping[str, str],
) -> Json:
    """The regions that are drawn (or found), and where the image stands by each ranking, before and after."""
    places = []
    for name, standing in standings.items():
        version = name.partition("+")[0]
        shown = {"name": name, "version": version, "title": views.title(name, titles)}
        places.append(shown | standing.to_json())
    return {
        "id": item.id,
        "image": views.image_url(gallery_id, item),
        "size": [item.width, item.height],
        "name": item.file_name,
        "regions": [numbers(bbox) for bbox in regions],
        "found": [numbers(bbox) for bbox in found],
        "places": places,
    }
