"""The salience head: a logit by hand, independence of padding and batch, and that it can learn what a phrase names."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from ssa_me.objectives import salience_bce
from ssa_me.salience.head import SalienceHead

SEED = 0


@pytest.fixture
def head() -> SalienceHead:
    torch.manual_seed(SEED)
    return SalienceHead(8, hidden=16)


def some(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def middle(images: int, tokens: int) -> torch.Tensor:
    """Centres of tokens that all lie in the middle."""
    return torch.full((images, tokens, 2), 0.5)


def normal_cdf(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_a_phrase_meets_the_tokens_in_a_dot_product():
    head = SalienceHead(2, hidden=2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.norm.weight.fill_(1)
        head.token.weight.copy_(torch.eye(2))
        head.phrase.weight.copy_(torch.eye(2))
        head.mix.weight[0, 2] = 1  # the match alone
        head.out.weight[0, 0] = 1
        tokens = torch.tensor([[[3.0, 1.0], [1.0, 3.0]]])  # normalised: (1, -1) and (-1, 1)
        valid, centres = torch.ones(1, 2, dtype=torch.bool), middle(1, 2)
        logits = head(tokens, valid, centres, torch.tensor([[1.0, 0.0]]))
        free = head(tokens, valid, centres)
    # the phrase becomes (√2, 0), so that the matches are ±√2 / √2; gelu(x) = x·Φ(x)
    torch.testing.assert_close(logits, torch.tensor([[normal_cdf(1), -normal_cdf(-1)]]), atol=1e-4, rtol=0)
    assert torch.equal(free, torch.zeros(1, 2))


def test_context_is_the_mean_of_the_real_tokens():
    head = SalienceHead(2, hidden=2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.norm.weight.fill_(1)
        head.context.weight.copy_(torch.eye(2))
        head.mix.weight[0, 0] = 1  # the first modulated feature alone
        head.out.weight[0, 0] = 1
        tokens = torch.tensor([[[3.0, 1.0], [3.0, 1.0], [1.0, 3.0], [1.0, 3.0]]])
        valid = torch.tensor([[True, True, True, False]])
        logits = head(tokens, valid, middle(1, 4))
    context = 1 / 3  # of 1, 1 and -1
    feature = context * normal_cdf(context)
    torch.testing.assert_close(
        logits[0, :3], torch.full((3,), feature * normal_cdf(feature)), atol=1e-4, rtol=0
    )


def test_padding_changes_nothing_and_has_no_salience(head):
    tokens, phrase = some(1, 5, 8), F.normalize(some(1, 8), dim=-1)
    padded = torch.cat([tokens, 100 * some(1, 3, 8)], dim=1)
    valid = torch.tensor([[True] * 5 + [False] * 3])
    centres = some(1, 8, 2).sigmoid()
    alone = head.salience(tokens, torch.ones(1, 5, dtype=torch.bool), centres[:, :5], phrase)
    together = head.salience(padded, valid, centres, phrase)
    torch.testing.assert_close(together[:, :5], alone)
    assert torch.equal(together[:, 5:], torch.zeros(1, 3))
    assert (alone > 0).all() and (alone < 1).all()


def test_a_sample_does_not_depend_on_its_batch(head):
    tokens, phrases = some(3, 5, 8), F.normalize(some(3, 8), dim=-1)
    valid = torch.ones(3, 5, dtype=torch.bool)
    centres = some(3, 5, 2).sigmoid()
    together = head(tokens, valid, centres, phrases)
    rows = (slice(i, i + 1) for i in range(3))
    alone = torch.cat([head(tokens[row], valid[row], centres[row], phrases[row]) for row in rows])
    torch.testing.assert_close(together, alone)


def test_the_order_of_tokens_only_orders_the_result(head):
    tokens, valid, order = some(1, 5, 8), torch.ones(1, 5, dtype=torch.bool), torch.tensor([3, 0, 4, 1, 2])
    centres = some(1, 5, 2).sigmoid()
    expected = head(tokens, valid, centres)[:, order]
    torch.testing.assert_close(head(tokens[:, order], valid, centres[:, order]), expected)


def test_where_a_token_lies_by_hand():
    """The first feature is x alone: half of it a quarter of the way, and what the waves make of it."""
    head = SalienceHead(2, hidden=2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.mix.weight[0, 0] = head.out.weight[0, 0] = 1
        # x, y, then sines of half a turn (x, y), its cosines, sines of a whole turn, its cosines
        for place, by_hand in ((0, 0.25), (1, 0.75), (2, 0.5**0.5), (5, -(0.5**0.5)), (6, 1.0), (9, 0.0)):
            head.place.weight.zero_()
            head.place.weight[0, place] = 1
            centres = torch.tensor([[[0.25, 0.75]]])
            found = head(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool), centres)
            feature = by_hand * normal_cdf(by_hand)
            assert found.item() == pytest.approx(feature * normal_cdf(feature), abs=1e-4), place


def test_salience_follows_the_phrase_or_stands_without_one(head):
    tokens, valid = some(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    first, second = F.normalize(some(2, 8), dim=-1).split(1)
    centres = middle(1, 5)
    named = head(tokens, valid, centres, first)
    assert not torch.allclose(named, head(tokens, valid, centres, second))
    assert not torch.allclose(named, head(tokens, valid, centres))


def test_it_learns_the_token_that_a_phrase_names_and_darkness_for_what_is_absent(head):
    tokens = some(1, 4, 8).expand(4, -1, -1)
    phrases = F.normalize(some(4, 8), dim=-1)
    target = torch.zeros(4, 4)
    target[0, 1] = target[1, 3] = target[2, 0] = 1  # the fourth phrase is of nothing here
    valid, centres = torch.ones(4, 4, dtype=torch.bool), middle(4, 4)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = salience_bce(head(tokens, valid, centres, phrases), target, valid) + salience_bce(
            head(tokens[:1], valid[:1], centres[:1]), target[:1], valid[:1]
        )
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        named = head.salience(tokens, valid, centres, phrases)
        free = head.salience(tokens[:1], valid[:1], centres[:1])
    torch.testing.assert_close(named.round(), target)
    torch.testing.assert_close(free.round(), target[:1])
    assert named[3].max() < 0.3
