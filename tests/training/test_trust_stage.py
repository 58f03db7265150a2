"""How far subjects count in the one vector: what learns it, from what, and that it is the vector that is searched."""

from __future__ import annotations

import pytest
import torch

from ssa_me import objectives
from ssa_me.composition import Spoken
from ssa_me.passes import see
from ssa_me.training.data import Corpus
from ssa_me.training.loop import fit
from ssa_me.training.recipe import Schedule
from ssa_me.training.sources import FolderSource

TAUGHT = {
    "temperature.log",
    "twin_temperature.log",
    "composition.gates",
    "composition.shares",
    "composition.trust.weight",
    "composition.trust.bias",
}


def learning(module: torch.nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


@pytest.mark.parametrize("twins", [3.0, 0.5])
def test_the_loss_is_the_weighted_sum_of_its_parts(make_stage, take, twins):
    losses = take(make_stage("trust", twins=twins))
    assert losses.keys() == {"loss", "nce", "twin"}
    assert losses["nce"] > 0 and losses["twin"] > 0
    assert losses["loss"].item() == pytest.approx((losses["nce"] + twins * losses["twin"]).item(), rel=1e-6)


def test_gates_shares_and_trust_learn_and_nothing_else(make_stage, make_run, take):
    stage = make_stage("trust")
    take(stage)
    assert learning(stage) == TAUGHT == {name for name, p in stage.named_parameters() if p.requires_grad}
    stage.zero_grad()
    salient = stage.memory.stage
    before = {name: p.detach().clone() for name, p in salient.named_parameters()}
    assert fit("trust", stage, Schedule(steps=2, batch=8, warmup=0), make_run(), resume=False)
    moved = {name for name, p in salient.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {f"parts.{name}" for name in TAUGHT if name.startswith("composition.")}


def test_texts_that_bind_nothing_are_not_held_against_twins(make_stage, monkeypatch):
    """A text has to state two things before a twin can differ from it in nothing but who does what."""
    told: list[torch.Tensor] = []

    def watched(texts, images, temperature, same, group, asked):
        told.append(asked)
        return contrast(texts, images, temperature, same, group, asked)

    contrast = objectives.twin_contrast
    monkeypatch.setattr(objectives, "twin_contrast", watched)
    stage = make_stage("trust")
    whole = stage.batch(0)
    (part,) = stage.cut(whole, 1)
    stage.compare(whole, stage.represent(part)[0])
    count = Spoken.of(whole.draw.texts).count
    assert told[0].tolist() == [int(one) >= 2 for one in count]
    assert told[0].any() and not told[0].all()


def test_what_is_contrasted_is_what_the_passes_compose(make_stage):
    """The vectors of a step are those that a search compares: of images with their subjects, of texts with their phrases."""
    stage = make_stage("trust")
    whole = stage.batch(0)
    (part,) = stage.cut(whole, 1)
    salient, composition = stage.memory.stage, stage.composition
    with torch.no_grad():
        rows, _ = stage.represent(part)
        visual = salient.material.tokens(part)
        output, found = salient.alone(visual)
        seen = see(composition, output, visual, found)
        images = composition.compose(output.embedding(), seen)
        spoken = Spoken.of(part.captions)
        read = salient.say(spoken.readings, 64)
        said = spoken.said(composition, composition.phrase_codes(read))
        texts = composition.compose_text(read[: len(part)], said)
    torch.testing.assert_close(rows["images"], images, atol=1e-5, rtol=0)
    torch.testing.assert_close(rows["texts"], texts, atol=1e-5, rtol=0)
    assert (images - output.embedding()).abs().max() > 0.01  # and no image is alone what was read of it
    assert (texts - read[: len(part)]).abs().max() > 0.01


def test_emphasis_scales_the_gates_and_back(make_stage):
    stage = make_stage("trust")
    before = stage.composition.gates.detach().clone()
    stage.emphasise(1.5)
    torch.testing.assert_close(stage.composition.gates.detach(), 1.5 * before)
    stage.emphasise(1 / 1.5)
    torch.testing.assert_close(stage.composition.gates.detach(), before)


def test_a_stage_that_is_gone_on_with_comes_to_the_same_weights(gone_on_with):
    straight, stopped, again = gone_on_with("trust")
    for name, p in straight.named_parameters():
        assert torch.equal(p, dict(again.named_parameters())[name]), name
    gates = [stage.composition.gates.detach() for stage in (straight, stopped)]
    assert (gates[0] - gates[1]).abs().max() > 1e-3


def test_photographs_have_no_twins(make_stage, take, corpus):
    losses = take(make_stage("trust", data=Corpus([FolderSource((), "photographs")], corpus.groups)))
    assert losses.keys() == {"loss", "nce"} and losses["loss"] == losses["nce"]
