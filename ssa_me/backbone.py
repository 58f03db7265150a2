"""A transformers image-text-to-text model, split into one vision pass and any number of language passes.

It renders prompts, places a box under every image token, and asks the language layers for attention rows. It knows
nothing of adapters, salience or similarity.

Shapes: B samples, N image tokens (padded to the longest, raster order), T tokens, D width, L language layers, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from ssa_me.attention import ATTENTION, VISION_ATTENTION, AttentionProbe
from ssa_me.errors import InputError

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""Model types whose image tokens lie on a merged grid in raster order, the layout that `token_boxes` knows."""

MAX_TEXT_TOKENS = 512
_NEEDED = {
    "tokenizer": ("tokenizer.json", "vocab.json"),
    "image processor": ("preprocessor_config.json", "processor_config.json"),
}
_SENTINEL = "\x02text\x02"


class PatchProjection(nn.Conv3d):
    """A patch embedding as the matrix product that it is: its kernel covers the whole patch, so nothing slides.

    The same weights under the same keys, the same result, and several times faster on a CPU.
    """

    def forward(self, patches: Tensor) -> Tensor:
        product = F.linear(patches.flatten(1), self.weight.flatten(1), self.bias)
        return product[..., None, None, None]


# --- what the passes return ------------------------------------------------------------------------------------------


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
    token's attention on image tokens, a share of all its attention. The latter two are None without images."""

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


@dataclass(frozen=True)
class PromptFormat:
    """The strings around the text: `(before, after)`, with an image (its placeholder once in `before`) and without."""

    with_image: tuple[str, str]
    text_only: tuple[str, str]


