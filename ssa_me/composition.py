"""Subjects in the output space, and what is composed of them into the one vector of an image or of a text.

a_k  = normalise(normalise(Σ M_k,i H_i / Σ M_k,i) + seen(Σ M_k,i V_i / Σ M_k,i, mean V))     what a region shows
s_k  = normalise(a_k + bind_s(√D·a_k)), t_p = normalise(e_last(p) + bind_t(√D·e_last(p)))    its code, a phrase's code
ρ_kl = Σ_r w_r(k, l)·role_r(s_k, s_l), role_r(x, y) = (σ_r1 ⊙ x + σ_r2 ⊙ y)/√2              who stands how to whom
e    = normalise(e_last + g_s·(Σ_k s_k/√K + r_s·Σ_kl ρ_kl + u_s·s_0))                        of an image
e(t) = normalise(e_last + g_t·(Σ_p t_p/√P + r_t·role_r(t_1, t_2) + u_t·t_0))                 of a text
e(q) = normalise(e_last + g_t·(t_q + s_q)/√2), t_q the code of e_last itself                of an image read with a text
g    = gate · 2·clamp(½ + trust(√D·e_last)/6, 0, 1): how far subjects are to be trusted in this image or text

s_0 is the code of the ground, all that no subject covers, t_0 of the phrase that names the setting, and s_q of the subject that
the text asks for, where it asks for one. A sum of codes tells
whose words belong together only where "a red house" is no sum of red and house: L_bind makes codes of different things
orthogonal, as the spectral contrastive loss does (HaoChen et al. 2021). A role binds two codes by an elementwise product
after signs and a shift, as vector-symbolic architectures do (Plate 1995; Gayler 2003): it is near only where both
subjects, their order and the relation are the same. w_r are relations read from where two regions lie. Trust is cut off, so
that where subjects say nothing, as in images unlike those that codes were learned from, none are composed.

A new module is the mean of H in each region and e_last itself: it needs no training. It knows nothing of how regions or
phrases are found. B images or texts, K regions or phrases, N image tokens, D width, W relations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssa_me.regeneration import aggregate
from ssa_me.salience.relations import WAYS, relation_of
from ssa_me.salience.subjects import setting_of, split_phrases

RELATED = 4
"""So many subjects of an image, its most salient, stand in relations."""
PLACE = 6
_SIGNS = 7  # the seed of σ
_HIDDEN = 32


@dataclass(frozen=True)
class Seen:
    """The subjects of B images: codes (B, K, D), which are there (B, K), where they lie (B, K, 6), and the code of the
    ground (B, D)."""

    subjects: Tensor
    present: Tensor
    places: Tensor
    ground: Tensor

    def coded(self, composition: SubjectComposition) -> Seen:
        """Codes s of what was seen as a."""
        subjects, ground = (composition.subject_codes(things) for things in (self.subjects, self.ground))
        return replace(self, subjects=subjects, ground=ground)


@dataclass(frozen=True)
class Said:
    """What B texts name: the codes of phrases (B, K, D), which are there (B, K), of the setting (B, D), and their relation
    bound (B, D); zeros where a text names none."""

    phrases: Tensor
    present: Tensor
    setting: Tensor
    relation: Tensor

    def statements(self) -> list[Tensor]:
        """B arrays (S_b, D) of unit length: what each text states, one by one; an image is to have something that is near
        each of them. A relation is stated twice, since it speaks of two."""
        others = (self.setting, self.relation, self.relation)
        rows = torch.cat([self.phrases, *(x[:, None] for x in others)], dim=1)
        there = torch.cat([self.present, *((x.abs().sum(-1) > 0)[:, None] for x in others)], dim=1)
        return [F.normalize(own[kept], dim=-1) for own, kept in zip(rows, there, strict=True)]


class SubjectComposition(nn.Module):
    """The small networks, the gates, and the trust that scales them. width: D; hidden: width of the networks.

    gates: g of images and of texts. shares: r and u of images, then of texts.
    """

    signs: Tensor

    def __init__(self, width: int, hidden: int = 256) -> None:
        super().__init__()
        self.seen = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )
        self.bind_subject, self.bind_phrase = (
            nn.Sequential(nn.Linear(width, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, width))
            for _ in range(2)
        )
        self.relate = nn.Sequential(nn.Linear(2 * PLACE, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, len(WAYS)))
        self.trust = nn.utils.skip_init(nn.Linear, width, 2)
        self.gates = nn.Parameter(torch.zeros(2))
        self.shares = nn.Parameter(torch.zeros(2, 2))
        for last in (self.seen[-1], self.bind_subject[-1], self.bind_phrase[-1], self.relate[-1], self.trust):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        drawn = torch.rand(len(WAYS), 2, width, generator=torch.Generator().manual_seed(_SIGNS))
        self.register_buffer("signs", (drawn < 0.5).float() * 2 - 1, persistent=False)

    def start(self, share: float) -> None:
        """Where training starts: subjects count `share` times the image's or text's own vector, relations and the ground
        half as much as subjects."""
        with torch.no_grad():
            self.gates.fill_(share)
            self.shares.fill_(0.5)

    def regions(self, hidden: Tensor, tokens: Tensor, valid: Tensor, regions: Tensor) -> Tensor:
        """a_k (B, K, D) float32 of unit length: hidden states H and image tokens V (B, N, D) under regions (B, K, N).

        valid (B, N): which tokens are real; their mean tells what surrounds a subject.
        """
        read = F.normalize(aggregate(hidden, regions).float(), dim=-1)
        around = aggregate(tokens, valid[:, None].to(regions.dtype)).expand(-1, regions.shape[1], -1)
        seen = self.seen(torch.cat([aggregate(tokens, regions), around], dim=-1))
        return F.normalize(read + seen.float(), dim=-1)

    def subject_codes(self, regions: Tensor) -> Tensor:
        """s (…, D) of a (…, D), both of unit length."""
        return _bound(self.bind_subject, regions)

    def phrase_codes(self, phrases: Tensor) -> Tensor:
        """t (…, D) of phrases (…, D) as they are read alone, both of unit length."""
        return _bound(self.bind_phrase, phrases)

    def relations(self, places: Tensor, others: Tensor) -> Tensor:
        """Logits (…, W) of the relations in which what lies at `places` (…, 6) stands to what lies at `others`."""
        together = torch.cat([places, others], dim=-1).to(self.gates.dtype)
        logits: Tensor = self.relate(together)
        return logits.float()

    def role(self, first: Tensor, second: Tensor, ways: Tensor) -> Tensor:
        """Σ_r w_r·role_r (…, D) of codes (…, D) in relations of weights `ways` (…, W)."""
        firsts, seconds = (ways.to(first.dtype) @ signs.to(first.dtype) for signs in self.signs.unbind(1))
        return (firsts * first + seconds * second) / 2**0.5

    def related(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """ρ_kl (B, R, D) of all ordered pairs of the first subjects of each image, and which are there (B, R)."""
        rows = list(permutations(range(min(RELATED, seen.subjects.shape[1])), 2))
        k, m = [a for a, _ in rows], [b for _, b in rows]
        ways = self.relations(seen.places[:, k], seen.places[:, m]).sigmoid()
        return self.role(seen.subjects[:, k], seen.subjects[:, m], ways), seen.present[:, k] & seen.present[
            :, m
        ]

    def compose(self, vector: Tensor, seen: Seen) -> Tensor:
        """e (B, D) of unit length out of e_last (B, D) and what is seen."""
        related, there = self.related(seen)
        bound = (related * there[..., None]).sum(1)
        return self._joined(0, vector, _share(seen.subjects, seen.present), bound, seen.ground)

    def compose_text(self, vector: Tensor, said: Said) -> Tensor:
        """e(t) (B, D) of unit length out of e_last (B, D) and what is said."""
        return self._joined(1, vector, _share(said.phrases, said.present), said.relation, said.setting)

    def compose_answer(self, vector: Tensor, asked: Tensor, there: Tensor) -> Tensor:
        """e (B, D) of unit length of images that are read with a text, out of e_last (B, D): as of a text whose phrases are
        the answer and the subject asked for, its code `asked` (B, D) where it is `there` (B,)."""
        none = torch.zeros_like(vector)
        named = torch.stack([self.phrase_codes(vector), asked], dim=1)
        answered = torch.stack([torch.ones_like(there), there], dim=1)
        return self._joined(1, vector, _share(named, answered), none, none)

    def _joined(self, side: int, vector: Tensor, things: Tensor, relation: Tensor, setting: Tensor) -> Tensor:
        trust = self.trust(vector.shape[-1] ** 0.5 * vector.to(self.gates.dtype)).float()
        gate = self.gates[side].float() * 2 * F.hardsigmoid(trust[:, side])
        related, placed = self.shares[side].float()
        return F.normalize(vector + gate[:, None] * (things + related * relation + placed * setting), dim=-1)


@dataclass(frozen=True)
class Spoken:
    """What is read for T texts: `readings` are the texts, then what they name that is none of them, each once. Places there,
    −1 for none: phrases (T, K), setting (T,), and of a relation its subjects (T, 2) and its number among WAYS (T,)."""

    readings: tuple[str, ...]
    phrases: Tensor
    setting: Tensor
    related: Tensor
    way: Tensor

    @property
    def count(self) -> Tensor:
        """(T,) how many things each text states: its phrases, its setting, its relation."""
        return (self.phrases >= 0).sum(-1) + (self.setting >= 0).int() + (self.way >= 0).int()

    @classmethod
    def of(cls, texts: Sequence[str]) -> Spoken:
        phrases = [split_phrases(text) for text in texts]
        settings = [setting_of(text) for text in texts]
        relations = [relation_of(text) for text in texts]
        place = {text: row for row, text in reversed([*enumerate(texts)])}
        spoken = [*texts]

        def at(phrase: str | None) -> int:
            if phrase is None:
                return -1
            if phrase not in place:
                place[phrase] = len(spoken)
                spoken.append(phrase)
            return place[phrase]

        rows = torch.full((len(texts), max(map(len, phrases), default=0)), -1)
        for row, named in enumerate(phrases):
            rows[row, : len(named)] = torch.tensor([at(phrase) for phrase in named], dtype=torch.long)
        placed = [at(setting) for setting in settings]
        pairs = [(at(found.first), at(found.second)) if found else (-1, -1) for found in relations]
        return cls(
            readings=tuple(spoken),
            phrases=rows,
            setting=torch.tensor(placed, dtype=torch.long),
            related=torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
            way=torch.tensor([found.way if found else -1 for found in relations], dtype=torch.long),
        )

    def said(self, composition: SubjectComposition, codes: Tensor) -> Said:
        """What the texts say, by the codes (S, D) of all readings."""
        here = codes.device
        phrases, setting, related = (t.to(here) for t in (self.phrases, self.setting, self.related))
        ways = F.one_hot(self.way.clamp(min=0), len(WAYS)).to(codes) * (self.way >= 0)[:, None].to(codes)
        ends = codes[related.clamp(min=0)]
        return Said(
            phrases=codes[phrases.clamp(min=0)],
            present=phrases >= 0,
            setting=codes[setting.clamp(min=0)] * (setting >= 0)[:, None],
            relation=composition.role(ends[:, 0], ends[:, 1], ways),
        )


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


def _bound(network: nn.Sequential, things: Tensor) -> Tensor:
    first = network[0]
    assert isinstance(first, nn.Linear)
    scaled = things.shape[-1] ** 0.5 * things.to(first.weight.dtype)
    return F.normalize(things + network(scaled).to(things.dtype), dim=-1)


def _share(vectors: Tensor, present: Tensor) -> Tensor:
    """Σ of the vectors (B, K, D) that are present (B, K), by the root of their number."""
    kept = present[..., None].to(vectors.dtype)
    return (vectors * kept).sum(1) / kept.sum(1).clamp(min=1).sqrt()
