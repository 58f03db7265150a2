"""A transformers image-text-to-text model, split into one vision pass and any number of language passes.

It renders prompts, places a box under every image token, and asks the language layers for attention rows. It knows
nothing of files, adapters, salience or similarity.

Shapes: B samples, N image tokens (padded to the longest, raster order), T tokens, D width, L language layers, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from ssa_me.attention import ATTENTION, AttentionProbe
from ssa_me.checkpoints import Pooling, Reading
from ssa_me.errors import InputError, first_line
from ssa_me.families import Family, family_of, named, to_pixels
from ssa_me.loading import load_checkpoint
from ssa_me.outputs import LanguagePass, VisualBatch, token_boxes

MAX_TEXT_TOKENS = 512
_SENTINEL = "\x02text\x02"


@dataclass(frozen=True)
class PromptFormat:
    """The strings around the text: `(before, after)`, with an image (its placeholder once in `before`) and without."""

    with_image: tuple[str, str]
    text_only: tuple[str, str]


class Backbone:
    """A checkpoint's model, tokenizer and image processor. Not thread-safe: its owner holds the lock."""

    def __init__(
        self, model: Any, tokenizer: Any, image_processor: Any, reading: Reading | None = None
    ) -> None:
        self.reading = reading or Reading()
        self.family = str(model.config.model_type)
        self.traits = family_of(self.family)
        model.set_attn_implementation(ATTENTION)
        model.config.vision_config._attn_implementation = self.traits.vision_attention
        self.traits.prepare(model)
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = self.traits.processor(image_processor, model.config)
        self.merge = self.traits.merge(model.config)
        self.image_token_id = int(model.config.image_token_id)
        trailing = self.traits.trailing(model)
        self.trailing = 0 if trailing is None else len(trailing)
        self.format = _prompt_format(tokenizer, model.config, self.traits, self.reading)
        self._specials = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
        self._end_id: int | None = tokenizer.eos_token_id
        self._ids: dict[str, list[int]] = {}
        before = self._encode(self.format.with_image[0])
        if before.count(self.image_token_id) != 1:
            raise InputError(f"The chat template of this checkpoint places no single image token: {before}.")
        self.image_start = before.index(self.image_token_id)

    @classmethod
    def load(cls, checkpoint: Path, device: torch.device, dtype: torch.dtype) -> Backbone:
        """Load a checkpoint folder as transformers saves it, or one with a LoRA adapter alone, which is merged into its
        model. InputError names what is missing or does not fit."""
        loaded = load_checkpoint(checkpoint, dtype)
        return cls(loaded.model.to(device).eval(), loaded.tokenizer, loaded.image_processor, loaded.reading)

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

    def pixels(self, images: Sequence[Image.Image], as_seen: bool = False) -> tuple[Tensor, Tensor]:
        """Resized, normalised patches (P, d) of all images in turn and their grids (B, 3), on the CPU. as_seen: the images
        already have the size that the model sees them at, and keep it; resized once more some would get another one."""
        try:
            kept = {"do_resize": False} if as_seen else {}
            inputs = self.image_processor(images=list(images), return_tensors="pt", **kept)
        except ValueError as error:  # such as an aspect ratio beyond 200
            raise InputError(f"The image cannot be read by this model: {first_line(error)}") from error
        return inputs["pixel_values"], inputs["image_grid_thw"]

    def vision_pass(self, images: Sequence[Image.Image]) -> VisualBatch:
        """The image tokens of upright RGB images, in one pass."""
        pixels, grid = self.pixels(images)
        return self.encode_pixels(pixels, grid, [image.size for image in images])

    def encode_pixels(self, pixels: Tensor, grid: Tensor, sizes: Sequence[tuple[int, int]]) -> VisualBatch:
        """`vision_pass` from patches that `pixels` made. `sizes` are (width, height) of the images in pixels."""
        features = self.traits.features(self.model, pixels.to(self.device, self.dtype), grid.to(self.device))
        tokens = nn.utils.rnn.pad_sequence(list(features.tokens), batch_first=True)
        counts = torch.tensor([len(t) for t in features.tokens])
        boxes = np.zeros((len(sizes), tokens.shape[1], 4), dtype=np.float32)
        for i, size in enumerate(sizes):
            boxes[i, : counts[i]] = token_boxes(grid[i].tolist(), self.merge, size)
        return VisualBatch(
            tokens=tokens,
            valid=(torch.arange(tokens.shape[1])[None] < counts[:, None]).to(self.device),
            deep=tuple(nn.utils.rnn.pad_sequence(list(layer), batch_first=True) for layer in features.deep),
            grid=grid,
            boxes=boxes,
            sizes=tuple(sizes),
        )

    def to_pixels(self, patches: Tensor, grid: Tensor) -> Tensor:
        """Numbers that belong to one image's patches (P, d) of grid (3,), as `pixels` orders them, on the pixels (3, h, w)
        of the image as the model sees it, resized as a whole; summed over the times that a patch holds a pixel."""
        frames = self.traits.frames(self.model.config)
        return to_pixels(patches, grid.tolist(), self.merge, frames, self.traits.blocks)

    @contextmanager
    def embeddings_replaced(self, states: Tensor) -> Iterator[None]:
        """Whatever is read inside gets `states` (B, T, D) in place of its tokens' input embeddings."""
        hook = self.model.get_input_embeddings().register_forward_hook(lambda layer, ids, output: states)
        try:
            yield
        finally:
            hook.remove()

    def language_pass(
        self,
        texts: Sequence[str],
        visual: VisualBatch | None = None,
        key_bias: Tensor | None = None,
        collect_rows: bool = False,
        heads: bool = False,
    ) -> LanguagePass:
        """Read B texts, each after its image where `visual` is given (an empty text is the image alone).

        key_bias: (B, N) added to the attention logits of image tokens in every layer. heads: the rows that are
        collected are those of each head. Texts are cut at MAX_TEXT_TOKENS. A sample's result does not depend on its
        batch.
        """
        ids, mask = self.tokenize(texts, visual.counts() if visual is not None else None)
        last = last_positions(ids, mask, self._end_id if self.reading.pooling == "eos" else None)
        probe = AttentionProbe(last=last, collect=collect_rows, heads=heads)
        images = slice(
            self.image_start, self.image_start + (visual.tokens.shape[1] if visual is not None else 0)
        )
        if visual is not None and key_bias is not None:
            probe.key_bias = F.pad(
                key_bias.masked_fill(~visual.valid, 0.0), (images.start, ids.shape[1] - images.stop)
            )
        output = self._forward(ids, mask, visual, probe)
        pooled = pool(output, mask, last, self.reading.pooling)
        if visual is None:
            return LanguagePass(pooled)
        hidden = output[:, images] * visual.valid[..., None]
        rows = None
        if collect_rows:
            stacked = torch.stack([probe.rows[layer] for layer in sorted(probe.rows)], dim=1)
            between = (1,) * (stacked.ndim - 2)
            rows = stacked[..., images] * visual.valid.view(len(visual), *between, -1)
        return LanguagePass(pooled, hidden, rows)

    def speak(self, texts: Sequence[str], bucket: int = 48) -> Tensor:
        """(B, D) float32 of unit length of texts without an image, read in buckets of texts about as long, so that a
        long one does not pad all others."""
        order = sorted(range(len(texts)), key=lambda i: len(self.text_ids(texts[i])))
        parts = [
            self.language_pass([texts[i] for i in order[start : start + bucket]]).embedding()
            for start in range(0, len(order), bucket)
        ]
        place = torch.argsort(torch.tensor(order, device=self.device))
        return torch.cat(parts)[place]

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
        starts = before + visual.valid.sum(1) + self.trailing + lengths
        position = torch.arange(1, ids.shape[1], device=self.device)
        spoken = (position[None] >= starts[:, None]) & mask[:, 1:].bool()
        logits = self.model.lm_head(hidden[:, :-1][spoken])
        return F.cross_entropy(logits.float(), ids[:, 1:][spoken])

    def answer_tokens(self, answers: Sequence[str]) -> int:
        """How many tokens `answer_loss` predicts for these answers: theirs and those that end each."""
        end = len(self._encode(self.format.with_image[1]))
        return sum(len(self.text_ids(answer)) + end for answer in answers)

    def inputs(self, ids: Tensor, mask: Tensor, visual: VisualBatch | None) -> dict[str, Any]:
        """What the model is called with for token ids and mask (B, T) that hold the image tokens of `visual`."""
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if visual is not None:
            inputs["mm_encoder_outputs"] = {"image": self._encoder_outputs(visual)}
            placed = (ids == self.image_token_id) & (not self.reading.flat)
            inputs |= self.traits.inputs(visual.grid.to(self.device), placed)
        return inputs

    def _forward(
        self, ids: Tensor, mask: Tensor, visual: VisualBatch | None, probe: AttentionProbe
    ) -> Tensor:
        inputs = self.inputs(ids, mask, visual)
        return self.model.model(**inputs, use_cache=False, probe=probe).last_hidden_state

    def _encoder_outputs(self, visual: VisualBatch) -> BaseModelOutputWithPooling:
        """The image tokens as the model's own vision pass would return them, with those that have no place."""
        counts, trailing = visual.counts(), self.traits.trailing(self.model)

        def split(padded: Tensor) -> list[Tensor]:
            return [padded[i, :count] for i, count in enumerate(counts)]

        tokens = split(visual.tokens)
        if trailing is not None:
            tokens = [torch.cat([own, trailing.to(own.dtype)]) for own in tokens]
        packed = self.traits.pack(tokens)
        if visual.deep:
            return BaseModelOutputWithDeepstackFeatures(
                pooler_output=packed,
                deepstack_features=[self.traits.pack(split(deep)) for deep in visual.deep],
            )
        return BaseModelOutputWithPooling(pooler_output=packed)

    def tokenize(
        self, texts: Sequence[str], image_tokens: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Token ids and mask (B, T), right-padded; with `image_tokens` each text stands after that many of them, and
        after the `trailing` ones that have no place in the image."""
        said = (
            texts
            if image_tokens is None
            else [text if text.strip() else self.reading.alone for text in texts]
        )
        return self._pad([self.text_ids(text) for text in said], image_tokens)

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
                count = image_tokens[i] + self.trailing
                head = [*start[:place], *[self.image_token_id] * count, *start[place + 1 :]]
            rows.append([*head, *text, *end])
        length = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
        return ids.to(self.device), mask.to(self.device)

    def text_ids(self, text: str) -> list[int]:
        """Token ids of a user's text, at most MAX_TEXT_TOKENS. Special tokens in it are read as a space."""
        text = self._plain(text)
        if not text:
            return []
        return self.tokenizer(text, add_special_tokens=False)["input_ids"][:MAX_TEXT_TOKENS]

    def text_spans(self, text: str) -> tuple[str, int, list[tuple[int, int]]]:
        """How a text without an image is read: the text without special tokens, the position of its first token among
        those of `tokenize`, and for each token of it where it begins and ends among the text's characters."""
        text = self._plain(text)
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans = [(int(a), int(b)) for a, b in encoded["offset_mapping"][:MAX_TEXT_TOKENS]]
        return text, len(self._encode(self.format.text_only[0])), spans

    def _plain(self, text: str) -> str:
        for special in self._specials:
            text = text.replace(special, " ")
        return text.strip().encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair becomes "?"

    def _encode(self, fixed: str) -> list[int]:
        if fixed not in self._ids:
            self._ids[fixed] = self.tokenizer(fixed, add_special_tokens=False)["input_ids"] if fixed else []
        return self._ids[fixed]


def last_positions(ids: Tensor, mask: Tensor, end: int | None = None) -> Tensor:
    """(B,) the position of each row's last real token, or of its last token `end` where it has one. ids, mask (B, T)."""
    wanted = mask.bool()
    if end is not None:
        ends = wanted & (ids == end)
        wanted = torch.where(ends.any(1, keepdim=True), ends, wanted)
    steps = torch.arange(ids.shape[1], device=ids.device)
    return (wanted * (steps + 1)).amax(1) - 1


def pool(states: Tensor, mask: Tensor, last: Tensor, pooling: Pooling) -> Tensor:
    """(B, D) from states (B, T, D) and mask (B, T): those at `last` (B,), or the mean over real tokens."""
    if pooling == "mean":
        weights = mask[..., None].to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)
    return states[torch.arange(len(states), device=states.device), last]


def _prompt_format(tokenizer: Any, config: Any, family: Family, reading: Reading) -> PromptFormat:
    """The checkpoint's own prompt where one is known, else its chat template, else the family's."""
    if reading.prompt is not None:
        return PromptFormat(*reading.rendered())
    image, *_ = named(tokenizer, config.image_token_id)
    start, end = family.around(tokenizer, config)
    wrapped = f"{start}{image}{end}"
    if not tokenizer.chat_template:
        eos = tokenizer.eos_token or ""
        before, _, after = family.prompt.format(image=wrapped, text=_SENTINEL, end=eos).partition(_SENTINEL)
        return PromptFormat((before, after), ("", after))

    def render(content: list[dict[str, str]]) -> tuple[str, str]:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        if not family.template_wraps:
            rendered = rendered.replace(image, wrapped)
        before, _, after = rendered.partition(_SENTINEL)
        return before, after

    text = {"type": "text", "text": _SENTINEL}
    return PromptFormat(render([{"type": "image"}, text]), render([text]))
