"""Semantic relevance from attention rows: where a prompt that names a subject looks more than a generic one.

Pure functions on attention and hidden states; they know no model. B samples, L layers, N image tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SINK_RATIO = 20.0


def sink_tokens(hidden: Tensor, ratio: float = SINK_RATIO) -> Tensor:
    """(B, N) True where a token is an attention sink: its largest |h_d| is `ratio` times its RMS or more, for hidden
    (B, N, D). Sinks draw attention whatever they show (visual attention sinks, arXiv 2503.03321)."""
    magnitude = hidden.float().abs().amax(-1)
    rms = hidden.float().pow(2).mean(-1).sqrt().clamp(min=1e-12)
    return magnitude / rms >= ratio


def layer_mean(rows: Tensor, layers: Sequence[int] | None = None) -> Tensor:
    """(B, N): mean attention over `layers` of rows (B, L, N); None takes the second half of them."""
    chosen = list(layers) if layers is not None else list(range(rows.shape[1] // 2, rows.shape[1]))
    return rows[:, chosen].mean(1)


def normalise_attention(attention: Tensor, valid: Tensor, sinks: Tensor | None = None) -> Tensor:
    """Attention (B, N) as a distribution over real tokens, sinks left out; a row without any mass stays 0."""
    kept = attention * valid
    if sinks is not None:
        kept = kept * ~sinks
    return kept / kept.sum(-1, keepdim=True).clamp(min=1e-12)


def relative_relevance(named: Tensor, generic: Tensor, valid: Tensor) -> Tensor:
    """R = r / (1 + r) in [0, 1], r = A(prompt naming the subject) ÷ A(generic prompt), both distributions (B, N).

    1/2 where naming the subject changes nothing; 0 on padding and where neither looks. After relative attention
    (arXiv 2502.17422).
    """
    total = named + generic
    return torch.where(total > 0, named / total.clamp(min=1e-12), torch.zeros_like(total)) * valid
