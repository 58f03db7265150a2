"""Codes of subjects, relations bound into them, and what is composed: by hand with a fresh module, and by its properties
with a random one."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ssa_me.composition import PLACE, Said, Seen, Spoken, SubjectComposition, places

WIDTH = 8
GRID = torch.tensor([[0.0, 0, 10, 20], [10, 0, 20, 20], [0, 20, 10, 40], [10, 20, 20, 40]])
"""A picture of 20 × 40 pixels in 2 × 2 tokens, raster order."""
SIZE = torch.tensor([[20.0, 40.0]])
LEFT = torch.tensor([1.0, 0.0, 0.0])


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
        module.gates.copy_(torch.tensor([0.6, 0.8]))
        module.trust.weight.zero_()
        module.trust.bias.zero_()
    return module


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def seen(images: int, subjects: int) -> Seen:
    present = torch.ones(images, subjects, dtype=torch.bool)
    return Seen(
        unit(images, subjects, WIDTH), present, torch.rand(images, subjects, PLACE), unit(images, WIDTH)
    )


# --- what a region shows ---------------------------------------------------------------------------------------------


def test_a_fresh_region_is_the_mean_of_the_hidden_states(fresh):
    hidden, tokens = torch.randn(2, 4, WIDTH), torch.randn(2, 4, WIDTH)
    regions = torch.zeros(2, 2, 4)
    regions[0, 0], regions[0, 1] = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 0.5, 0, 1.5])
    regions[1, 0] = torch.ones(4)
    found = fresh.regions(hidden, tokens, torch.ones(hidden.shape[:2], dtype=torch.bool), regions)
    assert found.shape == (2, 2, WIDTH) and found.dtype == torch.float32
    torch.testing.assert_close(found[0, 0], F.normalize(hidden[0, 0], dim=0))
    torch.testing.assert_close(found[0, 1], F.normalize(hidden[0, 1] / 4 + hidden[0, 3] * 3 / 4, dim=0))
    torch.testing.assert_close(found[1, 0], F.normalize(hidden[1].mean(0), dim=0))


def test_an_empty_region_is_a_finite_vector(fresh, moved):
    hidden, nothing = torch.randn(1, 4, WIDTH), torch.zeros(1, 1, 4)
    real = torch.ones(hidden.shape[:2], dtype=torch.bool)
    assert torch.equal(fresh.regions(hidden, hidden, real, nothing), torch.zeros(1, 1, WIDTH))
    assert moved.regions(hidden, hidden, real, nothing).isfinite().all()


def test_a_trained_region_sees_its_mean_and_that_of_the_image(moved):
    hidden, tokens = torch.randn(1, 4, WIDTH), torch.randn(1, 4, WIDTH)
    regions = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]])
    real = torch.ones(1, 4, dtype=torch.bool)
    before = moved.regions(hidden, tokens, real, regions)
    shifted = tokens.clone()
    shifted[0, 0, 0] += 2
    after = moved.regions(hidden, shifted, real, regions)
    own, other = (after - before).norm(dim=-1)[0].tolist()
    assert own > 1e-3, "its own region"
    assert other > 1e-3, "and what surrounds it"
    torch.testing.assert_close(after.norm(dim=-1), torch.ones(1, 2))
    shifted[0, 1, 0] -= 2  # the means are as before
    torch.testing.assert_close(moved.regions(hidden, shifted, real, regions), before)


# --- codes and relations ---------------------------------------------------------------------------------------------


def test_fresh_codes_are_the_things_themselves(fresh):
    things = unit(3, 2, WIDTH)
    torch.testing.assert_close(fresh.subject_codes(things), things)
    torch.testing.assert_close(fresh.phrase_codes(things), things)


def test_codes_are_of_unit_length_and_those_of_subjects_are_not_those_of_phrases(moved):
    things = unit(4, WIDTH)
    subjects, phrases = moved.subject_codes(things), moved.phrase_codes(things)
    torch.testing.assert_close(subjects.norm(dim=-1), torch.ones(4))
    assert (subjects - phrases).norm(dim=-1).min() > 1e-2


def test_a_role_by_hand(fresh):
    first, second = torch.zeros(WIDTH), torch.zeros(WIDTH)
    first[2], first[5], second[2], second[7] = 0.6, 0.8, 1.0, 0.5
    bound = fresh.role(first, second, LEFT)
    by_hand, ((one, other), *_) = torch.zeros(WIDTH), fresh.signs
    by_hand[2] = (0.6 * one[2] + 1.0 * other[2]) / 2**0.5
    by_hand[5], by_hand[7] = 0.8 * one[5] / 2**0.5, 0.5 * other[7] / 2**0.5
    torch.testing.assert_close(bound, by_hand)
    torch.testing.assert_close(fresh.role(first, second, LEFT / 4), bound / 4)
    assert not fresh.role(first, second, torch.zeros(3)).any()


def test_the_cosine_of_two_relations_is_the_mean_of_those_of_what_stands_in_the_same_role():
    """But for what is left of two unrelated vectors, 1/√D: the same two in the same order alone are near, half of it is half as
    near, and another order or another relation is not near at all."""
    torch.manual_seed(2)
    module = SubjectComposition(2048, 6)
    a, b, c = unit(3, 2048)
    own = module.role(a, b, LEFT)
    for other, cosine in (
        (module.role(a, b, LEFT), 1.0),
        (module.role(a, c, LEFT), 0.5),
        (module.role(c, b, LEFT), 0.5),
        (module.role(b, a, LEFT), 0.0),
        (module.role(a, b, LEFT.roll(1)), 0.0),
        (module.role(a, b, torch.tensor([0.25, 0.0, 0.75])), 0.25),
    ):
        assert float(own @ other) == pytest.approx(cosine, abs=0.1)


def test_signs_are_the_same_everywhere_and_no_weight():
    one, other = SubjectComposition(WIDTH, 6), SubjectComposition(WIDTH, 4)
    assert torch.equal(one.signs, other.signs) and set(one.signs.unique().tolist()) == {-1.0, 1.0}
    assert "signs" not in one.state_dict()


def test_related_are_the_ordered_pairs_of_the_first_four(moved):
    found = seen(2, 5)
    vectors, there = moved.related(found)
    assert vectors.shape == (2, 12, WIDTH) and there.all()
    ways = moved.relations(found.places[:, 0], found.places[:, 2]).sigmoid()
    by_hand = moved.role(found.subjects[:, 0], found.subjects[:, 2], ways)
    torch.testing.assert_close(vectors[:, 1], by_hand)  # (0,1) (0,2) (0,3) (1,0) (1,2) (1,3) (2,0) …
    found.present[0, 1] = False
    assert (~moved.related(found)[1][0]).nonzero().flatten().tolist() == [0, 3, 4, 5, 7, 10]
    assert len(moved.related(seen(1, 3))[0][0]) == 6


def test_nothing_is_related_where_nothing_is_there(moved):
    vectors, there = moved.related(seen(2, 0))
    assert vectors.shape == (2, 0, WIDTH) and there.shape == (2, 0)


# --- composed --------------------------------------------------------------------------------------------------------


def test_a_fresh_module_composes_nothing(fresh):
    vector = unit(3, WIDTH)
    torch.testing.assert_close(fresh.compose(vector, seen(3, 2)), vector)
    spoken = Spoken.of(["a dog left of a cat in the park", "a cat", ""])
    codes = unit(len(spoken.readings), WIDTH)
    torch.testing.assert_close(fresh.compose_text(codes[:3], spoken.said(fresh, codes)), codes[:3])


def test_an_image_by_hand(moved):
    vector, found = unit(2, WIDTH), seen(2, 2)
    found.present[1, 1] = False
    related, there = moved.related(found)
    shares = moved.shares[0]
    whole = found.subjects[0].sum(0) / 2**0.5 + shares[0] * related[0].sum(0) + shares[1] * found.ground[0]
    alone = found.subjects[1, 0] + shares[1] * found.ground[1]
    assert not there[1].any()
    by_hand = F.normalize(vector + 0.6 * torch.stack([whole, alone]), dim=-1)
    torch.testing.assert_close(moved.compose(vector, found), by_hand)


def test_a_text_by_hand(moved):
    spoken = Spoken.of(["a dog left of a cat in the park"])
    assert spoken.readings == ("a dog left of a cat in the park", "a dog", "a cat", "in the park")
    codes = unit(4, WIDTH)
    related, placed = moved.shares[1]
    named = (
        (codes[1] + codes[2]) / 2**0.5 + related * moved.role(codes[1], codes[2], LEFT) + placed * codes[3]
    )
    found = moved.compose_text(codes[:1], spoken.said(moved, codes))
    torch.testing.assert_close(found[0], F.normalize(codes[0] + 0.8 * named, dim=0))


def test_an_answer_is_composed_with_the_subject_that_is_asked_for(moved):
    """By hand; where none is, as the phrase alone would be."""
    vector, asked = unit(2, WIDTH), unit(2, WIDTH)
    found = moved.compose_answer(vector, asked, torch.tensor([True, False]))
    own = moved.phrase_codes(vector)
    both = F.normalize(vector[0] + 0.8 * (own[0] + asked[0]) / 2**0.5, dim=-1)
    torch.testing.assert_close(found[0], both)
    torch.testing.assert_close(found[1], F.normalize(vector[1] + 0.8 * own[1], dim=-1))
    spoken = Spoken.of(["a dog", "a cat"])
    as_phrases = moved.compose_text(vector, spoken.said(moved, own))
    torch.testing.assert_close(found[1], as_phrases[1])


def test_trust_depends_on_the_vector(moved):
    vector, found = unit(2, WIDTH), seen(2, 2)
    before = moved.compose(vector, found)
    with torch.no_grad():
        moved.trust.weight[0] = -20 * vector[0]
    after = moved.compose(vector, found)
    torch.testing.assert_close(after[0], vector[0])  # cut off: nothing is composed into the first
    assert float((after[1] - before[1]).detach().norm()) > 1e-3


def test_where_training_starts(fresh):
    fresh.start(1.5)
    assert fresh.gates.tolist() == [1.5, 1.5] and fresh.shares.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    vector, found = unit(1, WIDTH), seen(1, 1)
    by_hand = F.normalize(vector + 1.5 * (found.subjects[:, 0] + 0.5 * found.ground), dim=-1)
    torch.testing.assert_close(fresh.compose(vector, found), by_hand)


def test_gates_learn_from_what_they_let_through(fresh):
    fresh.compose(unit(2, WIDTH), seen(2, 2))[:, 0].sum().backward()
    assert fresh.gates.grad is not None and fresh.gates.grad[0] != 0


# --- what is spoken --------------------------------------------------------------------------------------------------


def test_each_reading_stands_once_and_texts_come_first():
    spoken = Spoken.of(["a cat", "a dog and a cat", "a cat right of a dog"])
    assert spoken.readings == ("a cat", "a dog and a cat", "a cat right of a dog", "a dog")
    assert spoken.phrases.tolist() == [[0, -1], [3, 0], [0, 3]]
    assert spoken.setting.tolist() == [-1, -1, -1]
    assert spoken.related.tolist() == [[-1, -1], [-1, -1], [3, 0]], "the dog is left of the cat"
    assert spoken.way.tolist() == [-1, -1, 0]
    assert spoken.count.tolist() == [1, 2, 3]


def test_an_empty_text_says_nothing(moved):
    spoken = Spoken.of([""])
    assert spoken.readings == ("",) and spoken.phrases.shape == (1, 0)
    vector = unit(1, WIDTH)
    torch.testing.assert_close(moved.compose_text(vector, spoken.said(moved, vector)), vector)
    (nothing,) = spoken.said(moved, vector).statements()
    assert nothing.shape == (0, WIDTH)


def test_statements_are_phrases_setting_and_relation_of_unit_length(moved):
    spoken = Spoken.of(["a dog left of a cat in the park", "a cat"])
    codes = unit(len(spoken.readings), WIDTH)
    said = spoken.said(moved, codes)
    both, one = said.statements()
    assert both.shape == (5, WIDTH) and one.shape == (1, WIDTH)
    torch.testing.assert_close(both[:3], codes[[2, 1, 3]])
    torch.testing.assert_close(
        both[3:], F.normalize(said.relation, dim=-1)[[0, 0]]
    )  # of two, so it counts twice
    torch.testing.assert_close(one, codes[1:2])


def test_what_is_said_without_parts_is_what_is_read():
    said = Said(unit(1, 1, WIDTH), torch.tensor([[True]]), torch.zeros(1, WIDTH), torch.zeros(1, WIDTH))
    torch.testing.assert_close(said.statements()[0], said.phrases[0])


# --- places ----------------------------------------------------------------------------------------------------------


def test_places_of_regions_on_a_small_grid():
    regions = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 1, 1]]])
    found = places(regions, GRID[None], SIZE)
    torch.testing.assert_close(found[0, 0], torch.tensor([0.25, 0.25, 0, 0, 0.5, 0.5]))
    torch.testing.assert_close(found[0, 1], torch.tensor([0.75, 0.5, 0.5, 0, 1, 1]))
    torch.testing.assert_close(found[0, 2], torch.tensor([0.5, 0.5, 0, 0, 1, 1]))


def test_a_faint_token_moves_the_centre_and_not_the_box():
    found = places(torch.tensor([[[1.0, 0.25, 0, 0]]]), GRID[None], SIZE)
    torch.testing.assert_close(found[0, 0], torch.tensor([(0.25 + 0.25 * 0.75) / 1.25, 0.25, 0, 0, 0.5, 0.5]))


def test_an_empty_region_lies_nowhere():
    assert not places(torch.zeros(1, 1, 4), GRID[None], SIZE).any()
