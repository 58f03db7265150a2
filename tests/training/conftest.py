"""A model of a few thousand weights, two tiny scenes with their twins, its stages, a folder of photographs, and a run's context."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from torch import nn

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import Parts, Settings
from ssa_me.mini import build_mini, train_tokenizer
from ssa_me.samples import Record, Subject, encode_mask, write_metadata
from ssa_me.training.adapter_stages import BaselineStage, Material, SalientStage, TokenCache
from ssa_me.training.composition_stage import CompositionStage
from ssa_me.training.data import Corpus
from ssa_me.training.gradcache import Losses, cached_step, plain_step
from ssa_me.training.loop import Run, Stage, fit
from ssa_me.training.recipe import (
    Base,
    Composition,
    Lora,
    Regeneration,
    Salience,
    Schedule,
    Trust,
    Weights,
)
from ssa_me.training.salience_stage import SalienceStage
from ssa_me.training.sources import SceneSource
from ssa_me.training.stages import BaseStage
from ssa_me.training.trust_stage import TrustStage

WORDS = ["a person in red on the beach", "a blue dog left of a green car", "a scene of a tree and a house"]
RECIPE = """
seed = 3
precision = "fp32"
save_every = 1

[scratch]
vocabulary = 300
width = 48
layers = 2
heads = 3
mlp = 64
vision_width = 32
vision_layers = 1
side = 64

[scenes]
count = 2
size = 64

[base]
steps = 2
batch = 4
warmup = 1

[adapters]
steps = 2
batch = 4
rank = 2
alpha = 4
warmup = 1

[composition]
steps = 2
batch = 4
warmup = 1

[trust]
steps = 2
batch = 4
warmup = 1
"""


@pytest.fixture(autouse=True)
def fresh_accelerator() -> None:
    """Accelerate holds the first precision that a process asks for."""
    AcceleratorState._reset_state()


@pytest.fixture
def make_backbone() -> Callable[[], Backbone]:
    """A fresh model, the same at every call. An image of 64×64 pixels has 16 tokens of 16×16."""

    def make() -> Backbone:
        torch.manual_seed(0)
        tokenizer = train_tokenizer(WORDS, 300)
        return build_mini(
            tokenizer, width=48, layers=2, heads=3, mlp=64, vision_width=32, vision_layers=1, side=64
        )

    return make


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """Two scenes with three twins each."""
    torch.manual_seed(0)
    backbone = build_mini(train_tokenizer(WORDS, 300), width=48, heads=3, vision_width=32, side=64)
    source = SceneSource(first=1, count=2, size=64)
    return Corpus.load([source], backbone.image_processor, backbone.merge, 0, lambda _: None)


@pytest.fixture
def make_stage(make_backbone: Callable[[], Backbone], corpus: Corpus) -> Callable[..., Stage]:
    """A stage by name, base, baseline, ssa-me, salience, composition or trust, the same at every call."""

    def make(
        name: str,
        batch: int = 8,
        dropout: float = 0.0,
        weights: Weights | None = None,
        data: Corpus | None = None,
        steps: Regeneration | None = None,
        twins: float = 3.0,
    ) -> Stage:
        backbone, images = make_backbone(), data or corpus
        if name == "base":
            torch.manual_seed(1)
            return BaseStage(backbone, images, Base(batch=batch, claimed_share=0.5), seed=7)
        adapters = Adapters(backbone)
        version = "ssa-me" if name in ("salience", "composition", "trust") else name
        torch.manual_seed(1)
        for parameter in adapters.attach(version, rank=4, alpha=8, dropout=dropout):
            nn.init.normal_(parameter, std=0.1)  # LoRA's B starts at 0, and A without a gradient
        adapters.use(version, trainable=name == version)
        settings = Lora(batch=batch, composed_share=0.5)
        material = Material(backbone, images, TokenCache.of(images, backbone), 7, settings)
        if name == "baseline":
            return BaselineStage(material)
        parts = Parts(backbone.width, Settings(inner=8, hidden=32))
        salient = SalientStage(material, weights or Weights(), steps or Regeneration(), parts)
        if name == "ssa-me":
            return salient
        backbone.model.eval()
        if name == "salience":
            return SalienceStage(salient, Salience(batch=batch))
        for parameter in parts.composition.parameters():
            nn.init.normal_(parameter, std=0.1)  # what starts at 0 gives what stands before it no gradient
        parts.composition.start(0.5)
        if name == "composition":
            return CompositionStage(salient, Composition(batch=batch))
        return TrustStage(salient, Trust(batch=batch, twins=twins))

    return make


@pytest.fixture
def take() -> Callable[..., Losses]:
    """`take(stage, step, chunks)`: one step's losses, its gradient left in the parameters. chunks None: in one pass."""

    def one(stage: Stage, step: int = 0, chunks: int | None = None) -> Losses:
        whole = stage.batch(step)
        means = (lambda rows: rows, lambda loss: loss.backward(), nullcontext)
        parts = stage.cut(whole, chunks or 1)
        return (
            plain_step(stage, whole, parts[0], *means)
            if chunks is None
            else cached_step(stage, whole, parts, *means)
        )

    return one


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run's context in fp32 on the CPU, in a folder of its own; the lines that it reports go to `said`."""

    def make(name: str = "run", save_every: int = 100, said: list[str] | None = None) -> Run:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        accelerator = Accelerator(cpu=True, mixed_precision="no")
        report = said.append if said is not None else lambda _: None
        return Run(folder, 7, accelerator, save_every, report, threading.Event())

    return make


