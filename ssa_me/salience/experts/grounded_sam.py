"""Grounding DINO (arXiv 2303.05499) finds boxes for a phrase, SAM (arXiv 2304.02643) their masks. Knows no tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import GroundingDinoForObjectDetection, SamModel

from ssa_me.devices import Device, in_batches
from ssa_me.salience.experts.hub import Loaded, load
from ssa_me.salience.experts.protocol import VisualExpert, fit

MOST_BOXES = 10
"""Of one phrase: a crowd beyond these is left out, the least certain first."""


@dataclass(frozen=True)
class Detection:
    """Boxes `(n, 4)` x0, y0, x1, y1 in pixels of the image, and the certainty `(n,)` of each, above the threshold."""

    boxes: Tensor
    scores: Tensor


class GroundedSamExpert(VisualExpert):
    """A phrase's map is the certainty of its detections, each inside its mask; nothing detected is all dark.

    Each phrase is asked for alone, so that a map does not depend on the phrases beside it. threshold: the least
    certainty of a detection. batch: how many images, or pairs of image and phrase, go through at once; halved where
    memory runs out. longest: longer side of the maps, in cells. Make one with `open`.
    """

    def __init__(
        self, detector: Loaded, segmenter: Loaded, threshold: float = 0.3, longest: int = 256, batch: int = 8
    ) -> None:
        self._detector, self._segmenter = detector, segmenter
        self._threshold, self._longest, self._batch = threshold, longest, batch

    @classmethod
    def open(cls, detector: str, segmenter: str, device: Device, threshold: float = 0.3) -> GroundedSamExpert:
        """From two folders or ids on the hub. Raises InputError where one of them cannot be loaded."""
        return cls(
            # the deformable attention of the detector has no half precision on a CPU, and little to gain by it
            load(detector, GroundingDinoForObjectDetection, device.device, torch.float32),
            load(segmenter, SamModel, device.device, device.dtype, text=False),
            threshold,
        )

    @property
    def version(self) -> str:
        weights = f"{self._detector.fingerprint}-{self._segmenter.fingerprint}"
        return f"grounded-sam-1-{weights}-{self._threshold:g}-{self._longest}"

    @torch.inference_mode()
    def maps(self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]) -> list[np.ndarray]:
        found = self._detect([(i, phrase) for i, named in enumerate(phrases) for phrase in named], images)
        result = []
        for i, (image, named) in enumerate(zip(images, phrases, strict=True)):
            width, height = fit(image.width, image.height, self._longest)
            maps = np.zeros((len(named), height, width), np.float32)
            detections = [found[i, phrase] for phrase in named]
            if sum(len(detection.scores) for detection in detections):
                masks = iter(self._segment(image, torch.cat([d.boxes for d in detections])))
                for covered, detection in zip(maps, detections, strict=True):
                    for score in detection.scores.tolist():
                        np.maximum(covered, score * next(masks), out=covered)
            result.append(maps)
        return result

    def _detect(
        self, pairs: Sequence[tuple[int, str]], images: Sequence[Image.Image]
    ) -> dict[tuple[int, str], Detection]:
        """Images of one size go together: padding would reach into the windows of the detector's own tower."""
        found: dict[tuple[int, str], Detection] = {}
        for size in dict.fromkeys(image.size for image in images):
            alike = list(dict.fromkeys(pair for pair in pairs if images[pair[0]].size == size))
            outcome = in_batches(lambda part: self._detect_alike(part, images), alike, self._batch)
            found |= dict(zip(alike, outcome, strict=True))
        return found

    def _detect_alike(
        self, pairs: Sequence[tuple[int, str]], images: Sequence[Image.Image]
    ) -> list[Detection]:
        model, size = self._detector.model, images[pairs[0][0]].size
        inputs = self._detector.image_processor(images=[images[i] for i, _ in pairs], return_tensors="pt")
        texts = self._detector.tokenizer(
            [f"{phrase.lower().strip().rstrip('.')}." for _, phrase in pairs],
            padding=True,
            truncation=True,
            max_length=model.config.max_text_len,
            return_tensors="pt",
        )
        output = model(
            pixel_values=inputs["pixel_values"].to(model.device, model.dtype),
            pixel_mask=inputs["pixel_mask"].to(model.device),
            input_ids=texts["input_ids"].to(model.device),
            attention_mask=texts["attention_mask"].to(model.device),
            token_type_ids=torch.zeros_like(texts["input_ids"]).to(model.device),
        )
        scores = (
            output.logits.float().sigmoid().amax(-1)
        )  # over the phrase's tokens; padding's logits are -inf
        centre, extent = output.pred_boxes.float().split(2, dim=-1)
        corners = torch.cat([centre - extent / 2, centre + extent / 2], dim=-1).clamp(0, 1)
        corners = corners * torch.tensor([*size, *size], device=corners.device)
        found = []
        for boxes, certain in zip(corners, scores, strict=True):
            best = certain.argsort(descending=True, stable=True)[:MOST_BOXES]
            kept = best[certain[best] > self._threshold]
            found.append(Detection(boxes[kept].cpu(), certain[kept].cpu()))
        return found

    def _segment(self, image: Image.Image, boxes: Tensor) -> np.ndarray:
        """The probability of each cell to belong to the thing in each box: `(n, H, W)`. The image is encoded once."""
        model, processor = self._segmenter.model, self._segmenter.image_processor
        inputs = processor(images=[image], return_tensors="pt")
        embedding = model.get_image_embeddings(inputs["pixel_values"].to(model.device, model.dtype))
        reshaped = inputs["reshaped_input_sizes"][0].tolist()
        scale = torch.tensor([reshaped[1] / image.width, reshaped[0] / image.height]).repeat(2)
        width, height = fit(image.width, image.height, self._longest)

        def masks(some: Sequence[Tensor]) -> list[Tensor]:
            asked = (torch.stack(list(some)) * scale)[None].to(model.device, model.dtype)
            logits = model(image_embeddings=embedding, input_boxes=asked, multimask_output=False).pred_masks
            (resized,) = processor.post_process_masks(
                [logits[0].float()], [(height, width)], [reshaped], binarize=False
            )
            return list(resized[:, 0].sigmoid().cpu())

        return torch.stack(in_batches(masks, list(boxes), 4 * self._batch)).numpy()
