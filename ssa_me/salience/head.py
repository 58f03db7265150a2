"""The salience head: a small network from image tokens, and optionally a phrase, to salience in [0, 1].

It is distilled from the fused salience of LMM and visual expert and replaces both at inference. It knows nothing of
how its targets are made, of images or of language models.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WAVES = (1, 2)
_PLACE = 2 + 4 * len(_WAVES)


class SalienceHead(nn.Module):
    """Salience of each image token, for a phrase or query-free.

    width: D of the image tokens and of the phrase embedding. hidden: the head's own width.
    The tokens' mean gives the context that makes a token stand out; where a token lies counts too: photographers put
    subjects in the middle, and shoes are below a shirt. The phrase modulates the features (FiLM, Perez et
    al. 2018) and meets them in a dot product; without a phrase a learned vector stands in its place.
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.token = nn.Linear(width, hidden)
        self.context = nn.Linear(width, hidden)
        self.place = nn.Linear(_PLACE, hidden)
        self.phrase = nn.Linear(width, hidden)
        self.no_phrase = nn.Parameter(torch.zeros(hidden))
        self.film = nn.Linear(hidden, 2 * hidden)
        self.mix = nn.Linear(hidden + 1, hidden)
        self.out = nn.Linear(hidden, 1)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, tokens: Tensor, valid: Tensor, centres: Tensor, phrase: Tensor | None = None) -> Tensor:
        """Logits (B, N) for tokens (B, N, D), valid (B, N), centres (B, N, 2) of the tokens' boxes as shares of the image,
        and phrase embeddings (B, D) of unit length, or None.

        Logits of padding are meaningless; mask them. `salience` gives the probabilities.
        """
        normed = self.norm(tokens)
        share = valid[..., None].to(normed.dtype)
        mean = (normed * share).sum(1) / share.sum(1).clamp(min=1)
        where = self.place(_waves(centres).to(normed.dtype))
        features = self.token(normed) + self.context(mean)[:, None] + where
        if phrase is None:
            named = self.no_phrase.expand(len(tokens), -1)
        else:
            named = self.phrase(phrase * phrase.shape[-1] ** 0.5)
        scale, shift = self.film(named)[:, None].chunk(2, dim=-1)
        match = (features * named[:, None]).sum(-1, keepdim=True) / features.shape[-1] ** 0.5
        modulated = F.gelu(features * (1 + scale) + shift)
        return self.out(F.gelu(self.mix(torch.cat([modulated, match], dim=-1)))).squeeze(-1)

    def salience(
        self, tokens: Tensor, valid: Tensor, centres: Tensor, phrase: Tensor | None = None
    ) -> Tensor:
        """Salience (B, N) in [0, 1], 0 on padding."""
        return self(tokens, valid, centres, phrase).sigmoid() * valid


def _waves(centres: Tensor) -> Tensor:
    """(…, 10) of centres (…, 2): themselves, and sines and cosines of half and of whole turns over the image."""
    turns = [wave(math.pi * count * centres) for count in _WAVES for wave in (torch.sin, torch.cos)]
    return torch.cat([centres, *turns], dim=-1)
