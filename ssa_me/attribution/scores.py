"""The score that is attributed, as a function of the image and as a function of the text's words.

F = Σ c_v · cos(e_v(image), e_v(text)) over the versions v with their factors c_v: one version's similarity, or the
difference of both. The other side is embedded once, outside of every graph: were it read in the same pass, gradients at
what both share would be nothing. The lock is held for one batch at a time, so that searches go on in between; a backward
pass needs none, for it reads no shared state.

B examples, P patches of d numbers, N image tokens, T tokens of the text, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ssa_me.attribution.absence import mixed
from ssa_me.attribution.watching import Watch
from ssa_me.checkpoint import SSA_ME
from ssa_me.outputs import VisualBatch
from ssa_me.passes import Passes, Salient

Held = Callable[[], AbstractContextManager[Passes]]
"""Gives the passes with their lock held, as `SalientEmbedder.exact` does."""


class ImageScores:
    """F as a function of the image, the text being fixed.

    pixels: (h, w, 3) uint8, the image as the model sees it. patches (1, P, d), grid (1, 3): what the model reads of the
    image. boxes (N, 4) in pixels of the upright image; tokens (rows, columns) their grid. found: the query-free salience
    and regions of the image. distilled: whether salience comes from the head, through which gradients run.
    """

    def __init__(
        self, held: Held, image: Image.Image, text: str, weights: Mapping[str, float], watch: Watch
    ) -> None:
        self._held, self._weights, self._watch = held, dict(weights), watch
        self._versions = list(weights)
        with held() as passes, torch.no_grad():
            backbone = passes.backbone
            patches, self.grid = backbone.pixels([image])
            self.patches = patches[None].to(backbone.device, torch.float32)
            visual = backbone.encode_pixels(patches, self.grid, [image.size])
            self.found = passes.salience(visual, [image], [None])
            self._spoken = passes.speak([text], self._versions)
            self.distilled = passes.distilled
            shape = backbone.to_pixels(patches, self.grid[0]).shape[1:]
            self.tokens = (
                int(self.grid[0, 1]) // backbone.merge,
                int(self.grid[0, 2]) // backbone.merge,
            )
        self.image_size, self.boxes = image.size, visual.boxes[0]
        seen = image.convert("RGB").resize((int(shape[1]), int(shape[0])), Image.Resampling.BICUBIC)
        self.pixels = np.asarray(seen)

    @property
    def salient(self) -> bool:
        """Whether salience has a part in the score."""
        return SSA_ME in self._weights

    def of_patches(self, patches: Tensor) -> Tensor:
        """(B,) of patches (B, P, d), with the gradient. Regions are held as the image has them, and so is salience where
        no head was trained."""
        self._watch.tick(len(patches))
        with self._held() as passes:
            return self._read(passes, self._encode(passes, patches))

    def of_pixels(self, pixels: np.ndarray) -> list[float]:
        """B numbers of images (B, h, w, 3) uint8, salience and regions found anew in each."""
        self._watch.tick(len(pixels))
        images = [Image.fromarray(array) for array in pixels]
        with self._held() as passes, torch.no_grad():
            visual = passes.backbone.vision_pass(images)
            found = passes.salience(visual, images, [None] * len(images)) if self.salient else None
            scores: list[float] = self._cosine(passes, visual, found).tolist()
            return scores

    def of_kept(self, labels: np.ndarray, fill: np.ndarray) -> Callable[[np.ndarray], list[float]]:
        """F as a function of which features, labelled by `labels` (h, w), are kept, (B, M) bool; the others show `fill`
        (h, w, 3)."""
        return lambda kept: self.of_pixels(mixed(kept, labels, self.pixels, fill))

    def patches_of(self, pixels: np.ndarray) -> Tensor:
        """(1, P, d): what the model reads of an image (h, w, 3)."""
        with self._held() as passes:
            patches, _ = passes.backbone.pixels([Image.fromarray(pixels)])
            return patches[None].to(passes.backbone.device, torch.float32)

    def on_pixels(self, contributions: Tensor) -> np.ndarray:
        """Contributions of patches (P, d) on the image's pixels, (h, w) float32, summed over the colours."""
        with self._held() as passes:
            pixels: np.ndarray = passes.backbone.to_pixels(contributions, self.grid[0]).sum(0).cpu().numpy()
        return pixels.astype(np.float32)

    def _encode(self, passes: Passes, patches: Tensor) -> VisualBatch:
        count = len(patches)
        return passes.backbone.encode_pixels(
            patches.flatten(0, 1), self.grid.repeat(count, 1), [self.image_size] * count
        )

    def _read(self, passes: Passes, visual: VisualBatch) -> Tensor:
        count = len(visual)
        if not self.salient:
            return self._cosine(passes, visual, None)
        salience = self.found.salience.expand(count, -1)
        if passes.distilled:
            salience = passes.head_salience(visual, [None] * count)
        return self._cosine(passes, visual, Salient(salience, self.found.regions * count))

    def _cosine(self, passes: Passes, visual: VisualBatch, found: Salient | None) -> Tensor:
        outputs = passes.read([""] * len(visual), visual, found, self._versions)
        vectors = passes.image_vectors(outputs, visual, found)
        return _weighed(self._weights, vectors, self._spoken)


