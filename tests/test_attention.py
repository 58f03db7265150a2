"""The last token's row, the key bias and packed images, on numbers that can be worked out by hand or written out."""

from __future__ import annotations

from math import log

import pytest
import torch

from ssa_me.attention import AttentionProbe, last_row, last_rows, packed_sdpa, sdpa_with_probe

KEYS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])


def two_heads() -> tuple[torch.Tensor, torch.Tensor]:
    """Query (1, 2, 3, 2) and key (1, 1, 3, 2): at every position head 0 has logits (ln 2, 0, 0), head 1 (0, ln 3, 0)."""
    query = torch.tensor([[log(2.0), 0.0], [0.0, log(3.0)]])[None, :, None].expand(1, 2, 3, 2)
    return query, KEYS[None, None]


def test_row_by_hand():
    query, key = two_heads()
    row = last_row(query, key, torch.tensor([2]), scale=1.0)
    # head 0: (2, 1, 1) / 4, head 1: (1, 3, 1) / 5, and their mean
    torch.testing.assert_close(row, torch.tensor([[0.35, 0.425, 0.225]]))


def test_scale_multiplies_the_logits():
    query, key = two_heads()
    row = last_row(query, key, torch.tensor([2]), scale=2.0)
    torch.testing.assert_close(
        row, torch.tensor([[(4 / 6 + 1 / 11) / 2, (1 / 6 + 9 / 11) / 2, (1 / 6 + 1 / 11) / 2]])
    )


def test_padding_gets_nothing_and_the_last_real_token_asks():
    query, key = two_heads()
    query = query.clone()
    query[:, :, 2] = 100.0  # a padding position whose query must not be read
    row = last_row(query, key, torch.tensor([1]), scale=1.0)
    # head 0: (2, 1) / 3, head 1: (1, 3) / 4
    torch.testing.assert_close(row, torch.tensor([[11 / 24, 13 / 24, 0.0]]))


def test_bias_is_added_before_the_softmax():
    query, key = two_heads()
    row = last_row(query, key, torch.tensor([2]), 1.0, key_bias=torch.tensor([[-log(2.0), 0.0, 0.0]]))
    # head 0: (1, 1, 1) / 3, head 1: (1/2, 3, 1) / 4.5
    torch.testing.assert_close(row, torch.tensor([[2 / 9, 1 / 2, 5 / 18]]))


def test_grouped_queries_share_neighbouring_keys():
    query, key = two_heads()
    query = query.repeat(1, 2, 1, 1)  # four heads: 0 and 1 read the first keys, 2 and 3 the second
    key = torch.cat([key, key.flip(2)], dim=1)
    row = last_row(query, key, torch.tensor([2]), scale=1.0)
    # the second pair reads (0, 0), (0, 1), (1, 0): head 2 (1, 1, 2) / 4, head 3 (1, 3, 1) / 5
    torch.testing.assert_close(row, torch.tensor([[0.2875, 0.425, 0.2875]]))


def test_each_sample_has_its_own_last_token():
    torch.manual_seed(0)
    query, key = torch.randn(3, 4, 6, 8), torch.randn(3, 2, 6, 8)
    last = torch.tensor([5, 0, 3])
    together = last_row(query, key, last, 0.3)
    for b, position in enumerate(last.tolist()):
        alone = last_row(
            query[b : b + 1, :, : position + 1], key[b : b + 1, :, : position + 1], last[b : b + 1], 0.3
        )
        torch.testing.assert_close(together[b : b + 1, : position + 1], alone)
    torch.testing.assert_close(together.sum(1), torch.ones(3))
    assert together[1].tolist() == [1, 0, 0, 0, 0, 0]


def test_gradient_by_hand():
    key = KEYS[None, None].clone().requires_grad_()
    query = torch.tensor([[[[0.0, 0.0], [0.0, 0.0], [log(2.0), 0.0]]]], requires_grad=True)
    last_row(query, key, torch.tensor([2]), scale=1.0)[0, 0].backward()
    # p = (1/2, 1/4, 1/4); dp_0/dq = p_0 (k_0 - sum p k) = (1/4, -1/8); dp_0/dk_j = p_0 ([j = 0] - p_j) q
    torch.testing.assert_close(query.grad[0, 0, 2], torch.tensor([0.25, -0.125]))
    assert query.grad[0, 0, :2].abs().max() == 0
    slope = torch.tensor([0.25, -0.125, -0.125]) * log(2.0)
    torch.testing.assert_close(key.grad[0, 0], torch.stack([slope, torch.zeros(3)], dim=1))


