"""What differs between model families, as one table: prompts around an image, pixels, features, further inputs.

A family is a model type of transformers. Every family sees an image as a whole, resized without a crop and without
tiles, so that its tokens lie on one grid in raster order. Nothing here knows of salience, adapters or embeddings.

B images, P patches of all images in turn, each of d numbers, N tokens of an image, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from ssa_me.attention import VISION_ATTENTION
from ssa_me.errors import InputError


@dataclass(frozen=True)
class Features:
    """tokens: (N, D) of each image. deep: the same of every further layer that the language model is fed with."""

    tokens: Sequence[Tensor]
    deep: Sequence[Sequence[Tensor]] = ()


@dataclass(frozen=True)
class Family:
    """A row of the table.

    title: its name for people. language: the attribute of `model.model` that holds the language layers. prompt: what
    stands where the tokenizer has no chat template. around: (tokenizer, config) → the strings on both sides of the
    image tokens. template_wraps: whether a chat template of this family writes those itself. merge: config → patches
    along a token's side. processor: (image processor, config) → a callable that makes (P, d) patches and (B, 3) grids.
    features: (model, patches, grids) → tokens without those that have no place in the image. trailing: model → (E, D)
    such tokens, which follow each image's. pack: how the language model wants the images' features. inputs: (grids,
    (B, T) where image tokens are) → what else it wants. prepare: what is done to a loaded model. blocks: whether the
    patches of a token follow one another, instead of all lying in raster order. frames: config → how many times a patch
    holds each pixel, one time step after the other.
    """

    title: str
    merge: Callable[[Any], int]
    features: Callable[[Any, Tensor, Tensor], Features]
    processor: Callable[[Any, Any], Any]
    around: Callable[[Any, Any], tuple[str, str]]
    prompt: str = "{image}{text}{end}"
    template_wraps: bool = False
    language: str = "language_model"
    vision_attention: str = "sdpa"
    pack: Callable[[Sequence[Tensor]], Any] = tuple
    trailing: Callable[[Any], Tensor | None] = field(default=lambda model: None)
    inputs: Callable[[Tensor, Tensor], dict[str, Tensor]] = field(default=lambda grid, images: {})
    prepare: Callable[[Any], None] = field(default=lambda model: None)
    blocks: bool = False
    frames: Callable[[Any], int] = field(default=lambda config: 1)


class PatchProjection(nn.Conv3d):
    """A patch embedding as the matrix product that it is: its kernel covers the whole patch, so nothing slides.

    The same weights under the same keys, the same result, and several times faster on a CPU.
    """

    def forward(self, patches: Tensor) -> Tensor:
        product = F.linear(patches.flatten(1), self.weight.flatten(1), self.bias)
        return product[..., None, None, None]


class SquarePatches:
    """The image processor of a family whose encoder takes squares of one size: called like Qwen's, answers like it.

    The whole image is resized to `rows`×`rows` patches of `patch` pixels and normalised by the checkpoint's own
    processor with `settings`, of whose `views` of an image the first is the whole. An encoder that is made for 384
    pixels of which its 27 patches of 14 see 378 gets an image of 378, and nothing of the image is lost.
    """

    def __init__(
        self, processor: Any, side: int, patch: int, settings: Mapping[str, Any], views: int = 1
    ) -> None:
        self.processor, self.patch, self.views = processor, patch, views
        self.rows = side // patch
        self.side = self.rows * patch
        self.settings = dict(settings)

    def __call__(
        self, images: Sequence[Image.Image], return_tensors: str = "pt", do_resize: bool = True
    ) -> dict[str, Tensor]:
        """(P, d) patches in raster order, each channels × rows × columns of pixels, and (B, 3) grids. An image of the
        square's size stays as it is, so that nothing is left of `do_resize` to obey."""
        resized = [image.resize((self.side, self.side), self.processor.resample) for image in images]
        made = self.processor(images=resized, return_tensors=return_tensors, **self.settings)
        whole = made["pixel_values"].reshape(len(images), self.views, -1, self.side, self.side)[:, 0]
        cells = whole.unflatten(3, (self.rows, self.patch)).unflatten(2, (self.rows, self.patch))
        patches = cells.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).flatten(1)
        grid = torch.tensor([[1, self.rows, self.rows]] * len(images))
        return {"pixel_values": patches, "image_grid_thw": grid}

    def save_pretrained(self, folder: str | Path) -> None:
        self.processor.save_pretrained(folder)


