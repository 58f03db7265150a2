"""The first stage of a model from scratch: the vision tower alone learns to name what it sees, token by token.

The words of an image's texts are predicted from the mean of its tokens, the words of a region's phrase from its mean and
from each of its tokens. A colour alone satisfies a contrast of images and texts for long; words of their own make kinds
count from the start. The classifier over words is thrown away. It knows nothing of language models.

B images, R named regions, N image tokens, W words, D width.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssa_me.backbone import Backbone
from ssa_me.outputs import VisualBatch
from ssa_me.regeneration import aggregate
from ssa_me.training.batches import Batch, Part, share_of
from ssa_me.training.data import Corpus, stack_pixels
from ssa_me.training.gradcache import Losses, Representations
from ssa_me.training.named import Named
from ssa_me.training.recipe import Sight
from ssa_me.training.stages import weighted

_WORD = re.compile(r"[^\W\d_]+")
_EMPTY = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "at",
        "by",
        "for",
        "from",
        "her",
        "his",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "out",
        "the",
        "their",
        "there",
        "to",
        "with",
    ]
)
LEAST_TOKEN = 0.3
"""A token counts as a region's where the region covers at least this share of it."""


def words_of(text: str) -> list[str]:
    """The words of a text that say something, lower-case."""
    return [word for word in _WORD.findall(text.lower()) if word not in _EMPTY]


def vocabulary(corpus: Corpus, most: int, least: int = 20) -> dict[str, int]:
    """Word → number of the `most` commonest words of a corpus, each said of at least `least` images."""
    seen: Counter[str] = Counter()
    for group in corpus.groups:
        for item in group:
            seen.update({word for text in (*item.texts, *item.phrases) for word in words_of(text)})
    common = sorted((word for word in seen if seen[word] >= least), key=lambda word: (-seen[word], word))
    return {word: number for number, word in enumerate(common[:most])}


class SightStage(nn.Module):
    """Soft cross-entropy of words; the vision tower trains as a whole."""

    def __init__(self, backbone: Backbone, corpus: Corpus, settings: Sight, seed: int) -> None:
        super().__init__()
        self.model = backbone.model
        self.words = vocabulary(corpus, settings.words)
        self.of_image, self.of_region = (nn.Linear(backbone.width, len(self.words)) for _ in range(2))
        self.backbone, self.corpus, self.settings, self.seed = backbone, corpus, settings, seed
        self.model.requires_grad_(False)
        language = f"model.{backbone.traits.language}."
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.startswith("model.") and not name.startswith(language))

    def batch(self, step: int) -> Batch:
        device = self.backbone.device
        return Batch.of(self.corpus, self.seed, step, self.settings.batch, 0.0, device, only_open=True)[0]

    def cut(self, whole: Batch, chunks: int) -> list[Part]:
        return whole.parts(chunks)

    def represent(self, part: Part) -> tuple[Representations, VisualBatch]:
        """means (B, D) of each image's tokens."""
        visual = self.backbone.encode_pixels(*stack_pixels(part.items))
        share = visual.valid[..., None].to(visual.tokens.dtype)
        return {"means": (visual.tokens * share).sum(1) / share.sum(1)}, visual

    def compare(self, whole: Batch, representations: Representations) -> Losses:
        texts = [(*item.texts, *item.phrases) for item in whole.items]
        loss = self._name(self.of_image(representations["means"]), [" ".join(said) for said in texts])
        return weighted({"image": loss}, {}, loss)

    def beside(self, part: Part, kept: VisualBatch, representations: Representations) -> Losses:
        named, whole = part.named, part.batch.named
        if not len(named):
            return weighted({}, {}, representations["means"])
        tokens = kept.tokens[named.image]
        pooled = self.of_region(aggregate(tokens, named.regions[:, None])[:, 0])
        rows, places = torch.nonzero(named.regions >= LEAST_TOKEN, as_tuple=True)
        (regions, covered), (all_regions, all_covered) = self._counts(named), self._counts(whole)
        losses = {"region": share_of(self._name(pooled, named.phrases), regions, all_regions)}
        if len(rows):
            each = self.of_region(tokens[rows, places])
            phrases = [named.phrases[r] for r in rows.tolist()]
            losses["token"] = share_of(self._name(each, phrases), covered, all_covered)
        return weighted(losses, {}, pooled)

    def _known(self, text: str) -> list[int]:
        """The numbers of the words of a text that are in the vocabulary."""
        return [self.words[w] for w in dict.fromkeys(words_of(text)) if w in self.words]

    def _counts(self, named: Named) -> tuple[int, int]:
        """How many regions have a phrase with a known word, and how many tokens count as theirs."""
        said = [r for r, phrase in enumerate(named.phrases) if self._known(phrase)]
        return len(said), int((named.regions[said] >= LEAST_TOKEN).sum())

    def _name(self, logits: Tensor, texts: Sequence[str]) -> Tensor:
        """Cross-entropy (…) of logits (M, W) to the words of M texts, all alike; texts without a word do not count."""
        target = torch.zeros(logits.shape, device=logits.device)
        known: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            if text not in known:
                known[text] = self._known(text)
            target[row, known[text]] = 1.0
        mass = target.sum(-1, keepdim=True)
        loss = -(target / mass.clamp(min=1) * F.log_softmax(logits.float(), dim=-1)).sum(-1)
        return loss.sum() / (mass > 0).sum().clamp(min=1)