def photograph(
    folder: Path, name: str, colour: tuple[int, int, int], box: tuple[int, int, int, int]
) -> np.ndarray:
    """Write a grey picture with one coloured rectangle x, y, w, h; returns where it is, (H, W) bool."""
    pixels = np.full((64, 64, 3), 90, np.uint8)
    x, y, w, h = box
    mask = np.zeros((64, 64), dtype=bool)
    mask[y : y + h, x : x + w] = True
    pixels[mask] = colour
    Image.fromarray(pixels).save(folder / name)
    return mask


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Four photographs: with captions and a mask, with a subject alone, of the validation split, and with nothing."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    mask = photograph(folder, "a.png", (255, 0, 0), (4, 8, 20, 30))
    photograph(folder, "b.png", (0, 0, 255), (30, 20, 24, 16))
    photograph(folder, "c.png", (0, 255, 0), (0, 0, 30, 30))
    photograph(folder, "d.png", (0, 255, 255), (0, 0, 30, 30))
    records = [
        Record(
            folder / "a.png",
            "a.png",
            ("a red box", "something red"),
            (Subject("red box", (4, 8, 20, 30), encode_mask(mask)),),
        ),
        Record(folder / "b.png", "b.png", (), (Subject("blue box", (30, 20, 24, 16)),)),
        Record(folder / "c.png", "c.png", ("a green box",), split="val"),
    ]
    write_metadata(folder, records)
    return folder


@pytest.fixture(scope="session")
def recipe_text() -> str:
    return RECIPE


@pytest.fixture
def gone_on_with(
    make_stage: Callable[..., Stage], make_run: Callable[..., Run]
) -> Callable[[str], tuple[Stage, Stage, Stage]]:
    """A stage by name after 4 steps in one go, after the first of them, and after that gone on with to the last."""

    def go_on(name: str) -> tuple[Stage, Stage, Stage]:
        schedule = Schedule(steps=4, batch=4, warmup=1, learning_rate=1e-2)
        straight, stopped, again = (make_stage(name, batch=4) for _ in range(3))
        assert fit(name, straight, schedule, make_run("straight"), resume=False)
        run = make_run("stopped")
        run.stop.set()
        assert not fit(name, stopped, schedule, run, resume=False)
        run.stop.clear()
        assert fit(name, again, schedule, run, resume=True)
        return straight, stopped, again

    return go_on
