"""CLIPSeg (Lüddecke & Ecker, CVPR 2022) as an expert: a map for any phrase, by one small model. Knows no tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import CLIPSegForImageSegmentation

from ssa_me.devices import Device, in_batches
from ssa_me.salience.experts.hub import Loaded, load
from ssa_me.salience.experts.protocol import VisualExpert

Pair = tuple[Image.Image, str]


class CLIPSegExpert(VisualExpert):
    """The model's own probability of each place to belong to the phrase, over the whole image, in a square map.

    Make one with `open`. batch: how many pairs of image and phrase go through at once; halved where memory runs out.
    """

    def __init__(self, loaded: Loaded, batch: int = 32) -> None:
        self._loaded, self._batch = loaded, batch

    @classmethod
    def open(cls, source: str, device: Device, batch: int = 32) -> CLIPSegExpert:
        """From a folder or an id on the hub. Raises InputError where it cannot be loaded."""
        return cls(load(source, CLIPSegForImageSegmentation, device.device, device.dtype), batch)

    @property
    def version(self) -> str:
        return f"clipseg-1-{self._loaded.fingerprint}"

    def maps(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        pairs = [(image, phrase) for image, named in zip(images, phrases, strict=True) for phrase in named]
        rows = in_batches(self._probabilities, pairs, self._batch)
        side = self._side()
        ends = np.cumsum([len(named) for named in phrases])
        empty = np.zeros((0, side, side), np.float32)
        return [
            np.stack(part) if part else empty
            for part in (rows[end - len(named) : end] for end, named in zip(ends, phrases, strict=True))
        ]

    def _side(self) -> int:
        size = self._loaded.image_processor.size
        return int(size["height"])

    @torch.inference_mode()
    def _probabilities(self, pairs: Sequence[Pair]) -> list[np.ndarray]:
        model = self._loaded.model
        distinct = {id(image): image for image, _ in pairs}
        places = {key: place for place, key in enumerate(distinct)}
        pixels = self._loaded.image_processor(images=list(distinct.values()), return_tensors="pt")[
            "pixel_values"
        ]
        texts = self._loaded.tokenizer(
            [phrase for _, phrase in pairs],
            padding=True,
            truncation=True,
            max_length=model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        logits = model(
            pixel_values=pixels[[places[id(image)] for image, _ in pairs]].to(model.device, model.dtype),
            input_ids=texts["input_ids"].to(model.device),
            attention_mask=texts["attention_mask"].to(model.device),
        ).logits
        return list(logits.float().sigmoid().cpu().numpy())
