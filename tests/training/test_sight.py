"""The stage that teaches the vision tower words: its vocabulary, what it trains, and that its parts add up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch

from ssa_me.backbone import Backbone
from ssa_me.training.data import Corpus
from ssa_me.training.gradcache import cached_step, plain_step
from ssa_me.training.recipe import Sight
from ssa_me.training.sight import SightStage, vocabulary, words_of


@pytest.fixture
def sight(make_backbone: Callable[[], Backbone], corpus: Corpus) -> Callable[[], SightStage]:
    """A stage that knows half of the words, so that some phrases have none; the same at every call."""

    def make() -> SightStage:
        backbone = make_backbone()
        torch.manual_seed(1)
        stage = SightStage(backbone, corpus, Sight(batch=8), seed=7)
        common = vocabulary(corpus, 1000, least=1)
        stage.words = {word: n for n, word in enumerate(list(common)[::2])}
        stage.of_image, stage.of_region = (
            torch.nn.Linear(backbone.width, len(stage.words)) for _ in range(2)
        )
        return stage

    return make


def test_words_are_those_that_say_something():
    assert words_of("A man on the beach, in 2 RED shoes") == ["man", "beach", "red", "shoes"]


def test_the_vocabulary_has_the_commonest_words_first(corpus):
    every = vocabulary(corpus, 1000, least=1)
    assert list(every.values()) == list(range(len(every)))
    assert list(vocabulary(corpus, 3, least=1)) == list(every)[:3]
    assert vocabulary(corpus, 1000, least=len(corpus.groups[0]) + 1) == {}


def test_the_vision_tower_alone_learns(sight, take):
    stage = sight()
    losses = take(stage)
    assert losses.keys() == {"loss", "image", "region", "token"}
    assert losses["loss"].item() == pytest.approx(sum(losses[n].item() for n in ("image", "region", "token")))
    moved = {n for n, p in stage.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(".visual." in name for name in moved)
    assert not any(".language_model." in name for name in moved)


@pytest.mark.parametrize("chunks", [1, 3])
def test_in_sixteen_bits_it_learns_the_same(sight, chunks):
    """Passes run under autocast, comparisons outside of it."""
    losses = []
    for context in (nullcontext, lambda: torch.autocast("cpu", torch.bfloat16)):
        stage = sight()
        whole = stage.batch(0)
        means = (lambda rows: rows, lambda loss: loss.backward(), context)
        parts = stage.cut(whole, chunks)
        step = (
            cached_step(stage, whole, parts, *means)
            if chunks > 1
            else plain_step(stage, whole, parts[0], *means)
        )
        losses.append(step["loss"])
    torch.testing.assert_close(losses[1], losses[0], atol=0.05, rtol=0)


@pytest.mark.parametrize("chunks", [3, 8])
def test_in_parts_the_gradient_is_the_same(sight, take, chunks):
    plain, cached = sight(), sight()
    whole = plain.batch(0)
    known = [bool(plain._known(phrase)) for phrase in whole.named.phrases]
    assert any(known) and not all(known)  # so that the regions of a part are no measure of its share
    expected, found = take(plain), take(cached, chunks=chunks)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    for (name, one), (_, other) in zip(plain.named_parameters(), cached.named_parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(
                other.grad, one.grad, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
            )
