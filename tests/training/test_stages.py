"""What a training step computes: which parts learn, what the losses are made of, and that they fall."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import Parts, Settings
from ssa_me.training.data import Corpus, FolderSource, Prepared, stack_pixels
from ssa_me.training.loop import fit
from ssa_me.training.recipe import Base, Schedule, Weights
from ssa_me.training.stages import BaselineStage, BaseStage, SalientStage, Subjects, Temperature, TokenCache

CPU = torch.device("cpu")


def salient(
    backbone: Backbone, corpus: Corpus, weights: Weights | None = None, batch: int = 6
) -> SalientStage:
    adapters = Adapters(backbone)
    torch.manual_seed(1)
    adapters.attach("ssa-me", rank=4, alpha=8)
    adapters.use("ssa-me", trainable=True)
    parts = Parts(backbone.width, Settings(inner=8, hidden=32))
    cache = TokenCache.of(corpus, backbone)
    parts_of = (parts.head, parts.regeneration, parts.projection)
    return SalientStage(backbone, corpus, cache, batch, 7, 0.07, weights or Weights(), *parts_of)


def baseline(backbone: Backbone, corpus: Corpus, batch: int = 6) -> BaselineStage:
    adapters = Adapters(backbone)
    torch.manual_seed(1)
    adapters.attach("baseline", rank=4, alpha=8)
    adapters.use("baseline", trainable=True)
    return BaselineStage(backbone, corpus, TokenCache.of(corpus, backbone), batch, 7, 0.07)


def learning(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


# --- pieces ----------------------------------------------------------------------------------------------------------


def test_the_temperature_stays_between_a_hundredth_and_one():
    assert Temperature(0.07)().item() == pytest.approx(0.07)
    temperature = Temperature(0.5)
    temperature.log.data.fill_(-20)
    assert temperature().item() == pytest.approx(0.01)
    temperature.log.data.fill_(3)
    assert temperature().item() == 1


def test_cached_tokens_are_the_vision_pass_in_sixteen_bits(make_backbone, corpus):
    backbone = make_backbone()
    cache, draw = TokenCache.of(corpus, backbone, batch=4), corpus.draw(1, 0, 4)
    with torch.no_grad():
        direct = backbone.encode_pixels(*stack_pixels(corpus.items(draw)))
    cached = cache.select(draw, torch.float32)
    assert cached.tokens.dtype == torch.float32 and cache.groups[0].tokens.dtype == torch.bfloat16
    torch.testing.assert_close(cached.tokens, direct.tokens, atol=0.02, rtol=0.02)
    assert torch.equal(cached.valid, direct.valid) and torch.equal(cached.grid, direct.grid)
    np.testing.assert_array_equal(cached.boxes, direct.boxes)


PHRASES = [["a dog", "a cat", "a speck"], [], ["a dog"]]
COVERAGE = [
    torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.7, 0.2], [0.0, 0.04, 0.0]]),
    torch.zeros(0, 3),
    torch.tensor([[0.0, 0.0, 1.0]]),
]


def test_subjects_of_a_batch_by_hand():
    subjects = Subjects.of(PHRASES, COVERAGE, CPU)
    assert subjects.phrases == ("a dog", "a cat", "a dog")  # the speck covers too little to be seen
    assert subjects.image.tolist() == [0, 0, 2]
    torch.testing.assert_close(
        subjects.regions, torch.stack([COVERAGE[0][0], COVERAGE[0][1], COVERAGE[2][0]])
    )
    assert subjects.same().int().tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def test_all_subjects_of_an_image_together_are_the_largest_coverage():
    everything = Subjects.of(PHRASES, COVERAGE, CPU).of_each_image(3)
    torch.testing.assert_close(everything, torch.tensor([[1.0, 0.7, 0.2], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))


def test_stacked_regions_are_padded_and_cut():
    subjects = Subjects.of(PHRASES, COVERAGE, CPU)
    stacked = subjects.stacked(3, 2)
    torch.testing.assert_close(stacked[0], COVERAGE[0][:2])
    assert stacked[1].sum() == 0 and stacked[2, 1].sum() == 0
    torch.testing.assert_close(subjects.stacked(3, 1), stacked[:, :1])


def test_a_batch_without_subjects():
    subjects = Subjects.of([[], []], [torch.zeros(0, 3), torch.zeros(0, 3)], CPU)
    assert subjects.phrases == () and subjects.regions.shape == (0, 3)
    assert torch.equal(subjects.of_each_image(2), torch.zeros(2, 3))
    assert torch.equal(subjects.stacked(2, 4), torch.zeros(2, 4, 3)) and subjects.same().shape == (0, 0)


# --- what learns -----------------------------------------------------------------------------------------------------


def test_in_the_base_stage_everything_learns(make_backbone, corpus):
    stage = BaseStage(make_backbone(), corpus, Base(batch=6, caption=0.3), seed=7)
    losses = stage(0)
    assert losses.keys() == {"loss", "nce", "caption"}
    assert losses["loss"].item() == pytest.approx(
        losses["nce"].item() + 0.3 * losses["caption"].item(), rel=1e-5
    )
    losses["loss"].backward()
    assert {name for name, _ in stage.named_parameters()} == learning(stage)


def test_a_step_is_a_function_of_its_number(make_backbone, corpus):
    stage = BaseStage(make_backbone(), corpus, Base(batch=4), seed=7)
    with torch.no_grad():
        first, second, again = stage(0), stage(1), stage(0)
    assert torch.equal(first["loss"], again["loss"]) and not torch.equal(first["loss"], second["loss"])


def test_the_baseline_learns_by_contrast_alone_and_in_its_adapter_alone(make_backbone, corpus):
    stage = baseline(make_backbone(), corpus)
    losses = stage(0)
    assert losses.keys() == {"loss", "nce"} and torch.equal(losses["loss"].detach(), losses["nce"])
    losses["loss"].backward()
    moved = learning(stage)
    assert "temperature.log" in moved
    assert all(".baseline." in name for name in moved - {"temperature.log"})


def test_ssa_me_learns_in_adapter_and_parts_with_all_objectives(make_backbone, corpus):
    weights = Weights(attention=0.1, subject=0.2, misalignment=0.3, head=0.4)
    stage = salient(make_backbone(), corpus, weights)
    losses = stage(0)
    parts = {name: losses[name].item() for name in ("nce", "attention", "subject", "misalignment", "head")}
    assert losses.keys() == {"loss", *parts}
    shares = (0.1, 0.2, 0.3, 0.4)
    total = parts["nce"] + sum(s * v for s, v in zip(shares, list(parts.values())[1:], strict=True))
    assert losses["loss"].item() == pytest.approx(total, rel=1e-5)
    losses["loss"].backward()
    moved = learning(stage)
    assert {"temperature.log", "subject_temperature.log", "projection.weight", "regeneration.gate"} <= moved
    assert any(name.startswith("head.") for name in moved)
    assert all(".ssa-me." in name for name in moved if name.startswith("model."))


def test_both_stages_start_from_the_same_contrast_where_nothing_is_suppressed(make_backbone, corpus):
    stage = salient(make_backbone(), corpus)
    stage.regeneration.floor = 1.0
    with torch.no_grad():
        torch.testing.assert_close(
            stage(3)["nce"], baseline(make_backbone(), corpus)(3)["nce"], atol=1e-4, rtol=0
        )


def plain_corpus(corpus: Corpus, phrases: bool) -> Corpus:
    """The corpus as photographs: without subjects, or with those of the first image alone."""
    group = [
        Prepared(
            p.pixels,
            p.grid,
            p.size,
            p.texts,
            p.phrases if keep else (),
            p.coverage if keep else p.coverage[:0],
        )
        for i, p in enumerate(corpus.groups[0])
        for keep in (phrases and i == 0,)
    ]
    return Corpus([FolderSource((), "photographs")], [group])


def test_images_without_subjects_train_by_contrast_alone(make_backbone, corpus):
    stage = salient(make_backbone(), plain_corpus(corpus, phrases=False))
    losses = stage(0)
    assert losses["attention"] == 0 and losses["head"] == 0 and "subject" not in losses
    assert losses["loss"].item() == pytest.approx(losses["nce"].item())
    losses["loss"].backward()
    assert not any(name.startswith("head.") for name in learning(stage))


def test_images_without_annotations_are_no_evidence_of_darkness(make_backbone, corpus):
    mixed, weights = plain_corpus(corpus, phrases=True), Weights(phrase_share=0.0)
    stage = salient(make_backbone(), mixed, weights)
    losses = stage(0)
    draw = mixed.draw(7, 0, 6)
    assert losses["head"] > 0 and losses["loss"].isfinite()
    assert sorted(draw.indices) == list(range(6))
    stage.cache.groups[0].tokens[1:] *= -1  # what the head says of the others is not asked for
    torch.testing.assert_close(stage(0)["head"], losses["head"])
    stage.cache.groups[0].tokens[0] *= -1
    assert (stage(0)["head"] - losses["head"]).abs() > 1e-4


# --- losses fall -----------------------------------------------------------------------------------------------------


def losses_of(stage: nn.Module, schedule: Schedule, make_run: Callable) -> list[dict[str, float]]:
    """The losses of fixed steps before and after training."""

    def measured() -> dict[str, float]:
        with torch.no_grad():
            every = [stage(step) for step in range(3)]
        return {key: float(np.mean([e[key].item() for e in every])) for key in every[0]}

    before = measured()
    assert fit("stage", stage, schedule, make_run(), False)
    return [before, measured()]


def test_the_base_stage_overfits_six_images(make_backbone, corpus, make_run):
    stage = BaseStage(make_backbone(), corpus, Base(batch=6), seed=7)
    schedule = Schedule(steps=30, batch=6, learning_rate=6e-3, warmup=5)
    before, after = losses_of(stage, schedule, make_run)
    assert after["nce"] < 0.6 * before["nce"]
    assert after["caption"] < 0.75 * before["caption"]


def test_the_baseline_overfits_six_images(make_backbone, corpus, make_run):
    schedule = Schedule(steps=45, batch=6, learning_rate=2e-2, warmup=5)
    before, after = losses_of(baseline(make_backbone(), corpus), schedule, make_run)
    assert after["nce"] < 0.85 * before["nce"]


def test_ssa_me_overfits_six_images_in_every_part(make_backbone, corpus, make_run):
    schedule = Schedule(steps=25, batch=6, learning_rate=2e-2, warmup=5)
    before, after = losses_of(salient(make_backbone(), corpus), schedule, make_run)
    for name, share in {"loss": 0.7, "nce": 0.7, "attention": 0.95, "head": 0.6, "subject": 0.8}.items():
        assert after[name] < share * before[name], name
