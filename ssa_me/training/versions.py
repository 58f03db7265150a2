"""Trains the adapters of one backbone, the baseline's and SSA-ME's alike: same image tokens, order, steps and seed.

It knows nothing of where the data come from or of what is done with the checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ssa_me.adapters import Adapters
from ssa_me.checkpoint import BASELINE, SSA_ME, VERSIONS, Parts, Settings, has_adapter, load_parts, save_parts
from ssa_me.training import processes
from ssa_me.training.adapter_stages import BaselineStage, Material, SalientStage, TokenCache
from ssa_me.training.composition_stage import CompositionStage
from ssa_me.training.data import Corpus, prepare_corpus
from ssa_me.training.held_out import HeldOutImages
from ssa_me.training.loop import Describe, Run, Stage, Watch, fit
from ssa_me.training.pair_stage import WithPairs
from ssa_me.training.recipe import Recipe, Schedule
from ssa_me.training.salience_stage import SalienceStage
from ssa_me.training.sources import SceneSource
from ssa_me.training.trust_stage import TrustStage

SALIENCE, COMPOSITION, TRUST = "salience", "composition", "trust"
"""The stages behind SSA-ME's adapter."""
_UNFINISHED = Path("training") / "unfinished.json"


@dataclass(frozen=True)
class Versions:
    """What adapters are trained with. description: a sentence on what the model then knows, kept in its settings.
    held_out: images that are not trained on, for the log."""

    adapters: Adapters
    corpus: Corpus
    cache: TokenCache
    context: Run
    description: str
    held_out: HeldOutImages | None = None

    def train_all(self, recipe: Recipe, out: Path, start: Path | None, resume: bool) -> bool:
        """Train those versions that the checkpoint folder `out` does not have finished, one after the other.

        False when the run was stopped. Then `out` can be used as it is all the same: a version that was being trained is
        there as far as it came, one that was not begun as `start` has it. `unfinished` names both.
        """
        for version in VERSIONS:
            if version not in unfinished(out) and has_adapter(out, version):
                continue
            if not self.train(version, recipe, out, start, resume):
                if self.context.first:
                    _lend(out, start, VERSIONS[VERSIONS.index(version) + 1 :])
                processes.wait()
                return False
        return True

    def train(
        self, version: str, recipe: Recipe, out: Path, start: Path | None = None, resume: bool = False
    ) -> bool:
        """Train `version` and save it below the checkpoint folder `out`; False when the run was stopped, and the version
        is there as far as it came.

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
            stage: BaselineStage | SalientStage = BaselineStage(material)
            finished = fit(version, self._mixed(stage), *rest, self._watch(stage, recipe))
        else:
            parts, settings = self._parts(recipe, start)
            parts.to(backbone.device)
            stage = SalientStage(material, recipe.objectives, recipe.regeneration, parts)
            finished = fit(version, self._mixed(stage), *rest, self._watch(stage, recipe))
            behind = (self._find, self._compose, self._trust)
            finished = finished and all(train(stage, recipe, resume) for train in behind)
        if first:
            mark(out, version, finished=False)  # should this end here, it is not taken for whole
            if isinstance(stage, SalientStage):
                save_parts(out / version, parts, settings)
            self.adapters.save(version, out / version)
            if finished:
                mark(out, version, finished=True)
        processes.wait()
        self.adapters.use(None)
        return finished

    def _find(self, stage: SalientStage, recipe: Recipe, resume: bool) -> bool:
        """Train the salience head on, where there are regions; False when the run was stopped."""
        settings = recipe.salience
        material = stage.material.with_regions() if settings.steps else None
        if material is None:
            return True
        return self._behind(SALIENCE, SalienceStage(stage.on(material), settings), settings, resume)

    def _compose(self, stage: SalientStage, recipe: Recipe, resume: bool) -> bool:
        """Train codes of subjects, where there are regions; False when the run was stopped."""
        settings = recipe.composition
        if not settings.steps or not self.corpus.has_images():
            return True
        further = self._scenes(further_scenes(recipe)[0], stage.material)
        material = stage.material.with_scenes(further).with_regions()
        if material is None:
            return True
        return self._behind(COMPOSITION, CompositionStage(stage.on(material), settings), settings, resume)

    def _trust(self, stage: SalientStage, recipe: Recipe, resume: bool) -> bool:
        """Train how much subjects count, on images with texts; False when the run was stopped."""
        settings = recipe.trust
        if not settings.steps or not self.corpus.has_images():
            return True
        material = stage.material.with_scenes(self._scenes(further_scenes(recipe)[1], stage.material))
        last = TrustStage(stage.on(material), settings)
        last.emphasise(1 / settings.emphasis)  # of weights that are trained on
        finished = self._behind(TRUST, last, settings, resume)
        last.emphasise(settings.emphasis)
        return finished

    def _behind(
        self,
        name: str,
        stage: SalienceStage | CompositionStage | TrustStage,
        settings: Schedule,
        resume: bool,
    ) -> bool:
        """Train what stands behind SSA-ME's adapter; False when the run was stopped."""
        material = stage.material
        told = describe_batch(material.corpus, material.seed, settings.batch)
        return fit(name, stage, settings, self.context, resume, told)

    def _scenes(self, source: SceneSource | None, material: Material) -> Material | None:
        """Further scenes, where the recipe wants some; what was learned by heart composes badly."""
        if source is None:
            return None
        corpus = prepare_corpus([source], material.backbone, self.context.report)
        return replace(material, corpus=corpus, cache=TokenCache.of(corpus, material.backbone))

    def _mixed(self, stage: BaselineStage | SalientStage) -> Stage:
        """The stage, with steps of pairs where the corpus holds any."""
        return WithPairs(stage) if self.corpus.has_pairs() else stage

    def _watch(self, stage: BaselineStage | SalientStage, recipe: Recipe) -> Watch | None:
        """What the log says of images that are not trained on, where that is wanted and there are any."""
        held_out = self.held_out
        if held_out is None or not recipe.held_out.every:
            return None
        return Watch(recipe.held_out.every, lambda: held_out.measure(stage))

    def _parts(self, recipe: Recipe, start: Path | None) -> tuple[Parts, Settings]:
        """SSA-ME's parts: new ones by the recipe, or those of the start, whose floor and widths stay as they are."""
        width, lora = self.adapters.backbone.width, recipe.adapters
        claims = lora.claimed > 0 and lora.claimed_share > 0
        if start is None:
            steps = recipe.regeneration
            settings = Settings(
                floor=steps.floor,
                free_floor=steps.free_floor,
                likeness=steps.likeness,
                claims=claims,
                description=self.description,
            )
            parts = Parts(width, settings)
            if recipe.trust.steps:
                parts.composition.start(recipe.trust.share)
            return parts, settings
        parts, settings = load_parts(start / SSA_ME, width)
        claims = claims or settings.claims
        return parts, dataclasses.replace(settings, claims=claims, description=self.description)


