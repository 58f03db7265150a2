"""How an explanation is made: both attentions, every stage of salience, phrases aligned with regions.

It drives `Passes` and an expert for one image and one text; what comes out is `Explanation`. Its caller holds the
lock, and has found the phrases.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image

from ssa_me.checkpoint import SSA_ME
from ssa_me.explanation import (
    Alignment,
    Candidate,
    Explanation,
    Region,
    RegionTable,
    SalienceMode,
    Subjects,
    align,
    region_table,
)
from ssa_me.outputs import LanguagePass, VisualBatch
from ssa_me.passes import Passes, Salient, found_regions
from ssa_me.pipeline import expert_maps, fused, relevance_maps
from ssa_me.salience.experts import VisualExpert
from ssa_me.salience.regions import peaks
from ssa_me.salience.relevance import layer_mean

Named = Mapping[str, np.ndarray]
"""version → an array."""


def explain(
    passes: Passes,
    image: Image.Image,
    text: str,
    subjects: Subjects,
    salience: SalienceMode,
    expert: VisualExpert,
    also: Sequence[str] = (),
    heads: bool = False,
) -> Explanation:
    """Explain one image for a text (may be empty) and its subjects (may be none).

    Attention and stages are conditioned on the subjects, under "head" by the salience head, under "full" by `expert`
    and relevance; similarity, regions and subject vectors are those of the index, query-free. also: further phrases to
    align, which condition nothing. heads: keep the attention of each layer and head.
    """
    clock = _Clock(passes.backbone.device)
    phrases = (*subjects.phrases, *also)
    with clock.timed("vision"):
        visual = passes.backbone.vision_pass([image])
        boxes = visual.boxes[0]
    with clock.timed("salience"):
        free = passes.salience(visual, [image], [None])
    stages, maps = _find_stages(passes, expert, visual, image, subjects.phrases, salience, clock)
    each, own = (dict(stages), maps) if subjects.phrases else ({}, maps[:0])
    if also:
        asked, more = _find_stages(passes, expert, visual, image, also, salience, clock)
        each = {
            name: np.concatenate([each[name], rows]) if name in each else rows for name, rows in asked.items()
        }
        own = np.concatenate([own, more])
    strongest = torch.from_numpy(maps.max(0))[None].to(visual.tokens)
    conditioned = found_regions(strongest, visual, passes.settings.likeness, [bool(subjects.phrases)])
    with clock.timed("embedding"):
        alone = passes.read([""], visual, free)
        images = passes.image_vectors(alone, visual, free)
        similarity, spoken = _embed_texts(passes, images, text, phrases)
    with clock.timed("attention"):
        attention, by_head = _attend(passes, visual, conditioned, text, heads)
    with clock.timed("alignment"):
        alignment, table = _align(passes, visual, free, alone, phrases, own, spoken, attention)
    weigh = passes.parts.regeneration.weights
    gain = weigh(torch.from_numpy(maps.max(0))[None], conditioned.asked)[0].numpy()
    if phrases:
        each |= {"gain": weigh(torch.from_numpy(own), [True] * len(own)).numpy()}
    return Explanation(
        image_size=image.size,
        boxes=boxes,
        similarity=similarity,
        attention=attention,
        attention_on_image={v: float(row.sum()) for v, row in attention.items()},
        stages={name: rows.max(0) for name, rows in stages.items()} | {"gain": gain},
        regions=tuple(Region(r.bbox, r.salience) for r in free.regions[0]),
        alignment=alignment,
        seconds=dict(subjects.seconds) | clock.seconds,
        salience=salience,
        subjects=subjects,
        each=each,
        table=table,
        heads=by_head,
    )


def _attend(
    passes: Passes, visual: VisualBatch, found: Salient, text: str, heads: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Version → (N,) attention, and where `heads` are wanted version → (L, H, N)."""
    if not heads:
        return {v: rows[0] for v, rows in passes.attention(visual, found, [text]).items()}, {}
    by_head = {v: rows[0] for v, rows in passes.head_attention(visual, found, [text]).items()}
    layers = passes.settings.layers
    means = {
        v: layer_mean(torch.from_numpy(rows.mean(1))[None], layers)[0].numpy() for v, rows in by_head.items()
    }
    return means, by_head


def _find_stages(
    passes: Passes,
    expert: VisualExpert,
    visual: VisualBatch,
    image: Image.Image,
    phrases: Sequence[str],
    salience: SalienceMode,
    clock: _Clock,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every stage of each phrase (K, N), and the salience (K, N) of each that regeneration takes: the fused one under
    "full" and where no head was trained, else the head's. Without phrases K is 1 and all is query-free."""
    with clock.timed("expert"):
        maps = found = expert_maps(expert, visual, [image], phrases or [""])[0]
    stages = {"expert": found}
    if phrases:
        with clock.timed("relevance"):
            semantic = relevance_maps(passes, visual, phrases)[0]
        with clock.timed("fusion"):
            maps = fused(found, semantic)
        stages |= {"semantic": semantic, "fused": maps}
    if passes.distilled:
        with clock.timed("head"):
            repeated = visual.select([0] * len(maps))
            own = passes.head_salience(repeated, list(phrases) or [None]).float().cpu().numpy()
        stages["head"] = own
        maps = own if salience == "head" else maps
    return stages, maps


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
) -> tuple[tuple[Alignment, ...], RegionTable | None]:
    tops = [peaks(maps[k], visual.boxes[0], 1) for k in range(len(phrases))]
    regions = [*(top[0] for top in tops if top), *free.regions[0]]
    gathered = Salient(free.salience, (tuple(regions),), free.asked)
    vectors = {v: passes.subject_vectors(v, output, visual, gathered)[0] for v, output in alone.items()}
    candidates = [Candidate(region, {v: vectors[v][i] for v in vectors}) for i, region in enumerate(regions)]
    own = iter(candidates)
    owners = [k for k, top in enumerate(tops) if top]
    owned = [*owners, *[None] * (len(candidates) - len(owners))]
    table = region_table(spoken, candidates, owned, attention) if phrases else None
    alignment = tuple(
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
    return alignment, table


class _Clock:
    """Adds up the seconds of named parts; on a GPU it waits for what was started."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = self._now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
