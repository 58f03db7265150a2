"""Semantic relevance by hand: sinks, layers, distributions, and the ratio of two attentions."""

from __future__ import annotations

import pytest
import torch

from ssa_me.salience.relevance import layer_mean, normalise_attention, relative_relevance, sink_tokens


def test_a_sink_is_a_token_with_one_massive_dimension():
    width = 1024
    hidden = torch.ones(1, 4, width)
    hidden[0, 1, 7] = -1000.0  # rms √((1e6 + 1023) / 1024) = 31.3, largest ÷ rms = 31.98
    hidden[0, 2] *= 500.0  # large all over is no sink
    hidden[0, 3] = 0.0  # padding neither
    assert sink_tokens(hidden).tolist() == [[False, True, False, False]]
    assert not sink_tokens(hidden, ratio=32.0).any()
    assert sink_tokens(hidden, ratio=31.9).tolist() == [[False, True, False, False]]


def test_the_ratio_itself_makes_a_sink():
    one_hot = torch.zeros(1, 1, 16)
    one_hot[0, 0, 3] = 5.0  # rms 5/4: the ratio is exactly 4
    assert sink_tokens(one_hot, ratio=4.0).item() is True
    assert sink_tokens(one_hot, ratio=4.01).item() is False


def test_sixteen_bits_do_not_overflow():
    hidden = torch.full((1, 1, 4), 1000.0, dtype=torch.float16)  # squared it leaves float16
    assert sink_tokens(hidden, ratio=1.5).item() is False


def test_layers_are_averaged_the_second_half_by_default():
    rows = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [4.0, 2.0], [8.0, 6.0]]])
    assert layer_mean(rows).tolist() == [[6.0, 4.0]]
    assert layer_mean(rows, [0, 3]).tolist() == [[4.5, 3.0]]
    assert layer_mean(rows[:, :3]).tolist() == [[3.0, 1.0]]
    assert layer_mean(rows[:, :1]).tolist() == [[1.0, 0.0]]


def test_attention_becomes_a_distribution_without_padding_and_sinks():
    attention = torch.tensor([[0.1, 0.3, 0.5, 0.1]])
    valid = torch.tensor([[True, True, True, False]])
    torch.testing.assert_close(
        normalise_attention(attention, valid), torch.tensor([[1 / 9, 3 / 9, 5 / 9, 0.0]])
    )
    sinks = torch.tensor([[False, False, True, False]])
    torch.testing.assert_close(
        normalise_attention(attention, valid, sinks), torch.tensor([[0.25, 0.75, 0.0, 0.0]])
    )
    assert normalise_attention(attention, valid, torch.ones_like(valid)).tolist() == [[0.0] * 4]


def test_relevance_is_the_ratio_bent_into_the_unit_interval():
    named = torch.tensor([[0.6, 0.2, 0.1, 0.0, 0.0]])
    generic = torch.tensor([[0.2, 0.2, 0.3, 0.0, 0.3]])
    valid = torch.ones(1, 5, dtype=torch.bool)
    # r = 3, 1, 1/3, nothing ÷ nothing, 0: r / (1 + r)
    torch.testing.assert_close(
        relative_relevance(named, generic, valid), torch.tensor([[0.75, 0.5, 0.25, 0.0, 0.0]])
    )


def test_relevance_is_one_where_only_the_named_prompt_looks_and_zero_on_padding():
    named, generic = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 0.5]])
    assert relative_relevance(named, generic, torch.tensor([[True, False]])).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_relevance_of_equal_rows_is_one_half(scale):
    rows = torch.tensor([[0.1, 0.9]]) * scale
    torch.testing.assert_close(relative_relevance(rows, rows, torch.ones(1, 2)), torch.full((1, 2), 0.5))
