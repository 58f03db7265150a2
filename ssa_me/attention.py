"""Attention under SDPA: with a probe for language layers, in one call for all images of a vision layer.

The probe reads the exact last-token row, with its gradient, and adds a key bias. Both functions are registered with
transformers, the language one for masks too (or the causal mask would be lost). Nothing here knows images or prompts.

B samples, T tokens, H heads of width d, H_kv heads of keys and values, P patches of all images together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "sdpa_with_probe"
VISION_ATTENTION = "packed_sdpa_for_flash"
"""Transformers hands all images at once, with their lengths, to a function with "flash" in its name only; under
any other it loops over images."""


@dataclass
class AttentionProbe:
    """What one language pass asks of its attention, and what it is told. One probe a call, so calls share nothing.

    last: (B,) position of each row's last real token. key_bias: (B, T) added to the logits of every query, or None.
    rows: filled with layer → (B, T), the last token's attention, mean over heads, when `collect` is set; with `heads`
    as well, layer → (B, H, T), each head's own.
    """

    last: Tensor
    key_bias: Tensor | None = None
    collect: bool = False
    heads: bool = False
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
            read = last_rows if probe.heads else last_row
            probe.rows[int(module.layer_idx)] = read(query, key, probe.last, scale, probe.key_bias)
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )


def last_row(
    query: Tensor, key: Tensor, last: Tensor, scale: float, key_bias: Tensor | None = None
) -> Tensor:
    """The attention of each row's last real token over all tokens, mean over heads: (B, T), rows sum to 1.

    The arguments are those of `last_rows`.
    """
    return last_rows(query, key, last, scale, key_bias).mean(1)


def last_rows(
    query: Tensor, key: Tensor, last: Tensor, scale: float, key_bias: Tensor | None = None
) -> Tensor:
    """The same head by head, in the order of the query's heads: (B, H, T), rows sum to 1.

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
    return logits.masked_fill(padding[:, None, None], float("-inf")).softmax(-1).flatten(1, 2)


def _biased_mask(mask: Tensor | None, key_bias: Tensor, query: Tensor) -> Tensor:
    bias = key_bias[:, None, None, :].to(query.dtype)
    if mask is None:  # sdpa_mask leaves a purely causal mask out
        length = query.shape[2]
        mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()[None, None]
    if mask.dtype == torch.bool:
        return bias.masked_fill(~mask, torch.finfo(query.dtype).min)
    return mask + bias


def packed_sdpa(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Each image's (or window's) patches attend to one another: query, key, value (1, H, P, d) → (1, P, H, d).

    cu_seq_lens_q: where each image starts, and P at the end. Images of unequal length are padded to the longest.
    """
    assert cu_seq_lens_q is not None
    lengths = cu_seq_lens_q.diff().tolist()
    mask = None
    if len(set(lengths)) == 1:
        q, k, v = (t[0].unflatten(1, (len(lengths), -1)).transpose(0, 1) for t in (query, key, value))
    else:
        steps = torch.arange(max(lengths), device=query.device)
        mask = steps[None] < torch.tensor(lengths, device=query.device)[:, None]
        place = (cu_seq_lens_q[:-1, None] + steps[None]).clamp(max=query.shape[2] - 1)
        q, k, v = (t[0][:, place].transpose(0, 1) for t in (query, key, value))
    if query.device.type == "cpu" and query.requires_grad:
        attended = _attend_in_chunks(q, k, v, mask, scaling)
    else:
        bias = None if mask is None else mask[:, None, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scaling)
    attended = attended.transpose(1, 2)
    flat = attended.flatten(0, 1) if mask is None else attended[mask]
    return flat[None], None


def _attend_in_chunks(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, chunk: int = 8
) -> Tensor:
    """The same by plain products, a few images at a time: on a CPU the fused kernel's backward pass is far slower,
    and all images at once do not fit its cache. query, key, value (B, H, L, d)."""
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    masks = [None] * len(query) if mask is None else mask[:, None, None].split(chunk)
    parts = []
    for q, k, v, kept in zip(*(t.split(chunk) for t in (query, key, value)), masks, strict=False):
        logits = (q * scale) @ k.transpose(2, 3)
        if kept is not None:
            logits = logits.masked_fill(~kept, torch.finfo(logits.dtype).min)
        parts.append(logits.softmax(-1).to(v.dtype) @ v)
    return torch.cat(parts)


AttentionInterface.register(VISION_ATTENTION, packed_sdpa)
AttentionInterface.register(ATTENTION, sdpa_with_probe)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
