"""Every objective against values worked out by hand, and its silence where a batch gives it nothing to say."""

from __future__ import annotations

import math

import pytest
import torch

from ssa_me.objectives import (
    attention_alignment,
    binding,
    info_nce,
    misalignment,
    salience_bce,
    subject_contrast,
    twin_contrast,
)

E = math.e
AXES = torch.eye(3)


def leaf(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, requires_grad=True)


# --- contrast --------------------------------------------------------------------------------------------------------


def test_info_nce_of_two_orthogonal_pairs():
    # logits are the identity: each row gives -log(e / (e + 1)), in both directions
    assert float(info_nce(AXES[:2], AXES[:2], 1.0)) == pytest.approx(math.log(1 + 1 / E))


def test_info_nce_divides_by_the_temperature():
    assert float(info_nce(AXES[:2], AXES[:2], 0.5)) == pytest.approx(math.log(1 + E**-2))
    assert float(info_nce(AXES[:2], AXES[:2], torch.tensor(2.0))) == pytest.approx(math.log(1 + E**-0.5))


def test_info_nce_is_the_mean_of_both_directions():
    queries, targets = AXES[:2], torch.stack([AXES[0], AXES[0]])
    # logits [[1, 1], [0, 0]]: each query is torn between two equal targets; the targets' columns are [1, 0]
    rows = math.log(2)
    columns = (math.log(1 + 1 / E) + math.log(1 + E)) / 2
    assert float(info_nce(queries, targets, 1.0)) == pytest.approx((rows + columns) / 2)


def test_a_hard_negative_is_seen_from_the_queries_side_only():
    # the third is a wrong target that looks like the first
    targets = torch.stack([AXES[0], AXES[1], AXES[0]])
    rows = (math.log(2 * E + 1) - 1 + math.log(E + 2) - 1) / 2
    columns = math.log(1 + 1 / E)
    assert float(info_nce(AXES[:2], targets, 1.0)) == pytest.approx((rows + columns) / 2)


def test_equal_meanings_are_not_each_others_negatives():
    vectors = torch.stack([AXES[0], AXES[0], AXES[1]])
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    # rows 0 and 1 keep themselves and row 2; row 2 keeps all three
    each = (2 * math.log(1 + 1 / E) + math.log(E + 2) - 1) / 3
    assert float(info_nce(vectors, vectors, 1.0, same)) == pytest.approx(each)
    assert float(info_nce(vectors, vectors, 1.0)) > each


