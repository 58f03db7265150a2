"""Feature regeneration: image tokens recalibrated by salience. It knows nothing of where salience comes from.

With w = f + (1−f)·S, floor f ∈ (0, 1], of its own where salience was asked for by a phrase and where it was not: a
query-free map says what stands out, and not that nothing else will be asked for.

1. weighted aggregation  v̄_k = Σ_i M_k,i V_i / Σ_i M_k,i
2. noise suppression     V′_i = w_i V_i + (1−w_i)·mean(V), and log w_i as a key bias in every language layer, since
                         the decoder's RMSNorm undoes a mere scaling
3. semantic enhancement  V″ = V′ + g·CrossAttention(V′ → [v̄_1 … v̄_K]), the gate g starting at 0

f = 1 with g = 0 is the identity; g = 0 needs no training. The formulas are this project's reading of the published
abstract of SSA-ME (arXiv 2604.25273). B samples, N tokens, K subjects, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssa_me.outputs import VisualBatch


@dataclass(frozen=True)
class Regenerated:
    """visual: the batch with V″ in place of V. key_bias: (B, N) log w. gain: (B, N) the weights w."""

    visual: VisualBatch
    key_bias: Tensor
    gain: Tensor


def salience_weights(salience: Tensor, floor: float | Tensor) -> Tensor:
    """w = f + (1−f)·S, in [f, 1], of the shape of `salience`, by one floor or by one that spreads over it."""
    return floor + (1 - floor) * salience


def aggregate(tokens: Tensor, regions: Tensor) -> Tensor:
    """Weighted aggregation: (B, K, D) means of tokens (B, N, D) under regions (B, K, N) ≥ 0; empty regions give 0."""
    weights = regions.to(tokens.dtype)
    return weights @ tokens / weights.sum(-1, keepdim=True).clamp(min=1e-6)


def suppress(tokens: Tensor, valid: Tensor, weights: Tensor) -> Tensor:
    """Noise suppression: tokens (B, N, D) drawn to their image's mean where weights (B, N) are below 1."""
    share = valid[..., None].to(tokens.dtype)
    mean = (tokens * share).sum(1, keepdim=True) / share.sum(1, keepdim=True).clamp(min=1)
    w = weights[..., None].to(tokens.dtype)
    return (w * tokens + (1 - w) * mean) * share


class FeatureRegeneration(nn.Module):
    """The three steps with their trained parts. width: D; floor: f under a phrase, free_floor without one; inner: width of the
    cross-attention.

    The gate starts at 0, so that a new module only suppresses; raises ValueError for a floor outside (0, 1].
    """

    def __init__(self, width: int, floor: float = 0.5, inner: int = 64, free_floor: float = 0.5) -> None:
        super().__init__()
        if not (0 < floor <= 1 and 0 < free_floor <= 1):
            raise ValueError(f"floors must lie in (0, 1], not {floor} and {free_floor}")
        self.floor, self.free_floor = floor, free_floor
        self.query_norm = nn.LayerNorm(width)
        self.subject_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(
        self, visual: VisualBatch, salience: Tensor, regions: Tensor, asked: Sequence[bool]
    ) -> Regenerated:
        """Regenerate a batch under salience (B, N) in [0, 1] and subject regions (B, K, N) ≥ 0 (K may be 0); asked: of which
        of the B images a phrase was asked for.

        The same weights serve the features that a family feeds into deeper layers.
        """
        weights = self.weights(salience, asked)
        tokens = self._regenerate(visual.tokens, visual.valid, weights, regions)
        deep = tuple(self._regenerate(layer, visual.valid, weights, regions) for layer in visual.deep)
        key_bias = weights.float().log() * visual.valid
        return Regenerated(visual.with_tokens(tokens, deep), key_bias, weights * visual.valid)

    def weights(self, salience: Tensor, asked: Sequence[bool]) -> Tensor:
        """w (B, N) of salience (B, N), each of the B by its floor."""
        floors = [self.floor if one else self.free_floor for one in asked]
        return salience_weights(salience, salience.new_tensor(floors)[:, None])

    def _regenerate(self, tokens: Tensor, valid: Tensor, weights: Tensor, regions: Tensor) -> Tensor:
        suppressed = suppress(tokens, valid, weights)
        if regions.shape[1] == 0:
            return suppressed
        return (
            suppressed
            + self.gate * self._enhance(suppressed, aggregate(tokens, regions), regions) * valid[..., None]
        )

    def _enhance(self, tokens: Tensor, subjects: Tensor, regions: Tensor) -> Tensor:
        normed = self.subject_norm(subjects)
        query, key, value = self.query(self.query_norm(tokens)), self.key(normed), self.value(normed)
        present = regions.sum(-1) > 0
        logits = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        logits = logits.masked_fill(~present[:, None], torch.finfo(logits.dtype).min)
        attention = logits.softmax(-1) * present.any(-1)[:, None, None]
        return self.out(attention @ value)
