"""Subjects in the output space: a vector a subject, a vector a pair of them, and their share in the one vector of an image
or of a text.

a_k  = normalise(normalise(Σ M_k,i H_i / Σ M_k,i) + seen(Σ M_k,i V_i / Σ M_k,i, mean V))
b_kl = normalise(a_k + a_l + pair(a_k, a_l, where both are)), k being the one further left, or higher
f(x) = normalise(x + bind(x)), the same of subjects and of the phrases p_k that a text names
e    = normalise(e_last + g_s·Σ_k f(a_k)/√K + g_p·Σ_kl b_kl/√P)        of an image
e(t) = normalise(e_last + g_t·Σ_k f(e_last(p_k))/√K)                   of a text
g    = gate · 2σ(trust(e_last)): how far subjects are to be trusted in this image or text

Red and house, blue and dog add up to the same whoever wears which colour; f makes "a red house" a vector of its own, so that
the sum of a text's subjects meets the sum of an image's only where the words belong together. A new module is the mean of
H in each region, the mean of two subjects, and e_last itself: it needs no training. It knows nothing of how regions or
phrases are found. B images or texts, K regions or phrases, P pairs of them, N image tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssa_me.regeneration import aggregate
from ssa_me.salience.subjects import split_phrases

PAIRED = 3
"""So many subjects of an image, its most salient, stand in pairs."""
PLACE = 6


class SubjectComposition(nn.Module):
    """The three small networks, the gates, and the trust that scales them. width: D; hidden: width of the networks."""

    def __init__(self, width: int, hidden: int = 256) -> None:
        super().__init__()
        self.seen = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )
        self.pair = nn.Sequential(nn.Linear(2 * (width + PLACE), hidden), nn.GELU(), nn.Linear(hidden, width))
        self.bind = nn.Sequential(nn.Linear(width, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, width))
        self.trust = nn.utils.skip_init(nn.Linear, width, 3)
        self.gates = nn.Parameter(torch.zeros(3))
        for last in (self.seen[-1], self.pair[-1], self.bind[-1], self.trust):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def start(self, share: float) -> None:
        """Where training starts: subjects of an image and of a text count `share` times their own vectors, pairs half of
        that."""
        with torch.no_grad():
            self.gates.copy_(torch.tensor([share, share / 2, share]))

    def subjects(self, hidden: Tensor, tokens: Tensor, valid: Tensor, regions: Tensor) -> Tensor:
        """a_k (B, K, D) float32 of unit length: hidden states H and image tokens V (B, N, D) under regions (B, K, N).

        valid (B, N): which tokens are real; their mean tells what surrounds a subject.
        """
        read = F.normalize(aggregate(hidden, regions).float(), dim=-1)
        around = aggregate(tokens, valid[:, None].to(regions.dtype)).expand(-1, regions.shape[1], -1)
        seen = self.seen(torch.cat([aggregate(tokens, regions), around], dim=-1))
        return F.normalize(read + seen.float(), dim=-1)

    def pairs(self, first: Tensor, second: Tensor, places: Tensor, others: Tensor) -> Tensor:
        """b_kl (…, D) of unit length of subjects (…, D) and their places (…, 6) in an image."""
        across, down = (places - others)[..., :1], (places - others)[..., 1:2]
        swapped = ((across > 0) | ((across == 0) & (down > 0))).to(first.dtype)
        left, right = first + swapped * (second - first), second + swapped * (first - second)
        where = torch.cat(
            [places + swapped * (others - places), others + swapped * (places - others)], dim=-1
        )
        together = torch.cat([left, right, where.to(first.dtype)], dim=-1)
        return F.normalize(first + second + self.pair(together.to(self.gates.dtype)).to(first.dtype), dim=-1)

    def all_pairs(self, subjects: Tensor, places: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """b_kl (B, P, D) of the first subjects (B, K, D) of each image, and which of them are there (B, P)."""
        rows = list(combinations(range(min(PAIRED, subjects.shape[1])), 2))
        k, m = [a for a, _ in rows], [b for _, b in rows]
        vectors = self.pairs(subjects[:, k], subjects[:, m], places[:, k], places[:, m])
        return vectors, present[:, k] & present[:, m]

    def compose(
        self, vector: Tensor, subjects: Tensor, present: Tensor, pairs: Tensor, paired: Tensor
    ) -> Tensor:
        """e (B, D) of unit length out of e_last (B, D), subjects (B, K, D) and pairs (B, P, D) where they are there."""
        single, double, _ = self.shares(vector)
        return F.normalize(
            vector + single * _share(self.bound(subjects), present) + double * _share(pairs, paired), dim=-1
        )

    def compose_text(self, vector: Tensor, phrases: Tensor, present: Tensor) -> Tensor:
        """e(t) (B, D) of unit length out of e_last (B, D) and the phrases (B, K, D) of each text where they are there."""
        share = self.shares(vector)[2]
        return F.normalize(vector + share * _share(self.bound(phrases), present), dim=-1)

    def shares(self, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How much an image's subjects, its pairs, and a text's phrases count beside its own vector e_last (B, D): three
        of (B, 1) float32. A photograph of much that is not salient may trust them less than a scene of two things."""
        trust = 2 * self.trust(vector.to(self.gates.dtype)).float().sigmoid()
        single, double, phrases = (self.gates.float() * trust).split(1, dim=-1)
        return single, double, phrases

    def bound(self, things: Tensor) -> Tensor:
        """f(x) (…, D) of unit length: its words belong together."""
        return F.normalize(things + self.bind(things.to(self.gates.dtype)).to(things.dtype), dim=-1)


