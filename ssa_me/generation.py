"""Greedy answers of the language model to prompts, with or without an image. It knows no subjects, cache or lock.

The answer is the backbone's own: its owner switches adapters off first, and calls it under a lock. The vision features
are those of `Backbone.vision_pass`, so an image is encoded once for any number of prompts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from PIL import Image
from transformers import GenerationConfig

from ssa_me.backbone import Backbone
from ssa_me.devices import in_batches
from ssa_me.outputs import VisualBatch

MOST_TOKENS = 64
"""Of one answer; six short phrases need fewer."""


def answers(
    backbone: Backbone,
    prompts: Sequence[str],
    images: Sequence[Image.Image | None],
    most: int = MOST_TOKENS,
    batch: int = 16,
) -> list[str]:
    """The answer to each prompt about its image, None being none. Batches that do not fit into memory are halved."""
    result = [""] * len(prompts)
    pictured = [i for i, image in enumerate(images) if image is not None]
    spoken = [i for i, image in enumerate(images) if image is None]

    def seen(part: Sequence[int]) -> list[str]:
        visual = backbone.vision_pass([image for i in part if (image := images[i]) is not None])
        return answer(backbone, [prompts[i] for i in part], visual, most)

    def read(part: Sequence[int]) -> list[str]:
        return answer(backbone, [prompts[i] for i in part], None, most)

    for places, work in ((pictured, seen), (spoken, read)):
        for i, text in zip(places, in_batches(work, places, batch), strict=True):
            result[i] = text
    return result


def answer(
    backbone: Backbone, prompts: Sequence[str], visual: VisualBatch | None, most: int = MOST_TOKENS
) -> list[str]:
    """The most likely next tokens, one after another, up to the end of the sequence or `most` of them; B answers.

    Where the checkpoint has a chat template the assistant's turn follows the prompt; without one the answer follows it
    at once, as the mini model was trained. A checkpoint without a language head answers nothing.
    """
    if backbone.reading.headless:
        return [""] * len(prompts)
    tokenizer = backbone.tokenizer
    stops = {tokenizer.eos_token_id, *_listed(backbone.model.generation_config.eos_token_id)} - {None}
    ids, mask = _left_padded(backbone, prompts, visual, stops)
    config = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=sorted(stops),
        pad_token_id=tokenizer.pad_token_id or 0,
    )
    with torch.inference_mode():
        output = backbone.model.generate(**backbone.inputs(ids, mask, visual), generation_config=config)
    return [
        text.strip() for text in tokenizer.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
    ]


def _left_padded(
    backbone: Backbone, prompts: Sequence[str], visual: VisualBatch | None, stops: Collection[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (B, T) of the prompts with their ends side by side, where the answers begin.

    What ends the sequence in the prompt's format comes after the answer, so that it is left out here.
    """
    ids, mask = backbone.tokenize(prompts, visual.counts() if visual is not None else None)
    rows = [row[: int(kept.sum())].tolist() for row, kept in zip(ids, mask, strict=True)]
    for row in rows:
        while row and row[-1] in stops:
            row.pop()
    length = max(len(row) for row in rows)
    pad = backbone.tokenizer.pad_token_id or 0
    padded = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
    kept = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return padded.to(ids.device), kept.to(ids.device)


def _listed(value: int | list[int] | None) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]