def reference(query, key, value, mask, bias):
    """Attention written out: softmax(q·k·scale + bias under the mask) · v, and its weights (B, H, T, T)."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    logits = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + bias[:, None, None]
    weights = logits.masked_fill(~mask, float("-inf")).softmax(-1)
    return (weights @ value).transpose(1, 2), weights


class Layer(torch.nn.Module):
    layer_idx = 7
    num_key_value_groups = 2
    is_causal = True


@pytest.mark.parametrize("form", ["none", "bool", "float"])
def test_biased_attention_equals_the_formula(form):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    bias = -3 * torch.rand(2, 5)
    causal = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, 1, 5, 5)
    given = {
        "none": None,
        "bool": causal,
        "float": torch.zeros(2, 1, 5, 5).masked_fill(~causal, torch.finfo(torch.float32).min),
    }[form]
    probe = AttentionProbe(last=torch.tensor([4, 4]), key_bias=bias, collect=True)
    output, _ = sdpa_with_probe(Layer().eval(), query, key, value, given, probe=probe)
    expected, weights = reference(query, key, value, causal, bias)
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(probe.rows[7], weights[:, :, 4].mean(1), atol=1e-6, rtol=1e-5)


def test_without_a_probe_nothing_is_changed_or_kept():
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, 5, 8), torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8)
    plain, weights = sdpa_with_probe(Layer().eval(), query, key, value, None)
    idle = AttentionProbe(last=torch.tensor([4]))
    probed, _ = sdpa_with_probe(Layer().eval(), query, key, value, None, probe=idle)
    assert torch.equal(plain, probed)
    assert weights is None and idle.rows == {}
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    torch.testing.assert_close(
        plain, reference(query, key, value, causal, torch.zeros(1, 5))[0], atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("lengths", [[6], [4, 4, 4], [5, 2, 9, 1], [3] * 17, [2, 7] * 9], ids=str)
@pytest.mark.parametrize("trained", [False, True])
def test_packed_images_attend_to_themselves_alone(lengths, trained):
    """As one softmax over all patches with a block-diagonal mask, and so its gradients."""
    torch.manual_seed(0)
    total = sum(lengths)
    inputs = [torch.randn(1, 2, total, 8, requires_grad=trained) for _ in range(3)]
    image = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    starts = torch.tensor([0, *lengths]).cumsum(0).int()
    output, weights = packed_sdpa(Layer(), *inputs, None, scaling=0.3, cu_seq_lens_q=starts, is_causal=False)
    query, key, value = inputs
    logits = (0.3 * query @ key.transpose(2, 3)).masked_fill(image[:, None] != image[None], float("-inf"))
    expected = (logits.softmax(-1) @ value).transpose(1, 2)
    assert weights is None and output.shape == (1, total, 2, 8)
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-5)
    if trained:
        direction = torch.randn_like(expected)
        for mine, other in zip(
            torch.autograd.grad((output * direction).sum(), inputs),
            torch.autograd.grad((expected * direction).sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_heads_stand_in_the_order_of_the_queries_and_their_mean_is_the_row():
    """Two groups of two heads share a key each; a head whose query is 0 looks everywhere alike."""
    query = torch.zeros(1, 4, 3, 2)
    query[0, 1, 2] = torch.tensor([100.0, 0.0])
    query[0, 2, 2] = torch.tensor([100.0, 0.0])
    key = torch.zeros(1, 2, 3, 2)
    key[0, 0, 0, 0] = key[0, 1, 1, 0] = 1.0
    rows = last_rows(query, key, torch.tensor([2]), scale=1.0)
    third = 1 / 3
    wanted = [[third] * 3, [1, 0, 0], [0, 1, 0], [third] * 3]
    torch.testing.assert_close(rows[0], torch.tensor(wanted), atol=1e-5, rtol=0)
    torch.testing.assert_close(last_row(query, key, torch.tensor([2]), 1.0), rows.mean(1))
