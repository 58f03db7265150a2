"""What is named in a batch, by hand: two images of three tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssa_me.training.data import Prepared
from ssa_me.training.named import Named, less_than


def image(phrases: tuple[str, ...], coverage: list[list[float]], setting: str = "") -> Prepared:
    cells = np.array(coverage, np.float16).reshape(-1, 3)
    return Prepared(
        np.zeros((3, 4), np.float16), (1, 1, 3), (32, 32), ("a text",), phrases, cells, setting=setting
    )


@pytest.fixture
def named() -> Named:
    """A red and a blue dog beside a cat; a red dog in the snow."""
    first = image(("a red dog", "a blue dog", "a white cat"), [[0.9, 0.2, 0], [0, 0.8, 0], [0, 0, 1]])
    second = image(("a red dog",), [[0, 0, 0.7]], setting="in the snow")
    return Named.of([first, second], torch.device("cpu"))


def test_what_is_called_by_less_has_all_regions_that_it_might_mean(named):
    reworded = named.reworded(1.0, np.random.default_rng(0))
    dogs = {"the dog", "a dog", "dog"}
    assert set(reworded.phrases[:2]) <= dogs and reworded.phrases[3] in dogs
    assert reworded.phrases[2] in {"the cat", "a cat", "cat"}
    assert reworded.phrases[4] == "in the snow"
    either = torch.tensor([0.9, 0.8, 0.0])
    expected = torch.stack([either, either, named.regions[2], named.regions[3], named.regions[4]])
    torch.testing.assert_close(reworded.regions, expected, atol=1e-3, rtol=0)
    assert (reworded.images, reworded.number, reworded.ground) == (named.images, named.number, named.ground)


def test_what_says_less_of_a_subject():
    assert less_than("a red dog") == ("the dog", "a dog", "dog")
    men = ("the man", "a man", "man", "a person", "a person in red", "person", "the person")
    assert less_than("a man in red") == men
    assert less_than("dog") == ("the dog",) and less_than("in the snow") == ()


def test_called_and_reworded_are_drawn_alike(named):
    called = named.called(0.5, np.random.default_rng(3))
    assert called == named.reworded(0.5, np.random.default_rng(3)).phrases
    assert called != named.phrases and len(called) == len(named)


def test_some_are_called_by_their_phrase_still(named):
    rng = np.random.default_rng(1)
    draws = [named.reworded(0.5, rng) for _ in range(200)]
    kept = np.mean([[a == b for a, b in zip(d.phrases, named.phrases, strict=True)] for d in draws], axis=0)
    assert ((kept[:4] > 0.4) & (kept[:4] < 0.6)).all() and kept[4] == 1
    untouched = named.reworded(0.0, rng)
    assert untouched.phrases == named.phrases and torch.equal(untouched.regions, named.regions)


def test_the_batch_that_is_reworded_keeps_its_own_regions(named):
    before = named.regions.clone()
    named.reworded(1.0, np.random.default_rng(0))
    assert torch.equal(named.regions, before)


def test_nothing_named_is_nothing_reworded():
    empty = Named.of([image((), [])], torch.device("cpu"))
    assert len(empty.reworded(1.0, np.random.default_rng(0))) == 0