def token_boxes(grid: Sequence[int], merge: int, size: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) x0, y0, x1, y1 in image pixels for a grid (time, height, width) of patches merged `merge`×`merge`.

    The image is resized to the grid as a whole, without a crop, so the grid's cells tile it evenly. Raster order.
    """
    rows, columns = int(grid[1]) // merge, int(grid[2]) // merge
    y, x = np.divmod(np.arange(rows * columns), columns)
    cells = np.stack([x / columns, y / rows, (x + 1) / columns, (y + 1) / rows], axis=1)
    return (cells * np.array([size[0], size[1], size[0], size[1]])).astype(np.float32)


# --- the model -------------------------------------------------------------------------------------------------------


class Backbone:
    """A checkpoint's model, tokenizer and image processor. Not thread-safe: its owner holds the lock."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:
        family = str(model.config.model_type)
        if family not in FAMILIES:
            raise InputError(
                f"Checkpoints of type {family!r} are not supported. Supported: {', '.join(FAMILIES)}."
            )
        model.set_attn_implementation(ATTENTION)
        model.config.vision_config._attn_implementation = VISION_ATTENTION
        projection = model.model.visual.patch_embed.proj
        if type(projection) is nn.Conv3d and projection.kernel_size == projection.stride:
            projection.__class__ = PatchProjection
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.family = family
        self.merge = int(model.config.vision_config.spatial_merge_size)
        self.image_token_id = int(model.config.image_token_id)
        self.format = _prompt_format(tokenizer, model.config)
        self._specials = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
        self._ids: dict[str, list[int]] = {}
        before = self._encode(self.format.with_image[0])
        if before.count(self.image_token_id) != 1:
            raise InputError(f"The chat template of this checkpoint places no single image token: {before}.")
        self.image_start = before.index(self.image_token_id)

    @classmethod
    def load(cls, checkpoint: Path, device: torch.device, dtype: torch.dtype) -> Backbone:
        """Load a checkpoint folder as transformers saves it. InputError names what is missing or does not fit."""
        if not (checkpoint / "config.json").is_file():
            raise InputError(f"{checkpoint} is not a checkpoint folder: it holds no config.json.")
        try:
            config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
            if config.model_type not in FAMILIES:
                raise InputError(
                    f"{checkpoint} holds a model of type {config.model_type!r}. Supported: {', '.join(FAMILIES)}."
                )
            _check_files(checkpoint)
            tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
            image_processor = AutoImageProcessor.from_pretrained(checkpoint, trust_remote_code=False)
            loader: Any = AutoModelForImageTextToText
            with _Quiet():
                model, info = loader.from_pretrained(
                    checkpoint,
                    dtype=dtype,
                    use_safetensors=True,
                    trust_remote_code=False,
                    ignore_mismatched_sizes=True,  # named below, with what is missing
                    output_loading_info=True,
                )
        except InputError:
            raise
        except (
            Exception
        ) as error:  # the loaders raise OSError, ValueError, RuntimeError, SafetensorError, KeyError …
            raise InputError(f"{checkpoint} cannot be loaded: {_first_line(error)}") from error
        mismatched = [key for key, *_ in info["mismatched_keys"]]
        check_keys(checkpoint, info["missing_keys"], info["unexpected_keys"], mismatched)
        return cls(model.to(device).eval(), tokenizer, image_processor)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def width(self) -> int:
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def layers(self) -> int:
        return int(self.model.config.get_text_config().num_hidden_layers)

    def pixels(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """Resized, normalised patches (P, d) of all images in turn and their grids (B, 3), on the CPU."""
        try:
            inputs = self.image_processor(images=list(images), return_tensors="pt")
        except ValueError as error:  # such as an aspect ratio beyond 200
            raise InputError(f"The image cannot be read by this model: {_first_line(error)}") from error
        return inputs["pixel_values"], inputs["image_grid_thw"]

    def vision_pass(self, images: Sequence[Image.Image]) -> VisualBatch:
        """The image tokens of upright RGB images, in one pass."""
        pixels, grid = self.pixels(images)
        return self.encode_pixels(pixels, grid, [image.size for image in images])

    def encode_pixels(self, pixels: Tensor, grid: Tensor, sizes: Sequence[tuple[int, int]]) -> VisualBatch:
        """`vision_pass` from patches that `pixels` made. `sizes` are (width, height) of the images in pixels."""
        features = self.model.model.get_image_features(
            pixels.to(self.device, self.dtype), grid.to(self.device), return_dict=True
        )
        deep: Sequence[Any] = ()
        if isinstance(features, BaseModelOutputWithDeepstackFeatures):
            deep = features.deepstack_features or ()
        tokens = nn.utils.rnn.pad_sequence(list(features.pooler_output), batch_first=True)
        counts = torch.tensor([len(t) for t in features.pooler_output])
        boxes = np.zeros((len(sizes), tokens.shape[1], 4), dtype=np.float32)
        for i, size in enumerate(sizes):
            boxes[i, : counts[i]] = token_boxes(grid[i].tolist(), self.merge, size)
        return VisualBatch(
            tokens=tokens,
            valid=(torch.arange(tokens.shape[1])[None] < counts[:, None]).to(self.device),
            deep=tuple(nn.utils.rnn.pad_sequence(list(layer), batch_first=True) for layer in deep),
            grid=grid,
            boxes=boxes,
            sizes=tuple(sizes),
        )

    def language_pass(
        self,
        texts: Sequence[str],
        visual: VisualBatch | None = None,
        key_bias: Tensor | None = None,
        collect_rows: bool = False,
    ) -> LanguagePass:
        """Read B texts, each after its image where `visual` is given (an empty text is the image alone).

        key_bias: (B, N) added to the attention logits of image tokens in every layer. Texts are cut at
        MAX_TEXT_TOKENS. A sample's result does not depend on its batch.
        """
        ids, mask = self.tokenize(texts, visual.counts() if visual is not None else None)
        last = mask.sum(1) - 1
        probe = AttentionProbe(last=last, collect=collect_rows)
        images = slice(
            self.image_start, self.image_start + (visual.tokens.shape[1] if visual is not None else 0)
        )
        if visual is not None and key_bias is not None:
            probe.key_bias = F.pad(
                key_bias.masked_fill(~visual.valid, 0.0), (images.start, ids.shape[1] - images.stop)
            )
        output = self._forward(ids, mask, visual, probe)
        pooled = output[torch.arange(len(texts), device=self.device), last]
        if visual is None:
            return LanguagePass(pooled)
        hidden = output[:, images] * visual.valid[..., None]
        rows = None
        if collect_rows:
            stacked = torch.stack([probe.rows[layer] for layer in sorted(probe.rows)], dim=1)
            rows = stacked[:, :, images] * visual.valid[:, None]
        return LanguagePass(pooled, hidden, rows)

    def answer_loss(self, prompts: Sequence[str], answers: Sequence[str], visual: VisualBatch) -> Tensor:
        """Mean cross-entropy of each answer's tokens and its end, given its image and prompt (may be empty).

        The answer follows the prompt's text at once, as `generation` continues it.
        """
        asked = [self.text_ids(prompt) for prompt in prompts]
        rows = [[*question, *self.text_ids(answer)] for question, answer in zip(asked, answers, strict=True)]
        ids, mask = self._pad(rows, visual.counts())
        hidden = self._forward(ids, mask, visual, AttentionProbe(last=mask.sum(1) - 1))
        before = len(self._encode(self.format.with_image[0])) - 1
        lengths = torch.tensor([len(question) for question in asked], device=self.device)
        starts = before + visual.valid.sum(1) + lengths
        position = torch.arange(1, ids.shape[1], device=self.device)
        spoken = (position[None] >= starts[:, None]) & mask[:, 1:].bool()
        logits = self.model.lm_head(hidden[:, :-1][spoken])
        return F.cross_entropy(logits.float(), ids[:, 1:][spoken])

    def _forward(
        self, ids: Tensor, mask: Tensor, visual: VisualBatch | None, probe: AttentionProbe
    ) -> Tensor:
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        if visual is not None:
            inputs["mm_encoder_outputs"] = {"image": _encoder_outputs(visual)}
            inputs["image_grid_thw"] = visual.grid.to(self.device)
            inputs["mm_token_type_ids"] = (ids == self.image_token_id).int()
        return self.model.model(**inputs, probe=probe).last_hidden_state

    def tokenize(
        self, texts: Sequence[str], image_tokens: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Token ids and mask (B, T), right-padded; with `image_tokens` each text stands after that many of them."""
        return self._pad([self.text_ids(text) for text in texts], image_tokens)

    def _pad(
        self, texts: Sequence[Sequence[int]], image_tokens: Sequence[int] | None
    ) -> tuple[Tensor, Tensor]:
        before, after = self.format.text_only if image_tokens is None else self.format.with_image
        start, end = self._encode(before), self._encode(after)
        rows = []
        for i, text in enumerate(texts):
            head = start
            if image_tokens is not None:
                place = self.image_start
                head = [*start[:place], *[self.image_token_id] * image_tokens[i], *start[place + 1 :]]
            rows.append([*head, *text, *end])
        length = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
        return ids.to(self.device), mask.to(self.device)

    def text_ids(self, text: str) -> list[int]:
        """Token ids of a user's text, at most MAX_TEXT_TOKENS. Special tokens in it are read as a space."""
        for special in self._specials:
            text = text.replace(special, " ")
        text = text.strip().encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair becomes "?"
        if not text:
            return []
        return self.tokenizer(text, add_special_tokens=False)["input_ids"][:MAX_TEXT_TOKENS]

    def _encode(self, fixed: str) -> list[int]:
        if fixed not in self._ids:
            self._ids[fixed] = self.tokenizer(fixed, add_special_tokens=False)["input_ids"] if fixed else []
        return self._ids[fixed]


def check_keys(source: Path, missing: Any, unexpected: Any, mismatched: Any = ()) -> None:
    """Raise InputError naming every missing, unexpected or misshapen weight of `source`: nothing loads in silence."""
    parts = [
        f"{name} {', '.join(sorted(str(key) for key in keys)[:4])}{' …' if len(keys) > 4 else ''}"
        for name, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched))
        if keys
    ]
    if parts:
        raise InputError(
            f"{source} does not fit its model: weights {'; '.join(parts)}. Save the checkpoint again."
        )


