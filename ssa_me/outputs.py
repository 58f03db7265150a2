"""What a model's passes give: image tokens with a box each, and what the language layers made of a prompt.

Data alone: it knows no model, no prompts and no files.

Shapes: B samples, N image tokens (padded to the longest, raster order), D width, L language layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class VisualBatch:
    """The image tokens of B images, padded to the longest.

    tokens: (B, N, D) what the language model reads. valid: (B, N) False on padding. deep: further (B, N, D) features
    that a family feeds into later layers. grid: (B, 3) patches in time, height, width. boxes: (B, N, 4) x0, y0, x1, y1
    in pixels of the upright image. sizes: (width, height) of each image in pixels.
    """

    tokens: Tensor
    valid: Tensor
    deep: tuple[Tensor, ...]
    grid: Tensor
    boxes: np.ndarray
    sizes: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def counts(self) -> list[int]:
        """The number of image tokens of each image."""
        return [int(n) for n in self.valid.sum(1)]

    @cached_property
    def centres(self) -> Tensor:
        """(B, N, 2) float32 of the tokens' boxes, as shares of the image; 0 on padding."""
        middle = (self.boxes[..., :2] + self.boxes[..., 2:]) / 2 / np.array(self.sizes, np.float32)[:, None]
        return torch.from_numpy(middle.astype(np.float32)).to(self.tokens.device)

    def with_tokens(self, tokens: Tensor, deep: tuple[Tensor, ...]) -> VisualBatch:
        return replace(self, tokens=tokens, deep=deep)

    def select(self, indices: Sequence[int]) -> VisualBatch:
        """The images at `indices`, in that order, padded no more than they need; an index may come more than once."""
        picked = torch.as_tensor(list(indices), device=self.tokens.device)
        valid = self.valid[picked]
        longest = int(valid.sum(1).max())
        return VisualBatch(
            tokens=self.tokens[picked][:, :longest],
            valid=valid[:, :longest],
            deep=tuple(feature[picked][:, :longest] for feature in self.deep),
            grid=self.grid[picked.cpu()],
            boxes=self.boxes[list(indices), :longest],
            sizes=tuple(self.sizes[i] for i in indices),
        )

    def to(self, dtype: torch.dtype) -> VisualBatch:
        """The same with its features in another precision."""
        return self.with_tokens(self.tokens.to(dtype), tuple(layer.to(dtype) for layer in self.deep))

    @staticmethod
    def join(batches: Sequence[VisualBatch]) -> VisualBatch:
        """Several batches as one, padded to the longest image of all."""
        if len(batches) == 1:
            return batches[0]
        longest = max(batch.tokens.shape[1] for batch in batches)

        def pad(feature: Tensor) -> Tensor:
            return F.pad(feature, (0, 0, 0, longest - feature.shape[1]))

        return VisualBatch(
            tokens=torch.cat([pad(batch.tokens) for batch in batches]),
            valid=torch.cat([F.pad(batch.valid, (0, longest - batch.valid.shape[1])) for batch in batches]),
            deep=tuple(
                torch.cat([pad(layer) for layer in layers])
                for layers in zip(*(b.deep for b in batches), strict=True)
            ),
            grid=torch.cat([batch.grid for batch in batches]),
            boxes=np.concatenate(
                [np.pad(b.boxes, ((0, 0), (0, longest - b.boxes.shape[1]), (0, 0))) for b in batches]
            ),
            sizes=tuple(size for batch in batches for size in batch.sizes),
        )


@dataclass(frozen=True)
class LanguagePass:
    """last: (B, D) hidden state of the last real token. hidden: (B, N, D) at image tokens. rows: (B, L, N) the last
    token's attention on image tokens, a share of all its attention; (B, L, H, N) where that of each head was asked for.
    The latter two are None without images."""

    last: Tensor
    hidden: Tensor | None = None
    rows: Tensor | None = None

    def embedding(self) -> Tensor:
        """(B, D) float32 of unit length."""
        return F.normalize(self.last.float(), dim=-1)

    def split(self, size: int) -> list[LanguagePass]:
        """The same for each `size` samples in turn."""
        parts = self.last.split(size)
        hidden = self.hidden.split(size) if self.hidden is not None else [None] * len(parts)
        rows = self.rows.split(size) if self.rows is not None else [None] * len(parts)
        return [LanguagePass(*part) for part in zip(parts, hidden, rows, strict=True)]


def token_boxes(grid: Sequence[int], merge: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) x0, y0, x1, y1 in image pixels for a grid (time, height, width) of patches merged `merge`×`merge`.

    The image is resized to the grid as a whole, without a crop, so the grid's cells tile it evenly. Raster order.
    """
    rows, columns = int(grid[1]) // merge, int(grid[2]) // merge
    y, x = np.divmod(np.arange(rows * columns), columns)
    cells = np.stack([x / columns, y / rows, (x + 1) / columns, (y + 1) / rows], axis=1)
    return (cells * np.array([size[0], size[1], size[0], size[1]])).astype(np.float32)
