"""Subjects and pairs of them: what a fresh module computes by hand, places on a small grid, what does not count."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ssa_me.composition import PAIRED, PLACE, SubjectComposition, named_in, places

WIDTH = 8
GRID = torch.tensor([[0.0, 0, 10, 20], [10, 0, 20, 20], [0, 20, 10, 40], [10, 20, 20, 40]])
"""A picture of 20 × 40 pixels in 2 × 2 tokens, raster order."""
SIZE = torch.tensor([[20.0, 40.0]])


@pytest.fixture
def fresh() -> SubjectComposition:
    torch.manual_seed(0)
    return SubjectComposition(WIDTH, 6)


@pytest.fixture
def moved() -> SubjectComposition:
    """Every weight and gate random, none zero, but trust the same in every image."""
    torch.manual_seed(1)
    module = SubjectComposition(WIDTH, 6)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
        module.gates.copy_(torch.tensor([0.6, -0.4, 0.8]))
        module.trust.weight.zero_()
        module.trust.bias.zero_()
    return module


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


# --- subjects --------------------------------------------------------------------------------------------------------


def test_a_fresh_subject_is_the_mean_of_the_hidden_states(fresh):
    hidden, tokens = torch.randn(2, 4, WIDTH), torch.randn(2, 4, WIDTH)
    regions = torch.zeros(2, 2, 4)
    regions[0, 0], regions[0, 1] = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 0.5, 0, 1.5])
    regions[1, 0] = torch.ones(4)
    found = fresh.subjects(hidden, tokens, torch.ones(hidden.shape[:2], dtype=torch.bool), regions)
    assert found.shape == (2, 2, WIDTH) and found.dtype == torch.float32
    torch.testing.assert_close(found[0, 0], F.normalize(hidden[0, 0], dim=0))
    torch.testing.assert_close(found[0, 1], F.normalize(hidden[0, 1] / 4 + hidden[0, 3] * 3 / 4, dim=0))
    torch.testing.assert_close(found[1, 0], F.normalize(hidden[1].mean(0), dim=0))


def test_an_empty_region_is_a_finite_vector(fresh, moved):
    hidden, nothing = torch.randn(1, 4, WIDTH), torch.zeros(1, 1, 4)
    assert torch.equal(
        fresh.subjects(hidden, hidden, torch.ones(hidden.shape[:2], dtype=torch.bool), nothing),
        torch.zeros(1, 1, WIDTH),
    )
    assert (
        moved.subjects(hidden, hidden, torch.ones(hidden.shape[:2], dtype=torch.bool), nothing)
        .isfinite()
        .all()
    )


def test_a_trained_subject_sees_the_mean_of_its_region_and_of_the_image(moved):
    hidden, tokens = torch.randn(1, 4, WIDTH), torch.randn(1, 4, WIDTH)
    regions = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]])
    real = torch.ones(1, 4, dtype=torch.bool)
    before = moved.subjects(hidden, tokens, real, regions)
    shifted = tokens.clone()
    shifted[0, 0, 0] += 2
    after = moved.subjects(hidden, shifted, real, regions)
    own, other = (after - before).norm(dim=-1)[0].tolist()
    assert own > 1e-3, "its own region"
    assert other > 1e-3, "and what surrounds it"
    torch.testing.assert_close(after.norm(dim=-1), torch.ones(1, 2))
    shifted[0, 1, 0] -= 2  # the means are as before
    torch.testing.assert_close(moved.subjects(hidden, shifted, real, regions), before)


# --- pairs -----------------------------------------------------------------------------------------------------------


def test_a_fresh_pair_is_the_mean_of_the_two(fresh):
    first, second = unit(3, WIDTH), unit(3, WIDTH)
    found = fresh.pairs(first, second, torch.rand(3, PLACE), torch.rand(3, PLACE))
    torch.testing.assert_close(found, F.normalize((first + second) / 2, dim=-1))


def test_the_order_of_a_pair_does_not_matter_and_its_places_do(moved):
    first, second = unit(5, WIDTH), unit(5, WIDTH)
    here, there = torch.rand(5, PLACE), torch.rand(5, PLACE)
    found = moved.pairs(first, second, here, there)
    torch.testing.assert_close(found, moved.pairs(second, first, there, here))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(5))
    exchanged = moved.pairs(first, second, there, here)
    assert ((found - exchanged).abs().amax(-1) > 1e-3).all(), "who stands where is what a pair tells"


def test_the_one_further_left_comes_first(moved):
    left, right = unit(1, WIDTH), unit(1, WIDTH)
    here, there = torch.full((1, PLACE), 0.2), torch.full((1, PLACE), 0.7)
    told = moved.pair(torch.cat([left, right, here, there], dim=-1))
    by_hand = F.normalize(left + right + told, dim=-1)
    torch.testing.assert_close(moved.pairs(left, right, here, there), by_hand)
    torch.testing.assert_close(moved.pairs(right, left, there, here), by_hand)


def test_all_pairs_of_the_first_three_in_the_order_of_combinations(moved):
    subjects, where = unit(1, 5, WIDTH), torch.rand(1, 5, PLACE)
    present = torch.tensor([[True, True, False, True, True]])
    vectors, there = moved.all_pairs(subjects, where, present)
    assert vectors.shape == (1, 3, WIDTH) and PAIRED == 3
    assert there.tolist() == [[True, False, False]]
    for row, (k, m) in enumerate([(0, 1), (0, 2), (1, 2)]):
        by_hand = moved.pairs(subjects[:, k], subjects[:, m], where[:, k], where[:, m])
        torch.testing.assert_close(vectors[:, row], by_hand)


@pytest.mark.parametrize(("count", "pairs"), [(0, 0), (1, 0), (2, 1), (3, 3), (6, 3)])
def test_how_many_pairs_there_are(count, pairs, fresh):
    vectors, there = fresh.all_pairs(
        unit(2, count, WIDTH), torch.rand(2, count, PLACE), torch.ones(2, count, dtype=torch.bool)
    )
    assert vectors.shape == (2, pairs, WIDTH) and there.shape == (2, pairs)


# --- the one vector --------------------------------------------------------------------------------------------------


def everything(count: int = 3) -> tuple[torch.Tensor, ...]:
    """A vector, subjects with those present, pairs with those present, of two images."""
    present = torch.ones(2, count, dtype=torch.bool)
    return unit(2, WIDTH), unit(2, count, WIDTH), present, unit(2, 3, WIDTH), torch.ones(2, 3).bool()


def test_with_gates_at_zero_the_vector_is_as_it_was(fresh):
    vector, *rest = everything()
    torch.testing.assert_close(fresh.compose(vector, *rest), vector)


def test_composed_by_hand(moved):
    vector, subjects, present, pairs, paired = everything()
    present[1, 2] = paired[1, 1] = paired[1, 2] = False
    found = moved.compose(vector, subjects, present, pairs, paired)
    bound = F.normalize(subjects + moved.bind(subjects), dim=-1)
    first = vector[0] + 0.6 * bound[0].sum(0) / 3**0.5 - 0.4 * pairs[0].sum(0) / 3**0.5
    second = vector[1] + 0.6 * bound[1, :2].sum(0) / 2**0.5 - 0.4 * pairs[1, 0]
    torch.testing.assert_close(found, F.normalize(torch.stack([first, second]), dim=-1))


def test_what_is_absent_does_not_count(moved):
    vector, subjects, present, pairs, paired = everything()
    present[:, 1:] = paired[:, 1:] = False
    found = moved.compose(vector, subjects, present, pairs, paired)
    alone = moved.compose(vector, subjects[:, :1], present[:, :1], pairs[:, :1], paired[:, :1])
    torch.testing.assert_close(found, alone)
    none = torch.zeros_like(present)
    torch.testing.assert_close(moved.compose(vector, subjects, none, pairs, none), vector)


def test_the_gates_learn_from_zero(fresh):
    vector, subjects, present, *pairs = everything()
    image = fresh.compose(vector, subjects, present, *pairs)
    text = fresh.compose_text(vector, subjects, present)
    (image + 2 * text)[:, 0].sum().backward()
    assert fresh.gates.grad.isfinite().all() and (fresh.gates.grad != 0).all()


def test_a_text_composed_by_hand(fresh, moved):
    vector, phrases, present, *_ = everything()
    present[1, 1:] = False
    torch.testing.assert_close(fresh.compose_text(vector, phrases, present), vector)
    bound = F.normalize(phrases + moved.bind(phrases), dim=-1)
    by_hand = torch.stack([vector[0] + 0.8 * bound[0].sum(0) / 3**0.5, vector[1] + 0.8 * bound[1, 0]])
    torch.testing.assert_close(moved.compose_text(vector, phrases, present), F.normalize(by_hand, dim=-1))


def test_an_image_that_trusts_its_subjects_less_by_hand(moved):
    vector, subjects, present, pairs, paired = everything()
    with torch.no_grad():
        moved.trust.weight[:, 0] = torch.tensor([1.0, 2.0, 3.0])
        moved.trust.bias.copy_(torch.tensor([0.5, 0.0, -1.0]))
    across = vector[:, :1]
    single = 0.6 * 2 / (1 + torch.exp(-(across + 0.5)))
    double = -0.4 * 2 / (1 + torch.exp(-2 * across))
    spoken = 0.8 * 2 / (1 + torch.exp(-(3 * across - 1)))
    torch.testing.assert_close(moved.shares(vector), (single, double, spoken))
    bound = F.normalize(subjects + moved.bind(subjects), dim=-1).sum(1) / 3**0.5
    image = F.normalize(vector + single * bound + double * pairs.sum(1) / 3**0.5, dim=-1)
    torch.testing.assert_close(moved.compose(vector, subjects, present, pairs, paired), image)
    text = F.normalize(vector + spoken * bound, dim=-1)
    torch.testing.assert_close(moved.compose_text(vector, subjects, present), text)


def test_trust_learns_once_subjects_have_a_share(fresh):
    fresh.start(0.5)
    vector, subjects, present, pairs, paired = everything()
    assert torch.equal(
        torch.cat(fresh.shares(vector)), torch.tensor([0.5, 0.5, 0.25, 0.25, 0.5, 0.5])[:, None]
    )
    fresh.compose(vector, subjects, present, pairs, paired)[:, 0].sum().backward()
    assert (fresh.trust.weight.grad[:2] != 0).all() and not fresh.trust.weight.grad[2].any()


def test_training_starts_with_subjects_in_the_vector(fresh):
    fresh.start(0.5)
    vector, subjects, present, pairs, paired = everything(count=1)
    found = fresh.compose(vector, subjects, present, pairs[:, :1], paired[:, :1])
    torch.testing.assert_close(found, F.normalize(vector + 0.5 * subjects[:, 0] + 0.25 * pairs[:, 0], dim=-1))
    text = fresh.compose_text(vector, subjects, present)
    torch.testing.assert_close(text, F.normalize(vector + 0.5 * subjects[:, 0], dim=-1))


def test_the_subjects_of_texts_are_spoken_once():
    texts = ["a red dog and a cat", "a cat", "a red dog and a cat", "", "a bird"]
    spoken, named = named_in(texts)
    assert spoken == [*texts, "a red dog"]
    assert named.tolist() == [[5, 1], [1, -1], [5, 1], [-1, -1], [4, -1]]
    assert named_in([""])[0] == [""] and named_in([""])[1].shape == (1, 0)


def test_sixteen_bits(moved):
    """Image tokens and weights in bf16, vectors in float32, near what float32 gives."""
    hidden, tokens = torch.randn(2, 4, WIDTH), torch.randn(2, 4, WIDTH)
    regions, present = torch.rand(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    where = places(regions, GRID.expand(2, 4, 4), SIZE.expand(2, 2))
    vector = unit(2, WIDTH)

    def run(module: SubjectComposition, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        subjects = module.subjects(
            hidden.to(dtype),
            tokens.to(dtype),
            torch.ones(hidden.to(dtype).shape[:2], dtype=torch.bool),
            regions.to(dtype),
        )
        pairs, paired = module.all_pairs(subjects, where, present)
        return subjects, pairs, module.compose(vector, subjects, present, pairs, paired)

    exact = run(moved, torch.float32)
    for short, whole in zip(run(moved.to(torch.bfloat16), torch.bfloat16), exact, strict=True):
        assert short.dtype == torch.float32
        torch.testing.assert_close(short.norm(dim=-1), torch.ones(short.shape[:-1]))
        torch.testing.assert_close(short, whole, atol=0.05, rtol=0)


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "place"),
    [
        ([1, 0, 0, 0], [0.25, 0.25, 0, 0, 0.5, 0.5]),
        ([0, 0, 0, 0.3], [0.75, 0.75, 0.5, 0.5, 1, 1]),
        ([1, 1, 0, 0], [0.5, 0.25, 0, 0, 1, 0.5]),
        ([0, 1, 0, 1], [0.75, 0.5, 0.5, 0, 1, 1]),
        ([0.9, 0, 0, 0.45], [(0.9 * 0.25 + 0.45 * 0.75) / 1.35] * 2 + [0, 0, 1, 1]),
        ([0.9, 0, 0, 0.44], [(0.9 * 0.25 + 0.44 * 0.75) / 1.34] * 2 + [0, 0, 0.5, 0.5]),
        ([0, 0, 0, 0], [0] * 6),
    ],
    ids=["one token", "faint", "a row", "a column", "half the weight", "below half", "empty"],
)
def test_places_by_hand(region, place):
    found = places(torch.tensor([[region]], dtype=torch.float32), GRID[None], SIZE)
    torch.testing.assert_close(found, torch.tensor([[place]], dtype=torch.float32))


def test_places_of_a_padded_batch():
    """The second image has one token, 30 × 10 pixels, and three of padding."""
    boxes = torch.zeros(2, 4, 4)
    boxes[0], boxes[1, 0] = GRID, torch.tensor([0.0, 0, 30, 10])
    regions = torch.zeros(2, 2, 4)
    regions[0, 0, 3] = regions[0, 1, 0] = regions[1, 0, 0] = 1
    found = places(regions, boxes, torch.tensor([[20.0, 40], [30, 10]]))
    expected = [
        [[0.75, 0.75, 0.5, 0.5, 1, 1], [0.25, 0.25, 0, 0, 0.5, 0.5]],
        [[0.5, 0.5, 0, 0, 1, 1], [0] * 6],
    ]
    torch.testing.assert_close(found, torch.tensor(expected))