def test_a_text_is_held_against_the_twins_of_its_image_alone():
    # two pairs of twins; the third image looks like the first text and is no twin of its image
    images = torch.stack([AXES[0], AXES[1], AXES[0], AXES[2]])
    texts = torch.stack([AXES[0], AXES[0], AXES[2], AXES[2]])
    none, all_of_them = torch.zeros(4, 4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    # row by row: logits of its own image and of its twin are (1, 0), (0, 1), (0, 1), (1, 0)
    right, wrong = math.log(1 + 1 / E), math.log(1 + E)
    assert float(twin_contrast(texts, images, 1.0, none, 2, all_of_them)) == pytest.approx(
        (right + wrong) / 2
    )
    asked = torch.tensor([True, False, False, True])
    assert float(twin_contrast(texts, images, 1.0, none, 2, asked)) == pytest.approx(right)
    # what is also true of a twin is no error of the text
    same = none.clone()
    same[1, 0] = same[2, 3] = True
    assert float(twin_contrast(texts, images, 1.0, same, 2, all_of_them)) == pytest.approx(right / 2)
    assert float(twin_contrast(texts, images, 0.5, none, 2, asked)) == pytest.approx(math.log(1 + E**-2))
    lone = leaf(4, 3)
    for nothing in (
        twin_contrast(lone, images, 1.0, none, 1, asked),
        twin_contrast(lone, images, 1.0, none, 2, ~all_of_them),
    ):
        nothing.backward()
        assert float(nothing.detach()) == 0 and not lone.grad.any()


def test_the_mask_leaves_hard_negatives_and_its_own_diagonal_alone():
    targets = torch.stack([AXES[0], AXES[0], AXES[0]])
    every = torch.ones(2, 2, dtype=torch.bool)
    queries = torch.stack([AXES[0], AXES[0]])
    # the two mean the same: each query is left with its target and the hard negative, each target with its query
    assert float(info_nce(queries, targets, 1.0, every)) == pytest.approx(math.log(2) / 2)


def test_a_hard_negative_that_is_right_for_a_query_is_none_of_its_negatives():
    targets = torch.stack([AXES[0], AXES[1], AXES[0]])
    same = torch.tensor([[True, False, True], [False, True, False]])
    rows = (math.log(1 + 1 / E) + math.log(E + 2) - 1) / 2
    assert float(info_nce(AXES[:2], targets, 1.0, same)) == pytest.approx((rows + math.log(1 + 1 / E)) / 2)


def test_info_nce_teaches_the_temperature():
    temperature = torch.tensor(0.5, requires_grad=True)
    info_nce(AXES[:2], AXES[:2], temperature).backward()
    # d/dt log(1 + exp(-1/t)) = exp(-1/t) / (1 + exp(-1/t)) / t²
    assert float(temperature.grad) == pytest.approx(E**-2 / (1 + E**-2) / 0.25)


# --- attention -------------------------------------------------------------------------------------------------------


def test_attention_alignment_is_the_divergence_from_the_region():
    # a share of all attention: 1/4 and 3/4 of what falls on the image
    rows = torch.tensor([[[0.1, 0.3, 0.0]]])
    regions = torch.tensor([[1.0, 1.0, 0.0]])
    valid = torch.ones(1, 3, dtype=torch.bool)
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(attention_alignment(rows, regions, valid)) == pytest.approx(expected, abs=1e-6)


def test_attention_alignment_is_zero_where_attention_is_the_region():
    rows, regions = torch.tensor([[[0.02, 0.06, 0.0]]]), torch.tensor([[0.25, 0.75, 0.0]])
    assert float(attention_alignment(rows, regions, torch.ones(1, 3))) == pytest.approx(0, abs=1e-6)


def test_attention_alignment_averages_layers_and_leaves_padding_out():
    rows = torch.tensor([[[0.25, 0.75, 9.0], [0.5, 0.5, 9.0]]])
    regions = torch.tensor([[2.0, 0.0, 5.0]])
    valid = torch.tensor([[True, True, False]])
    expected = (math.log(4) + math.log(2)) / 2
    assert float(attention_alignment(rows, regions, valid)) == pytest.approx(expected, rel=1e-5)


def test_samples_without_a_region_count_for_nothing():
    rows = torch.tensor([[[0.25, 0.75]], [[0.9, 0.1]]], requires_grad=True)
    regions = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    loss = attention_alignment(rows, regions, torch.ones(2, 2, dtype=torch.bool))
    assert float(loss.detach()) == pytest.approx(math.log(4), rel=1e-5)
    loss.backward()
    assert rows.grad[0].abs().sum() > 0 and rows.grad[1].abs().sum() == 0


def test_no_region_at_all_is_zero_with_zero_gradient():
    rows = torch.rand(2, 3, 4, requires_grad=True)
    loss = attention_alignment(rows, torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0 and torch.equal(rows.grad, torch.zeros(2, 3, 4))


def test_a_region_on_padding_alone_is_no_region():
    valid = torch.tensor([[True, False]])
    assert float(attention_alignment(torch.tensor([[[0.5, 0.5]]]), torch.tensor([[0.0, 1.0]]), valid)) == 0


def test_attention_that_misses_its_region_entirely_stays_finite():
    rows = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    loss = attention_alignment(rows, torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-math.log(1e-9), rel=1e-4)
    assert torch.isfinite(rows.grad).all()


# --- subjects --------------------------------------------------------------------------------------------------------

OWN = torch.arange(2)
NONE_TRUE = torch.zeros(2, 2, dtype=torch.bool)


def truth(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def test_subject_contrast_of_two_texts_and_their_things():
    assert float(subject_contrast(AXES[:2], AXES[:2], OWN, NONE_TRUE, 1.0)) == pytest.approx(
        math.log(1 + 1 / E)
    )
    assert float(subject_contrast(AXES[:2], AXES[:2], OWN, torch.eye(2).bool(), 0.5)) == pytest.approx(
        math.log(1 + E**-2)
    )


def test_a_text_finds_its_thing_wherever_that_stands():
    own = torch.tensor([2, 0])
    # rows: each is right with 1 among three things; columns: those of the own things alone, two texts each
    rows, columns = math.log(1 + 2 / E), math.log(1 + 1 / E)
    loss = subject_contrast(AXES[[1, 0]], AXES, own, torch.zeros(2, 3, dtype=torch.bool), 1.0)
    things = AXES[[1, 0, 2]]
    swapped = subject_contrast(AXES[[2, 1]], things, own, torch.zeros(2, 3, dtype=torch.bool), 1.0)
    assert float(swapped) == pytest.approx((rows + columns) / 2)
    assert float(loss) > float(swapped), "the first pair of texts does not lie at its own things"


def test_a_thing_that_no_text_speaks_of_is_wrong_for_every_text_and_asks_none_itself():
    things = torch.stack([AXES[0], AXES[1], AXES[0]])
    # rows: [1, 0, 1] at 0 and [0, 1, 0] at 1; columns as without the third
    rows = (math.log(2 * E + 1) - 1 + math.log(E + 2) - 1) / 2
    loss = subject_contrast(AXES[:2], things, OWN, torch.zeros(2, 3, dtype=torch.bool), 1.0)
    assert float(loss) == pytest.approx((rows + math.log(1 + 1 / E)) / 2)


def test_a_text_does_not_repel_other_things_that_it_is_true_of():
    texts = torch.stack([AXES[0], AXES[1]])
    things = torch.stack([AXES[0], AXES[0]])
    # text 0 is true of both things, text 1 of its own alone: logits [[1, 1], [0, 0]]
    true = truth([1, 1], [0, 1])
    # forth: row 0 keeps its own alone (0), row 1 both (log 2). back: thing 0 hears both texts, log(1 + 1/e);
    # thing 1 hears its own text 1 alone, since text 0 is true of it
    expected = ((0 + math.log(2)) / 2 + (math.log(1 + 1 / E) + 0) / 2) / 2
    assert float(subject_contrast(texts, things, OWN, true, 1.0)) == pytest.approx(expected)
    # the other way round, with text 1 true of both: row 1 and thing 0 are spared
    expected = ((math.log(2) + 0) / 2 + (0 + math.log(1 + E)) / 2) / 2
    assert float(subject_contrast(texts, things, OWN, truth([1, 0], [1, 1]), 1.0)) == pytest.approx(expected)


def test_texts_of_one_thing_do_not_repel_each_other():
    texts = torch.stack([AXES[0], AXES[1], AXES[1]])
    own = torch.tensor([0, 0, 1])
    true = truth([1, 0], [1, 0], [0, 1])
    # forth: [1, 0] at 0, [0, 1] at 0, [0, 1] at 1. back: thing 0 against text 2 (1, then 0, with 0 beside), thing 1
    # against texts 0 and 1 (1 with 0 and 1 beside)
    forth = (math.log(1 + 1 / E) + math.log(1 + E) + math.log(1 + 1 / E)) / 3
    back = (math.log(1 + 1 / E) + math.log(2) + math.log(2 + 1 / E)) / 3
    assert float(subject_contrast(texts, AXES[:2], own, true, 1.0)) == pytest.approx((forth + back) / 2)


def test_all_true_leaves_nothing_to_tell_apart():
    texts = torch.stack([AXES[0], AXES[0]])
    assert float(subject_contrast(texts, texts, OWN, torch.ones(2, 2, dtype=torch.bool), 1.0)) == 0
    assert float(subject_contrast(texts, texts, OWN, torch.eye(2).bool(), 1.0)) == pytest.approx(math.log(2))


def test_masks_are_not_written_to_and_the_gradient_is_finite():
    texts, things = torch.randn(3, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    true = truth([1, 0], [1, 1], [1, 1])
    kept = true.clone()
    subject_contrast(texts, things, torch.tensor([0, 0, 1]), true, 0.1).backward()
    assert torch.equal(true, kept)
    assert texts.grad.isfinite().all() and things.grad.isfinite().all()


def test_no_subjects_are_zero_with_zero_gradient():
    texts, things, none = leaf(0, 3), leaf(2, 3), torch.zeros(0, dtype=torch.long)
    nothing = torch.zeros(0, 2, dtype=torch.bool)
    loss = subject_contrast(texts, things, none, nothing, 1.0) + misalignment(
        texts, things, none, nothing, 0.2
    )
    loss.backward()
    assert float(loss.detach()) == 0 and texts.grad.shape == (0, 3)
    assert torch.equal(things.grad, torch.zeros(2, 3))


def test_binding_wants_what_is_named_near_and_all_else_orthogonal():
    phrases = torch.stack([AXES[0], AXES[0] * 0.6 + AXES[1] * 0.8, AXES[2]])
    own, true = torch.tensor([0, 2]), torch.eye(3).bool()[[0, 2]]
    # thing 0 is its phrase and .6 like the second; thing 1 is .8 like its phrase and −.6 like the first, −.36 like the second
    things = torch.stack([AXES[0], -0.6 * AXES[0] + 0.8 * AXES[2]])
    wrong = (0.6 + 0.0 + 0.6 + 0.36) / 4  # of two a thing
    assert float(binding(phrases, things, own, true, hardest=2)) == pytest.approx((0.2**2) / 2 + 2 * wrong)
    hardest = (0.6 + 0.6) / 2
    assert float(binding(phrases, things, own, true, hardest=1)) == pytest.approx((0.2**2) / 2 + 2 * hardest)


def test_binding_leaves_other_true_phrases_alone():
    phrases, things = torch.stack([AXES[0], AXES[0]]), AXES[:1]
    assert float(binding(phrases, things, torch.tensor([0]), truth([1, 1]))) == 0
    assert float(binding(phrases, things, torch.tensor([0]), truth([1, 0]))) > 0


def test_binding_of_nothing_is_nothing():
    phrases, things = leaf(2, 3), leaf(0, 3)
    loss = binding(phrases, things, torch.zeros(0, dtype=torch.long), torch.zeros(0, 2, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0 and torch.equal(phrases.grad, torch.zeros(2, 3))


def test_misalignment_of_two_subjects_of_one_image():
    texts = torch.stack([AXES[0], AXES[1]])
    things = torch.stack([AXES[0] * 0.6 + AXES[1] * 0.8, AXES[1]])
    rivals = ~torch.eye(2).bool()
    # cosines [[.6, 0], [.8, 1]]: row 0 relu(.5 + 0 - .6) = 0, row 1 relu(.5 + .8 - 1) = .3
    assert float(misalignment(texts, things, OWN, rivals, 0.5)) == pytest.approx(0.15)
    assert float(misalignment(texts, things, OWN, rivals, 0.0)) == 0


def test_misalignment_looks_at_the_listed_rivals_only():
    texts, things = AXES[:2], AXES[[1, 0]]  # each text prefers the other's thing by 1
    assert float(misalignment(texts, things, OWN, truth([0, 1], [1, 0]), 0.2)) == pytest.approx(1.2)
    assert float(misalignment(texts, things, OWN, truth([0, 1], [0, 0]), 0.2)) == pytest.approx(1.2)
    assert float(misalignment(texts, things, OWN, NONE_TRUE, 0.2)) == 0


def test_misalignment_is_a_mean_over_pairs_not_texts():
    things = torch.stack([AXES[0], AXES[1], AXES[0] * 0.6 + AXES[1] * 0.8])
    rivals = truth([0, 1, 1], [0, 0, 1])
    # text 0: relu(1 + 0 - 1) = 0 and relu(1 + .6 - 1) = .6; text 1: relu(1 + .8 - 1) = .8
    assert float(misalignment(AXES[:2], things, OWN, rivals, 1.0)) == pytest.approx((0 + 0.6 + 0.8) / 3)


def test_a_rival_may_be_the_thing_of_no_text():
    things = torch.stack([AXES[2], AXES[0]])
    # text 0 belongs to thing 1, which it equals; thing 0 is at a right angle
    own, rivals = torch.tensor([1]), truth([1, 0])
    assert float(misalignment(AXES[:1], things, own, rivals, 1.25)) == pytest.approx(0.25)


def test_without_rivals_there_is_no_gradient():
    texts, things = leaf(2, 3), leaf(2, 3)
    loss = misalignment(texts, things, OWN, NONE_TRUE, 0.2)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(texts.grad, torch.zeros(2, 3)) and torch.equal(things.grad, torch.zeros(2, 3))


# --- salience head ---------------------------------------------------------------------------------------------------


def test_salience_bce_by_hand_without_padding():
    logits = torch.tensor([[0.0, math.log(3), 50.0]])  # probabilities 1/2, 3/4
    target = torch.tensor([[1.0, 0.25, 0.0]])
    valid = torch.tensor([[True, True, False]])
    expected = (math.log(2) - (0.25 * math.log(0.75) + 0.75 * math.log(0.25))) / 2
    assert float(salience_bce(logits, target, valid)) == pytest.approx(expected)


def test_salience_bce_is_a_mean_over_tokens_not_images():
    logits, target = torch.zeros(2, 2), torch.zeros(2, 2)
    logits[1, 0] = 100.0  # one token of three is wrong by 100
    valid = torch.tensor([[True, True], [True, False]])
    assert float(salience_bce(logits, target, valid)) == pytest.approx((2 * math.log(2) + 100) / 3)


def test_salience_bce_without_tokens_is_zero_with_zero_gradient():
    logits = leaf(1, 2)
    loss = salience_bce(logits, torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0 and torch.equal(logits.grad, torch.zeros(1, 2))


def test_salience_bce_takes_sixteen_bits():
    logits = torch.zeros(1, 2, dtype=torch.bfloat16)
    loss = salience_bce(logits, torch.zeros(1, 2, dtype=torch.float16), torch.ones(1, 2, dtype=torch.bool))
    assert loss.dtype == torch.float32 and float(loss) == pytest.approx(math.log(2))
