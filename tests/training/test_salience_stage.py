"""The salience head on its own: what it loses by hand, that nothing else learns, in parts as in one pass, and resumed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from ssa_me import objectives
from ssa_me.training.adapter_stages import SalientBatch, SalientPart
from ssa_me.training.data import Corpus
from ssa_me.training.loop import fit
from ssa_me.training.recipe import Schedule
from ssa_me.training.sources import FolderSource, SceneSource
from ssa_me.training.things import Things


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_only_the_head_learns(make_stage, make_run, take):
    stage = make_stage("salience")
    salient = stage.texts.stage
    before = weights(salient)
    losses = take(stage)
    assert losses.keys() == {"loss", "head", "named_head"}
    assert losses["loss"].item() == pytest.approx((losses["head"] + losses["named_head"]).item(), rel=1e-6)
    assert gradients(stage).keys() == {name for name, _ in stage.named_parameters()}
    stage.zero_grad()
    assert fit("salience", stage, Schedule(steps=2, batch=8, warmup=0), make_run(), resume=False)
    moved = {name for name, value in weights(salient).items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("parts.head.") for name in moved)


def test_its_losses_are_those_that_it_has_beside_the_adapter(make_stage):
    """Of the same batch, the same phrases looked for, and the same vectors of phrases."""
    stage, beside = make_stage("salience"), make_stage("ssa-me")
    whole = stage.batch(0)
    (part,) = stage.cut(whole, 1)
    rows, kept = stage.represent(part)
    found = stage.beside(part, kept, rows)
    other = SalientBatch(whole.batch, Things.of(whole.batch), whole.sought)
    spoken, of_pass = beside.represent(SalientPart(part.some, other))
    torch.testing.assert_close(spoken["phrases"].detach(), rows["phrases"], atol=1e-5, rtol=0)
    expected = beside.beside(SalientPart(part.some, other), of_pass, spoken)
    for name in ("head", "named_head"):
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=0)


def test_what_is_there_is_lit_and_what_is_not_stays_dark_by_hand(make_stage):
    """Every named region is looked for by its phrase; another's phrase is to light nothing, unless it is there too."""
    stage = make_stage("salience")
    whole = stage.batch(0)
    (part,) = stage.cut(whole, 1)
    rows, kept = stage.represent(part)
    named, sought, images = whole.batch.named, whole.sought, whole.batch.named.images
    assert sought.rows == tuple(range(len(named))) and not all(sought.present) and any(sought.present)
    lit, dark = [], []
    for row, wrong, there in zip(sought.rows, sought.wrong, sought.present, strict=True):
        b = images[row]
        seen = kept.tokens[b : b + 1], kept.valid[b : b + 1], kept.centres[b : b + 1]
        for of, place, skipped in ((lit, row, False), (dark, wrong, there)):
            phrase = rows["phrases"][named.place[place]][None]
            target = named.regions[row : row + 1] if of is lit else torch.zeros_like(named.regions[:1])
            if not skipped:
                of.append(objectives.salience_bce(stage.head(*seen, phrase), target, seen[1]))
    by_hand = torch.stack(lit).mean() + 0.5 * torch.stack(dark).mean()  # all images have as many tokens
    found = stage.beside(part, kept, rows)["named_head"]
    torch.testing.assert_close(found, by_hand.detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("chunks", [2, 3, 8])
def test_in_parts_and_in_one_pass_the_gradient_is_the_same(make_stage, take, chunks):
    plain, cached = make_stage("salience"), make_stage("salience")
    one, other = take(plain), take(cached, chunks=chunks)
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=0)
    for name, value in gradients(plain).items():
        torch.testing.assert_close(value, gradients(cached)[name], atol=1e-5, rtol=1e-4)


def test_it_overfits_eight_images(make_stage, make_run, take):
    stage = make_stage("salience")
    before = take(stage)
    stage.zero_grad()
    assert fit(
        "salience", stage, Schedule(steps=60, batch=8, learning_rate=1e-2, warmup=5), make_run(), False
    )
    after = take(stage)
    for name in ("head", "named_head"):
        assert after[name] < 0.6 * before[name], name


def test_a_stage_that_is_gone_on_with_comes_to_the_same_weights(gone_on_with):
    straight, stopped, again = gone_on_with("salience")
    came = weights(straight)
    assert all(torch.equal(value, came[name]) for name, value in weights(again).items())
    assert any(not torch.equal(value, came[name]) for name, value in weights(stopped).items())


def test_each_text_is_read_once(make_stage, take, monkeypatch):
    stage = make_stage("salience", batch=4)
    salient, spoken = stage.texts.stage, []
    say = salient.say

    def counted(texts, bucket):
        spoken.extend(texts)
        return say(texts, bucket)

    monkeypatch.setattr(salient, "say", counted)
    for step in range(6):
        take(stage, step, chunks=None if step % 2 else 3)
    assert len(spoken) > 4 and len(set(spoken)) == len(spoken)


def test_a_stage_that_begins_later_reads_what_came_before_in_the_same_order(make_stage, take):
    straight, late = make_stage("salience", batch=4), make_stage("salience", batch=4)
    for step in range(4):
        take(straight, step)
    take(late, 3)
    first, again = (vars(stage.texts)["_known"] for stage in (straight, late))
    assert list(first) == list(again) and len(first) > 4
    assert all(torch.equal(text, again[key]) for key, text in first.items())


def test_it_learns_from_what_has_regions_alone(make_stage, corpus):
    (group,) = corpus.groups
    bare = [replace(item, phrases=(), coverage=item.coverage[:0], facts=None, about=()) for item in group]
    captions, scenes = FolderSource((), "captions"), corpus.sources[0]
    assert isinstance(scenes, SceneSource)
    both = make_stage("ssa-me", data=Corpus([captions, scenes], [bare, group])).material
    kept = both.with_regions()
    assert kept is not None and kept.corpus.sources == (scenes,)
    assert len(kept.cache.groups) == 1 and kept.cache.groups[0] is both.cache.groups[1]
    assert make_stage("ssa-me", data=Corpus([captions], [bare])).material.with_regions() is None
