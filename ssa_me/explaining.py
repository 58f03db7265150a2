"""How an explanation is made: both attentions, every stage of salience, phrases aligned with regions.

It drives `Passes` for one image and one text; what comes out is `Explanation`. Its caller holds the lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image

from ssa_me.backbone import LanguagePass, VisualBatch
from ssa_me.checkpoint import SSA_ME
from ssa_me.explanation import Alignment, Candidate, Explanation, Region, align
from ssa_me.passes import MOST_SUBJECTS, Passes, Salient
from ssa_me.regeneration import salience_weights
from ssa_me.salience import relevance
from ssa_me.salience.fusion import fuse
from ssa_me.salience.regions import peaks

Named = Mapping[str, np.ndarray]
"""version → an array."""


def explain(passes: Passes, image: Image.Image, text: str, phrases: Sequence[str]) -> Explanation:
    """Explain one image for a text (may be empty) and the phrases of its subjects (may be none).

    Attention and stages are conditioned on the phrases; similarity, regions and subject vectors are those of the
    index, query-free.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "vision"):
        visual = passes.backbone.vision_pass([image])
        boxes = visual.boxes[0]
    with _timed(seconds, "salience"):
        free = passes.salience(visual, [image], [None])
        stages, maps = find_stages(passes, visual, image, phrases)
        chosen = maps.max(0)
        conditioned = Salient(
            torch.from_numpy(chosen)[None].to(visual.tokens), (peaks(chosen, boxes, MOST_SUBJECTS),)
        )
    with _timed(seconds, "embedding"):
        alone = passes.read([""], visual, free)
        images = passes.image_vectors(alone, visual, free)
        similarity, spoken = _embed_texts(passes, images, text, phrases)
    with _timed(seconds, "attention"):
        attention = {v: rows[0] for v, rows in passes.attention(visual, conditioned, [text]).items()}
    with _timed(seconds, "alignment"):
        alignment = _align(passes, visual, free, alone, phrases, maps, spoken, attention)
    weights = salience_weights(torch.from_numpy(chosen), passes.settings.floor)
    return Explanation(
        image_size=image.size,
        boxes=boxes,
        similarity=similarity,
        attention=attention,
        attention_on_image={v: float(row.sum()) for v, row in attention.items()},
        stages=stages | {"gain": weights.numpy()},
        regions=tuple(Region(r.bbox, r.salience) for r in free.regions[0]),
        alignment=alignment,
        seconds=seconds,
    )


def find_stages(
    passes: Passes, visual: VisualBatch, image: Image.Image, phrases: Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every stage as (N,), the largest over the phrases, and the salience (K, N) of each phrase that regeneration
    takes: the head's where one was trained, else the fused one. Without phrases K is 1 and all is query-free."""
    boxes = visual.boxes[0]
    expert = np.stack([passes.expert_map(image, phrase, boxes) for phrase in (phrases or [""])])
    stages, maps = {"expert": expert.max(0)}, expert
    if phrases:
        semantic = _semantic(passes, visual, phrases)
        maps = np.stack([fuse(e[None], r[None]) for e, r in zip(expert, semantic, strict=True)])
        stages |= {"semantic": semantic.max(0), "fused": maps.max(0)}
    if passes.distilled:
        repeated = visual.select([0] * len(maps))
        maps = passes.head_salience(repeated, list(phrases) or [None]).float().cpu().numpy()
        stages["head"] = maps.max(0)
    return stages, maps


def _semantic(passes: Passes, visual: VisualBatch, phrases: Sequence[str]) -> np.ndarray:
    """Semantic relevance (K, N) of each phrase: attention with it ÷ without, by the backbone as it is."""
    passes.adapters.use(None)
    repeated = visual.select([0] * (len(phrases) + 1))
    output = passes.backbone.language_pass([*phrases, ""], repeated, collect_rows=True)
    assert output.rows is not None and output.hidden is not None
    mean = relevance.layer_mean(output.rows.float(), passes.settings.layers)
    attention = relevance.normalise_attention(mean, repeated.valid, relevance.sink_tokens(output.hidden))
    generic = attention[-1:].expand(len(phrases), -1)
    relative = relevance.relative_relevance(attention[:-1], generic, repeated.valid[:-1])
    return relative.cpu().numpy().astype(np.float32)


def _embed_texts(
    passes: Passes, images: Mapping[str, torch.Tensor], text: str, phrases: Sequence[str]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Version → cosine of text and image (empty without a text), and version → (K, D) of the phrases."""
    asked = [text] if text.strip() else []
    if not asked and not phrases:
        return {}, {}
    rows = {version: of_all.cpu().numpy() for version, of_all in passes.speak([*asked, *phrases]).items()}
    spoken = {version: of_all[len(asked) :] for version, of_all in rows.items()}
    if not asked:
        return {}, spoken
    similarity = {v: float(rows[v][0] @ seen[0].cpu().numpy()) for v, seen in images.items()}
    return similarity, spoken


def _align(
    passes: Passes,
    visual: VisualBatch,
    free: Salient,
    alone: Mapping[str, LanguagePass],
    phrases: Sequence[str],
    maps: np.ndarray,
    spoken: Named,
    attention: Named,
) -> tuple[Alignment, ...]:
    tops = [peaks(maps[k], visual.boxes[0], 1) for k in range(len(phrases))]
    regions = [*(top[0] for top in tops if top), *free.regions[0]]
    gathered = Salient(free.salience, (tuple(regions),))
    vectors = {v: passes.subject_vectors(v, output, visual, gathered)[0] for v, output in alone.items()}
    candidates = [Candidate(region, {v: vectors[v][i] for v in vectors}) for i, region in enumerate(regions)]
    own = iter(candidates)
    return tuple(
        align(
            phrase,
            {v: spoken[v][k] for v in spoken},
            next(own) if tops[k] else None,
            candidates,
            attention,
            maps[k],
            leading=SSA_ME,
        )
        for k, phrase in enumerate(phrases)
    )


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