class AtTokens(nn.Module):
    """F as a module that the image tokens pass through, so that their activations and gradients can be read: `places`
    are where the tokens V enter, and the features that a family feeds into deeper layers."""

    def __init__(self, scores: ImageScores) -> None:
        super().__init__()
        self._scores = scores
        with scores._held() as passes, torch.no_grad():
            deep = scores._encode(passes, scores.patches).deep
        self.places = nn.ModuleList(nn.Identity() for _ in range(1 + len(deep)))

    def forward(self, patches: Tensor) -> Tensor:
        """(B,) of patches (B, P, d)."""
        scores = self._scores
        scores._watch.tick(len(patches))
        with scores._held() as passes:
            visual = scores._encode(passes, patches)
            tokens, *deep = (
                place(features)
                for place, features in zip(self.places, (visual.tokens, *visual.deep), strict=True)
            )
            return scores._read(passes, visual.with_tokens(tokens, tuple(deep)))


class TextScores:
    """F as a function of the text's words, the image being fixed, with what SSA-ME makes of it.

    states (1, T, D): the tokens' embeddings. absent (1, T, D): the same with every token of the text replaced, those of
    the prompt and the end kept. words: (start, end) of each word among the characters of `text`. labels (T,): the word of
    each token, −1 for the prompt's. filler: what stands for an absent word, for people.
    """

    def __init__(
        self, held: Held, image: Image.Image, text: str, weights: Mapping[str, float], watch: Watch
    ) -> None:
        self._held, self._weights, self._watch = held, dict(weights), watch
        self._versions = list(weights)
        with held() as passes, torch.no_grad():
            backbone = passes.backbone
            visual = backbone.vision_pass([image])
            found = passes.salience(visual, [image], [None]) if SSA_ME in weights else None
            outputs = passes.read([""], visual, found, self._versions)
            self._seen = passes.image_vectors(outputs, visual, found)
            self.text, start, spans = backbone.text_spans(text)
            ids, _ = backbone.tokenize([text])
            embeddings = backbone.model.get_input_embeddings()
            self.states = embeddings(ids).float()
            own = slice(start, start + len(spans))
            filler, self.filler = _filler(backbone.tokenizer, embeddings, self.states[0, own])
            self.absent = self.states.clone()
            self.absent[:, own] = filler
        self.words, of_tokens = words_of(self.text, spans)
        self.labels = np.full(ids.shape[1], -1)
        self.labels[own] = of_tokens

    def of_states(self, states: Tensor) -> Tensor:
        """(B,) of embeddings (B, T, D), with the gradient."""
        self._watch.tick(len(states))
        rows = states.repeat(len(self._versions), *[1] * (states.ndim - 1))
        with self._held() as passes, passes.backbone.embeddings_replaced(rows):
            spoken = passes.speak([self.text] * len(states), self._versions)
        return _weighed(self._weights, spoken, self._seen)

    def of_kept(self, kept: np.ndarray) -> list[float]:
        """B numbers of which words are kept, (B, M) bool."""
        stay = torch.from_numpy(np.where(self.labels >= 0, kept[:, self.labels], True)).to(self.states.device)
        with torch.no_grad():
            scores: list[float] = self.of_states(
                torch.where(stay[..., None], self.states, self.absent)
            ).tolist()
        return scores


def words_of(text: str, spans: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[int]]:
    """The words of `text` that its tokens, at `spans`, reach, each as (start, end), and the word of each token.

    A word is what stands between blanks; in scripts that write none, a sign. A token belongs to the word of its first
    sign that is not blank.
    """
    word_at, number = [-1] * len(text), -1
    starts: list[int] = []
    before = " "
    for i, sign in enumerate(text):
        if not sign.isspace():
            if before.isspace() or _unspaced(sign) or _unspaced(before):
                number += 1
                starts.append(i)
            word_at[i] = number
        before = sign
    of_tokens: list[int] = []
    for start, end in spans:
        own = next(
            (word_at[i] for i in range(start, max(end, start + 1)) if i < len(text) and word_at[i] >= 0), None
        )
        of_tokens.append(own if own is not None else (of_tokens[-1] if of_tokens else 0))
    reached = sorted(set(of_tokens))
    ends = {n: max(i for i in range(len(text)) if word_at[i] == n) + 1 for n in reached}
    return [(starts[n], ends[n]) for n in reached], [reached.index(n) for n in of_tokens]


def _unspaced(sign: str) -> bool:
    """Whether it is of a script that sets no blanks between words: Chinese, Japanese, Thai, Lao, Khmer."""
    return (
        "\u3040" <= sign <= "\u30ff"
        or "\u3400" <= sign <= "\u9fff"
        or "\uf900" <= sign <= "\ufaff"
        or "\u0e00" <= sign <= "\u0eff"
        or "\u1780" <= sign <= "\u17ff"
    )


def _filler(tokenizer: Any, embeddings: nn.Module, own: Tensor) -> tuple[Tensor, str]:
    """What stands for an absent token, (D,), and its name: the padding token's embedding, or the mean embedding where
    that one is all but zero, from where gradients would not add up. own (T, D): embeddings of the text's tokens."""
    weight = embeddings.weight
    assert isinstance(weight, Tensor)
    pad = tokenizer.pad_token_id
    usual = own.norm(dim=-1).median() if len(own) else weight.float().norm(dim=-1).median()
    if pad is not None and weight[pad].float().norm() >= 0.2 * usual:
        return weight[pad].float(), "the padding token"
    return weight.float().mean(0), "the mean of all tokens' embeddings"


def _weighed(weights: Mapping[str, float], ours: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
    """(B,): Σ c_v of the cosines of ours (B, D) with what is fixed (1, D), both of unit length."""
    return torch.stack([c * (ours[v] * fixed[v].to(ours[v])).sum(-1) for v, c in weights.items()]).sum(0)