def check_state(source: Path, expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """`check_keys` for the weights `state` that `source` holds against those of the module that takes them."""
    shared = set(expected) & set(state)
    mismatched = {key for key in shared if expected[key].shape != state[key].shape}
    check_keys(source, set(expected) - shared, set(state) - shared, mismatched)


def _encoder_outputs(visual: VisualBatch) -> BaseModelOutputWithPooling:
    counts = visual.counts()

    def split(padded: Tensor) -> Any:
        return tuple(padded[i, :count] for i, count in enumerate(counts))

    if visual.deep:
        return BaseModelOutputWithDeepstackFeatures(
            pooler_output=split(visual.tokens), deepstack_features=[split(layer) for layer in visual.deep]
        )
    return BaseModelOutputWithPooling(pooler_output=split(visual.tokens))


def _prompt_format(tokenizer: Any, config: Any) -> PromptFormat:
    """From the chat template where there is one; else image placeholder, text, end of sequence."""
    if not tokenizer.chat_template:
        ids = (config.vision_start_token_id, config.image_token_id, config.vision_end_token_id)
        names = tokenizer.convert_ids_to_tokens(list(ids))
        if None in names:
            raise InputError(
                f"The tokenizer of this checkpoint does not know the image tokens {ids} of its config.json. "
                "Copy the tokenizer's files beside it."
            )
        placeholder = "".join(names)
        end = tokenizer.eos_token or ""
        return PromptFormat((placeholder, end), ("", end))

    def render(content: list[dict[str, str]]) -> tuple[str, str]:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        before, _, after = rendered.partition(_SENTINEL)
        return before, after

    text = {"type": "text", "text": _SENTINEL}
    return PromptFormat(render([{"type": "image"}, text]), render([text]))


class _Quiet:
    """Holds back transformers' loading report and progress bar; the caller checks the keys itself."""

    def __enter__(self) -> None:
        self.verbosity = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        transformers.logging.set_verbosity(self.verbosity)


def _check_files(checkpoint: Path) -> None:
    """Raise InputError where the tokenizer or the image processor is missing: their loaders do not say which file."""
    for what, names in _NEEDED.items():
        if not any((checkpoint / name).is_file() for name in names):
            raise InputError(f"{checkpoint} lacks its {what} ({' or '.join(names)}). Copy the whole folder.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
