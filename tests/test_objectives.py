"""Every objective against values worked out by hand, and its silence where a batch gives it nothing to say."""

from __future__ import annotations

import math

import pytest
import torch

from ssa_me.objectives import attention_alignment, info_nce, misalignment, salience_bce, subject_contrast

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


def test_the_mask_leaves_hard_negatives_and_its_own_diagonal_alone():
    targets = torch.stack([AXES[0], AXES[0], AXES[0]])
    every = torch.ones(2, 2, dtype=torch.bool)
    queries = torch.stack([AXES[0], AXES[0]])
    # the two mean the same: each query is left with its target and the hard negative, each target with its query
    assert float(info_nce(queries, targets, 1.0, every)) == pytest.approx(math.log(2) / 2)


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


def test_subject_contrast_is_info_nce_over_all_subjects():
    assert float(subject_contrast(AXES[:2], AXES[:2], 1.0)) == pytest.approx(math.log(1 + 1 / E))


def test_subjects_of_one_phrase_do_not_repel_each_other():
    phrases = torch.stack([AXES[0], AXES[0]])
    same = torch.ones(2, 2, dtype=torch.bool)
    assert float(subject_contrast(phrases, phrases, 1.0, same)) == 0
    assert float(subject_contrast(phrases, phrases, 1.0)) == pytest.approx(math.log(2))


def test_no_subjects_are_zero_with_zero_gradient():
    phrases, subjects = leaf(0, 3), leaf(0, 3)
    same = torch.zeros(0, 0, dtype=torch.bool)
    loss = subject_contrast(phrases, subjects, 1.0, same) + misalignment(
        phrases, subjects, torch.zeros(0, dtype=torch.long), 0.2, same
    )
    loss.backward()
    assert float(loss.detach()) == 0 and phrases.grad.shape == (0, 3)


def test_misalignment_of_two_subjects_of_one_image():
    phrases = torch.stack([AXES[0], AXES[1]])
    subjects = torch.stack([AXES[0] * 0.6 + AXES[1] * 0.8, AXES[1]])
    image = torch.tensor([0, 0])
    # cosines [[.6, 0], [.8, 1]]: row 0 relu(.5 + 0 - .6) = 0, row 1 relu(.5 + .8 - 1) = .3
    assert float(misalignment(phrases, subjects, image, 0.5)) == pytest.approx(0.15)
    assert float(misalignment(phrases, subjects, image, 0.0)) == 0


def test_misalignment_looks_at_rivals_of_the_same_image_only():
    phrases, subjects = AXES[:2], AXES[[1, 0]]  # each phrase prefers the other's region by 1
    assert float(misalignment(phrases, subjects, torch.tensor([0, 0]), 0.2)) == pytest.approx(1.2)
    assert float(misalignment(phrases, subjects, torch.tensor([0, 1]), 0.2)) == 0


def test_misalignment_spares_subjects_of_the_same_phrase():
    phrases = torch.stack([AXES[0], AXES[0], AXES[1]])
    subjects = torch.stack([AXES[0], AXES[0], AXES[1]])
    image = torch.zeros(3, dtype=torch.long)
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    # margin 1.5: the four pairs across phrases miss it by .5 each; the two equal ones would by 1.5
    assert float(misalignment(phrases, subjects, image, 1.5, same)) == pytest.approx(0.5)
    assert float(misalignment(phrases, subjects, image, 1.5)) == pytest.approx((4 * 0.5 + 2 * 1.5) / 6)


def test_one_subject_an_image_has_no_rival_and_no_gradient():
    phrases, subjects = leaf(2, 3), leaf(2, 3)
    loss = misalignment(phrases, subjects, torch.tensor([0, 1]), 0.2)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(phrases.grad, torch.zeros(2, 3)) and torch.equal(subjects.grad, torch.zeros(2, 3))


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
