"""Scaled dot-product attention with a probe: an exact last-token row and a key bias, under SDPA, with its gradient.

Registered with transformers under ATTENTION, for attention and mask alike (without the latter the causal mask would be
lost). It knows nothing of images or prompts.

B samples, T tokens, H heads of width d, H_kv heads of keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "sdpa_with_probe"


@dataclass
class AttentionProbe:
    """What one language pass asks of its attention, and what it is told. One probe a call, so calls share nothing.

    last: (B,) position of each row's last real token. key_bias: (B, T) added to the logits of every query, or None.
    rows: filled with layer → (B, T), the last token's attention, mean over heads, when `collect` is set.
    """

    last: Tensor
    key_bias: Tensor | None = None
    collect: bool = False
    rows: dict[int, Tensor] = field(default_factory=dict)


def sdpa_with_probe(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    probe: AttentionProbe | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention with an optional `AttentionProbe`; without one it is transformers' own, unchanged.

    query (B, H, T, d), key and value (B, H_kv, T, d), after rotary embedding.
    """
    if probe is not None:
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        if probe.key_bias is not None:
            attention_mask = _biased_mask(attention_mask, probe.key_bias, query)
        if probe.collect:
            probe.rows[int(module.layer_idx)] = last_row(query, key, probe.last, scale, probe.key_bias)
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )


def last_row(
    query: Tensor, key: Tensor, last: Tensor, scale: float, key_bias: Tensor | None = None
) -> Tensor:
    """The attention of each row's last real token over all tokens, mean over heads: (B, T), rows sum to 1.

    query (B, H, T, d), key (B, H_kv, T, d), last (B,), key_bias (B, T). Positions after `last` are padding and get 0.
    Softmax is taken in float32. Differentiable.
    """
    batch, heads, length, width = query.shape
    groups = key.shape[1]
    picked = query[torch.arange(batch, device=query.device), :, last]
    picked = picked.view(batch, groups, heads // groups, width)
    logits = (picked @ key.transpose(2, 3)).float() * scale
    if key_bias is not None:
        logits = logits + key_bias[:, None, None, :].float()
    padding = torch.arange(length, device=query.device)[None] > last[:, None]
    return logits.masked_fill(padding[:, None, None], float("-inf")).softmax(-1).mean((1, 2))


def _biased_mask(mask: Tensor | None, key_bias: Tensor, query: Tensor) -> Tensor:
    bias = key_bias[:, None, None, :].to(query.dtype)
    if mask is None:  # sdpa_mask leaves a purely causal mask out
        length = query.shape[2]
        mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()[None, None]
    if mask.dtype == torch.bool:
        return bias.masked_fill(~mask, torch.finfo(query.dtype).min)
    return mask + bias


AttentionInterface.register(ATTENTION, sdpa_with_probe)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
