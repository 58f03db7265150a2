"""Training steps to measure: one stage of the mini model on generated scenes. It knows nothing of what is measured."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks._timing import UNSEEN
from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import BASELINE, MINI, Parts, Settings
from ssa_me.devices import choose_device
from ssa_me.training.adapter_stages import BaselineStage, Material, SalientStage, TokenCache
from ssa_me.training.data import Corpus
from ssa_me.training.gradcache import Losses, cached_step, plain_step
from ssa_me.training.loop import Stage
from ssa_me.training.recipe import Lora, Regeneration, Weights
from ssa_me.training.sources import SceneSource


def make_stage(args: Namespace, version: str, batch: int, scenes: int = 24) -> Stage:
    """A fresh adapter of `version` on `scenes` scenes with their twins, in fp32."""
    backbone = Backbone.load(args.checkpoint or MINI, choose_device(args.device).device, torch.float32)
    source = SceneSource(UNSEEN - 1_500_000, scenes, 128)
    corpus = Corpus.load([source], backbone.image_processor, backbone.merge, 0, print)
    adapters = Adapters(backbone)
    torch.manual_seed(1)
    adapters.attach(version)
    adapters.use(version, trainable=True)
    material = Material(backbone, corpus, TokenCache.of(corpus, backbone), 1, Lora(batch=batch))
    if version == BASELINE:
        return BaselineStage(material)
    parts = Parts(backbone.width, Settings()).to(backbone.device)
    return SalientStage(material, Weights(), Regeneration(), parts)


def step_of(stage: Stage, chunks: int = 1) -> Callable[[], Losses]:
    """One step, its gradient computed and left: the batch is drawn once, so that turns are alike."""
    whole = stage.batch(0)
    parts = stage.cut(whole, chunks)

    def step() -> Losses:
        with sdpa_kernel(SDPBackend.MATH):  # as on a CPU in training
            if chunks == 1:
                return plain_step(stage, whole, parts[0], dict, torch.Tensor.backward, nullcontext)
            return cached_step(stage, whole, parts, dict, torch.Tensor.backward, nullcontext)

    return step