def to_pixels(patches: Tensor, grid: Sequence[int], merge: int, frames: int, blocks: bool) -> Tensor:
    """One image's patches (P, d) of `grid` (1, rows, columns) as pixels (3, height, width), summed over `frames`.

    blocks: the `merge`×`merge` patches of a token follow one another, as Qwen-VL has them; else raster order. Of numbers
    that belong to a patch's pixels, such as gradients, it gives those of the image's pixels as the model sees it.
    """
    rows, columns = int(grid[1]), int(grid[2])
    side = round((patches.shape[1] // (3 * frames)) ** 0.5)
    cells = patches.view(len(patches), 3, frames, side, side).sum(2)
    if blocks:
        cells = cells.view(rows // merge, columns // merge, merge, merge, 3, side, side).transpose(1, 2)
    cells = cells.reshape(rows, columns, 3, side, side)
    return cells.permute(2, 0, 3, 1, 4).reshape(3, rows * side, columns * side)


def to_squares(patches: Tensor, grid: Tensor) -> Tensor:
    """The images (B, 3, height, width) that `SquarePatches` cut into `patches`."""
    count, rows = len(grid), int(grid[0, 1])
    patch = round((patches.shape[1] // 3) ** 0.5)
    cells = patches.view(count, rows, rows, 3, patch, patch)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(count, 3, rows * patch, rows * patch)


# --- Qwen-VL: patches of every aspect ratio, merged 2×2 --------------------------------------------------------------


def _qwen_features(model: Any, patches: Tensor, grid: Tensor) -> Features:
    found = model.model.get_image_features(patches, grid, return_dict=True)
    deep: Any = None
    if isinstance(found, BaseModelOutputWithDeepstackFeatures):
        deep = found.deepstack_features
    return Features(found.pooler_output, deep or ())


def _qwen_around(tokenizer: Any, config: Any) -> tuple[str, str]:
    start, end = named(tokenizer, config.vision_start_token_id, config.vision_end_token_id)
    return start, end


def _qwen_prepare(model: Any) -> None:
    projection = model.model.visual.patch_embed.proj
    if type(projection) is nn.Conv3d and projection.kernel_size == projection.stride:
        projection.__class__ = PatchProjection


def _qwen(title: str) -> Family:
    return Family(
        title=title,
        merge=lambda config: int(config.vision_config.spatial_merge_size),
        features=_qwen_features,
        processor=lambda processor, config: processor,
        around=_qwen_around,
        template_wraps=True,
        vision_attention=VISION_ATTENTION,
        inputs=lambda grid, images: {"image_grid_thw": grid, "mm_token_type_ids": images.int()},
        prepare=_qwen_prepare,
        blocks=True,
        frames=lambda config: int(config.vision_config.temporal_patch_size),
    )


# --- families whose encoder takes one square -------------------------------------------------------------------------


def _llava_onevision_features(model: Any, patches: Tensor, grid: Tensor) -> Features:
    """As one of several images of a sample, which the model never tiles; its last token is the new line."""
    images = to_squares(patches, grid)
    sizes = torch.tensor([images.shape[2:]] * len(images))
    found = model.model.get_image_features(
        images, sizes, batch_num_images=[max(2, len(images))], return_dict=True
    )
    return Features([tokens[:-1] for tokens in found.pooler_output])


def _internvl_features(model: Any, patches: Tensor, grid: Tensor) -> Features:
    return Features(
        list(model.model.get_image_features(to_squares(patches, grid), return_dict=True).pooler_output)
    )


def _smolvlm_features(model: Any, patches: Tensor, grid: Tensor) -> Features:
    found = model.model.get_image_features(to_squares(patches, grid)[:, None], return_dict=True)
    return Features(found.pooler_output)


def _llava_onevision_processor(processor: Any, config: Any) -> SquarePatches:
    patch = int(config.vision_config.patch_size)
    side = int(config.vision_config.image_size) // patch * patch
    settings = {"size": {"height": side, "width": side}, "image_grid_pinpoints": [[side, side]]}
    return SquarePatches(processor, side, patch, settings, views=2)


def _internvl_processor(processor: Any, config: Any) -> SquarePatches:
    side, patch = config.vision_config.image_size[0], config.vision_config.patch_size[0]
    return SquarePatches(processor, int(side), int(patch), {"crop_to_patches": False, "do_resize": False})


def _smolvlm_processor(processor: Any, config: Any) -> SquarePatches:
    side, patch = int(config.vision_config.image_size), int(config.vision_config.patch_size)
    whole = {"do_image_splitting": False, "do_resize": False, "max_image_size": {"longest_edge": side}}
    return SquarePatches(processor, side, patch, whole)


def _known(strings: tuple[str, str], tokenizer: Any, config: Any) -> tuple[str, str]:
    """`strings` where the tokenizer reads them as special tokens."""
    added = set(tokenizer.get_added_vocab())
    if any(string and not any(token in string for token in added) for string in strings):
        raise InputError(
            f"The tokenizer of this checkpoint does not know the tokens around an image, {' and '.join(strings)}. "
            "Copy the tokenizer's files beside it."
        )
    return strings


_SMOLVLM = Family(
    title="SmolVLM",
    merge=lambda config: int(config.scale_factor),
    features=_smolvlm_features,
    processor=_smolvlm_processor,
    around=partial(_known, ("<fake_token_around_image><global-img>", "<fake_token_around_image>")),
    language="text_model",
)

FAMILIES: Mapping[str, Family] = {
    "qwen2_vl": _qwen("Qwen2-VL"),
    "qwen2_5_vl": _qwen("Qwen2.5-VL"),
    "qwen3_vl": _qwen("Qwen3-VL"),
    "llava_onevision": Family(
        title="LLaVA-OneVision",
        merge=lambda config: 1,
        features=_llava_onevision_features,
        processor=_llava_onevision_processor,
        around=lambda tokenizer, config: ("", ""),
        prompt="{image}\n{text}{end}",
        trailing=lambda model: model.model.image_newline[None],
    ),
    "internvl": Family(
        title="InternVL",
        merge=lambda config: round(1 / config.downsample_ratio),
        features=_internvl_features,
        processor=_internvl_processor,
        around=partial(_known, ("<img>", "</img>")),
        pack=lambda tokens: torch.stack(list(tokens)),
    ),
    "smolvlm": _SMOLVLM,
    "idefics3": _SMOLVLM,
}
"""Model type → family. SmolVLM is Idefics3's architecture under two names."""


def family_of(model_type: str, source: str = "This checkpoint") -> Family:
    """The family of a model type. InputError lists the supported ones."""
    if model_type not in FAMILIES:
        raise InputError(f"{source} holds a model of type {model_type!r}. Supported: {', '.join(FAMILIES)}.")
    return FAMILIES[model_type]


def named(tokenizer: Any, *ids: int) -> list[str]:
    """The tokens of some ids. InputError where the tokenizer lacks one."""
    names = tokenizer.convert_ids_to_tokens(list(ids))
    if None in names:
        raise InputError(
            f"The tokenizer of this checkpoint does not know the image tokens {ids} of its config.json. "
            "Copy the tokenizer's files beside it."
        )
    return names