def named_in(texts: Sequence[str]) -> tuple[list[str], Tensor]:
    """What is spoken for some texts: these, then the subject phrases that are none of them, each once; and the places
    (T, K) there of each text's phrases, −1 where it has fewer than the most."""
    phrases = [split_phrases(text) for text in texts]
    spoken, place = [*texts], {text: row for row, text in reversed([*enumerate(texts)])}
    for phrase in (phrase for named in phrases for phrase in named):
        if phrase not in place:
            place[phrase] = len(spoken)
            spoken.append(phrase)
    rows = torch.full((len(texts), max(map(len, phrases), default=0)), -1)
    for row, named in enumerate(phrases):
        rows[row, : len(named)] = torch.tensor([place[phrase] for phrase in named], dtype=torch.long)
    return spoken, rows


def places(regions: Tensor, boxes: Tensor, sizes: Tensor) -> Tensor:
    """(B, K, 6) where each region lies, as shares of the image: its centre x, y and its box x0, y0, x1, y1.

    regions (B, K, N) ≥ 0; boxes (B, N, 4) of tokens in pixels; sizes (B, 2) width, height. A token counts for the box
    from half of the region's greatest weight on. An empty region is all zeros.
    """
    scaled = boxes / torch.cat([sizes, sizes], dim=-1)[:, None]
    centres = (scaled[..., :2] + scaled[..., 2:]) / 2
    mass = regions.sum(-1, keepdim=True).clamp(min=1e-6)
    centre = regions @ centres / mass
    inside = regions >= regions.amax(-1, keepdim=True).clamp(min=1e-6) / 2
    low = scaled[:, None, :, :2].masked_fill(~inside[..., None], 2.0).amin(2)
    high = scaled[:, None, :, 2:].masked_fill(~inside[..., None], -1.0).amax(2)
    found = torch.cat([centre, low, high], dim=-1)
    return found * inside.any(-1, keepdim=True)


def _share(vectors: Tensor, present: Tensor) -> Tensor:
    """Σ of the vectors (B, K, D) that are present (B, K), by the root of their number."""
    kept = present[..., None].to(vectors.dtype)
    return (vectors * kept).sum(1) / kept.sum(1).clamp(min=1).sqrt()
