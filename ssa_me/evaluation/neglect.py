"""Runs the neglect task (`ssa_me.scenes.neglect`) on models: joint queries, and the same with a modality permuted.

It reads the task in MMEB's format and embeds; the measures are in `perceptual.py`. Only one vector a query is compared:
candidates are texts, for which the other rankings have nothing to add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssa_me.errors import InputError
from ssa_me.evaluation.encode import Progress, batches, encode, silent
from ssa_me.evaluation.models import Model, compared, versions_of
from ssa_me.evaluation.perceptual import RIGHT, Measured, Statistic, outcomes, permuted, statistics
from ssa_me.images import load_image
from ssa_me.samples import Sample
from ssa_me.tables import read_rows, row_error

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

FILE = "neglect.jsonl"
Joint = tuple[str, str]
"""A text and the path of an image."""


@dataclass(frozen=True)
class NeglectQuery:
    """An image with a text, its candidates (the right one first), what each ignores, and the group that shares them."""

    text: str
    image: str
    candidates: tuple[str, ...]
    roles: tuple[str, ...]
    group: int


def read_neglect(data: Path) -> list[NeglectQuery]:
    """The queries of `data`/neglect.jsonl. InputError where it is missing, a row is not valid, or an image is missing."""
    path = data / FILE
    if not path.is_file():
        raise InputError(f"{data} holds no {FILE}. Leave --data out to have the task drawn.")
    queries = []
    for number, row in read_rows(path):
        try:
            query = NeglectQuery(
                str(row["qry_text"]),
                str(row["qry_img_path"]),
                tuple(row["tgt_text"]),
                tuple(row["tgt_role"]),
                int(row["group"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise row_error(path, number, error) from error
        if (
            len(query.candidates) != len(query.roles)
            or query.roles.count(RIGHT) != 1
            or query.roles[0] != RIGHT
        ):
            raise InputError(
                f"{path}, row {number}: one role a candidate, {RIGHT!r} first. Write the task anew."
            )
        if not (data / query.image).is_file():
            raise InputError(
                f"{data / query.image} of row {number} is missing. Put it back, or write the task anew."
            )
        queries.append(query)
    if len({len(query.candidates) for query in queries}) != 1 or len({query.group for query in queries}) < 2:
        raise InputError(
            f"{path} needs equally many candidates a query, and at least two groups. Give a larger --n."
        )
    return queries


def run_neglect(
    data: Path,
    embedder: SalientEmbedder,
    models: Sequence[Model],
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The object of `neglect --json` for the task in folder `data`; `seed` is that of permutations and bootstrap.

    Raises InputError for data that is not valid, and for models that do not rank by one vector.
    """
    others = [model.name for model in models if model.ranking != "vector"]
    if others:
        raise InputError(f"Neglect compares one vector a query; leave out {', '.join(others)}.")
    queries = read_neglect(data)
    groups = [query.group for query in queries]
    swap = permuted(groups, seed)
    asked: dict[str, list[Joint]] = {
        "whole": [(query.text, query.image) for query in queries],
        "without image": [(query.text, queries[j].image) for query, j in zip(queries, swap, strict=True)],
        "without text": [(queries[j].text, query.image) for query, j in zip(queries, swap, strict=True)],
    }
    versions = versions_of(models)
    scores = _scores(data, queries, asked, embedder, versions, progress)
    attention = _attention(data, asked["whole"], embedder, versions, progress)
    roles = np.array([query.roles for query in queries])
    measured = {}
    for version in versions:
        hits = {name: outcomes(scores[version, name], roles) for name in asked}
        measured[version] = statistics(
            Measured(hits["whole"], hits["without image"].hit, hits["without text"].hit, attention[version]),
            groups,
            seed,
        )
    return {
        "queries": len(queries),
        "images": len({query.image for query in queries}),
        "groups": len(set(groups)),
        "chance": 1 / len(queries[0].candidates),
        "models": {model.name: nested(measured[model.version]) for model in models},
        "difference": {
            f"{a.name} - {b.name}": _differences(measured[a.version], measured[b.version])
            for a, b in compared(models)
        },
    }


def _scores(
    data: Path,
    queries: Sequence[NeglectQuery],
    asked: Mapping[str, Sequence[Joint]],
    embedder: SalientEmbedder,
    versions: Sequence[str],
    progress: Progress,
) -> dict[tuple[str, str], np.ndarray]:
    """(version, condition) → scores (Q, C); each distinct pair of text and image is embedded once."""
    joint = {
        pair: row for row, pair in enumerate(dict.fromkeys(p for pairs in asked.values() for p in pairs))
    }
    phrases = {text: row for row, text in enumerate(dict.fromkeys(t for q in queries for t in q.candidates))}
    seen = encode(
        embedder,
        (Sample(text, load_image(data / image, image)) for text, image in joint),
        versions,
        total=len(joint),
        what="images with texts",
        progress=progress,
    )
    spoken = encode(embedder, (Sample(text) for text in phrases), versions)
    columns = np.array([[phrases[text] for text in query.candidates] for query in queries])
    found = {}
    for version in versions:
        candidates = spoken.vectors[version][columns]
        for condition, pairs in asked.items():
            own = seen.vectors[version][[joint[pair] for pair in pairs]]
            found[version, condition] = np.einsum("qd,qcd->qc", own, candidates)
    return found


def _attention(
    data: Path, pairs: Sequence[Joint], embedder: SalientEmbedder, versions: Sequence[str], progress: Progress
) -> dict[str, np.ndarray]:
    """Version → the last token's attention on the image (Q,), a share of all its attention, sinks left out."""
    mass: dict[str, list[float]] = {version: [] for version in versions}
    for batch in batches(pairs):
        maps = embedder.maps([load_image(data / image, image) for _, image in batch], [t for t, _ in batch])
        for version in versions:
            mass[version].extend(float(found.attention[version].sum()) for found in maps)
    progress(f"attention: {len(pairs):,} queries")
    return {version: np.array(values) for version, values in mass.items()}


def nested(found: Mapping[str, Statistic]) -> dict[str, Any]:
    """Statistics as JSON: `errors.neither` stands under `errors`; what is undefined is null."""
    answer: dict[str, Any] = {}
    for name, statistic in found.items():
        outer, _, inner = name.partition(".")
        estimate = statistic.estimate()
        shown = estimate.to_json() if estimate is not None else None
        if inner:
            answer.setdefault(outer, {})[inner] = shown
        else:
            answer[outer] = shown
    return answer


def _differences(ours: Mapping[str, Statistic], theirs: Mapping[str, Statistic]) -> dict[str, Any]:
    gaps = {name: ours[name].minus(theirs[name]).estimate() for name in ours}
    return {name: gap.to_json() for name, gap in gaps.items() if gap is not None}
