"""The score that is attributed, as a function of the image.

F = Σ c_v · cos(e_v(image), e_v(text)) over the versions v with their factors c_v: one version's similarity, or the
difference of both. The other side is embedded once, outside of every graph: were it read in the same pass, gradients at
what both share would be nothing. The lock is held for one batch at a time, so that searches go on in between; a backward
pass needs none, for it reads no shared state.

B examples, P patches of d numbers, N image tokens, D width. The text's side is in `word_scores.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

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
            patches, grid = passes.backbone.pixels(images, as_seen=True)
            visual = passes.backbone.encode_pixels(patches, grid, [image.size for image in images])
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
            patches, _ = passes.backbone.pixels([Image.fromarray(pixels)], as_seen=True)
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
        return self._cosine(passes, visual, Salient(salience, self.found.regions * count, (False,) * count))

    def _cosine(self, passes: Passes, visual: VisualBatch, found: Salient | None) -> Tensor:
        outputs = passes.read([""] * len(visual), visual, found, self._versions)
        vectors = passes.image_vectors(outputs, visual, found)
        return weighed(self._weights, vectors, self._spoken)


class Place(nn.Module):
    """Where features pass through on their way: the identity, as a tensor of its own, so that the gradient here is of
    this way alone and not of every other use of the same features."""

    def forward(self, features: Tensor) -> Tensor:
        return features.clone()


class AtTokens(nn.Module):
    """F as a module that the image tokens pass through, so that their activations and gradients can be read: `places`
    are where the tokens V enter, and the features that a family feeds into deeper layers."""

    def __init__(self, scores: ImageScores) -> None:
        super().__init__()
        self._scores = scores
        with scores._held() as passes, torch.no_grad():
            deep = scores._encode(passes, scores.patches).deep
        self.places = nn.ModuleList(Place() for _ in range(1 + len(deep)))

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


def weighed(weights: Mapping[str, float], ours: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
    """(B,): Σ c_v of the cosines of ours (B, D) with what is fixed (1, D), both of unit length."""
    return torch.stack([c * (ours[v] * fixed[v].to(ours[v])).sum(-1) for v, c in weights.items()]).sum(0)
