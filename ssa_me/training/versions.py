"""Trains the adapters of one backbone, the baseline's and SSA-ME's alike: same image tokens, order, steps and seed.

It knows nothing of where the data come from or of what is done with the checkpoint.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from ssa_me.adapters import Adapters
from ssa_me.checkpoint import BASELINE, SSA_ME, Parts, Settings, has_adapter, load_parts, save_parts
from ssa_me.training import processes
from ssa_me.training.adapter_stages import BaselineStage, Material, SalientStage, TokenCache
from ssa_me.training.data import Corpus
from ssa_me.training.loop import Describe, Run, Stage, fit
from ssa_me.training.pair_stage import WithPairs
from ssa_me.training.recipe import Recipe


@dataclass(frozen=True)
class Versions:
    """What adapters are trained with. description: a sentence on what the model then knows, kept in its settings."""

    adapters: Adapters
    corpus: Corpus
    cache: TokenCache
    context: Run
    description: str

    def train(
        self, version: str, recipe: Recipe, out: Path, start: Path | None = None, resume: bool = False
    ) -> bool:
        """Train `version` and save it below the checkpoint folder `out`; False when the run was stopped.

        start: a checkpoint whose adapter of that version is trained on, where it has one; else a new one is.
        """
        backbone, lora = self.adapters.backbone, recipe.adapters
        torch.manual_seed(recipe.seed)
        if start is not None and has_adapter(start, version):
            self.adapters.load(version, start / version)
        else:
            self.adapters.attach(version, lora.rank, lora.alpha, lora.dropout, lora.targets)
            start = None
        self.adapters.use(version, trainable=True)
        material = Material(backbone, self.corpus, self.cache, recipe.seed, lora)
        first = self.context.first
        rest = (lora, self.context, resume, describe_batch(self.corpus, recipe.seed, lora.batch))
        if version == BASELINE:
            finished = fit(version, self._mixed(BaselineStage(material)), *rest)
        else:
            parts, settings = self._parts(recipe, start)
            parts.to(backbone.device)
            stage = SalientStage(material, recipe.objectives, recipe.regeneration, parts)
            finished = fit(version, self._mixed(stage), *rest)
            if finished and first:
                save_parts(out / version, parts, settings)
        if finished and first:
            self.adapters.save(version, out / version)
        processes.wait()
        self.adapters.use(None)
        return finished

    def _mixed(self, stage: BaselineStage | SalientStage) -> Stage:
        """The stage, with steps of pairs where the corpus holds any."""
        return WithPairs(stage) if self.corpus.has_pairs() else stage

    def _parts(self, recipe: Recipe, start: Path | None) -> tuple[Parts, Settings]:
        """SSA-ME's parts: new ones by the recipe, or those of the start, whose floor and widths stay as they are."""
        width, lora = self.adapters.backbone.width, recipe.adapters
        claims = lora.claimed > 0 and lora.claimed_share > 0
        if start is None:
            steps = recipe.regeneration
            settings = Settings(
                floor=steps.floor, likeness=steps.likeness, claims=claims, description=self.description
            )
            parts = Parts(width, settings)
            if steps.compose:
                parts.composition.start(steps.share)
            return parts, settings
        parts, settings = load_parts(start / SSA_ME, width)
        claims = claims or settings.claims
        return parts, dataclasses.replace(settings, claims=claims, description=self.description)


def describe_batch(corpus: Corpus, seed: int, batch: int) -> Describe:
    """Names the images of a step's batch: a folder's files, or the seeds of generated scenes."""
    return lambda step: corpus.describe(seed, step, batch)