def further_scenes(recipe: Recipe) -> tuple[SceneSource | None, SceneSource | None]:
    """The scenes behind the recipe's own that composition wants, and behind those the ones that trust wants; None where one
    wants none. InputError where their seeds are for evaluation."""
    scenes = recipe.scenes

    def behind(first: int, count: int) -> SceneSource | None:
        if not scenes.count or not count:
            return None
        return SceneSource(first, count, scenes.size, scenes.weight, on_the_fly=scenes.on_the_fly)

    codes, last = recipe.composition.scenes, scenes.first + scenes.count
    return behind(last, codes), behind(last + codes, recipe.trust.scenes)


def unfinished(out: Path) -> tuple[str, ...]:
    """The versions of the checkpoint folder `out` that a stopped run left as far as they came, or did not begin."""
    table = out / _UNFINISHED
    return tuple(json.loads(table.read_text(encoding="utf-8"))) if table.is_file() else ()


def mark(out: Path, version: str, finished: bool) -> None:
    """Write down whether a version of the checkpoint folder `out` is finished."""
    kept = [name for name in VERSIONS if name in unfinished(out) and name != version]
    names = kept if finished else [*kept, version]
    table = out / _UNFINISHED
    if not names:
        table.unlink(missing_ok=True)
        return
    table.parent.mkdir(parents=True, exist_ok=True)
    partial = table.with_suffix(".partial")
    partial.write_text(json.dumps(names), encoding="utf-8")
    partial.replace(table)


def _lend(out: Path, start: Path | None, versions: Sequence[str]) -> None:
    """Put versions that were not begun into `out` as `start` has them, where it has them."""
    for version in versions:
        if start is not None and has_adapter(start, version) and version not in unfinished(out):
            mark(out, version, finished=False)
            shutil.copytree(start / version, out / version, dirs_exist_ok=True)


def describe_batch(corpus: Corpus, seed: int, batch: int) -> Describe:
    """Names the images of a step's batch: a folder's files, or the seeds of generated scenes."""
    return lambda step: corpus.describe(seed, step, batch)
