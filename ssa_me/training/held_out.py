"""Images that are not trained on, and a light measure of an adapter's stage on them for the log of a run.

It is no evaluation: few images, one caption each, and a peak counts as right where the token under it lies in the region
for the most part. `ssa_me.evaluation` has the measures that are reported. It knows nothing of losses or files.

M images, T texts, R named regions, N image tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ssa_me.backbone import Backbone
from ssa_me.errors import InputError
from ssa_me.outputs import VisualBatch
from ssa_me.samples import Record, read_image_folder
from ssa_me.training.adapter_stages import BaselineStage, SalientStage, encode
from ssa_me.training.data import Prepared, general, prepare
from ssa_me.training.sources import FolderSource, record_texts

CUTOFFS = (1, 5)
_TIE = 1e-6
_BATCH = 32
_MOST_REGIONS = 3  # of an image
_INSIDE = 0.5
"""A token that the region covers at least so much of lies in it."""


def held_out_records(folders: Sequence[Path], held_out: Path | None = None) -> list[Record]:
    """Images with a text or a subject: all of `held_out`, or those of the splits val and test. The order is one of their
    names' hashes, so that the first few are of all kinds."""
    if held_out is not None:
        found = read_image_folder(held_out)
    else:
        found = [r for folder in folders for r in read_image_folder(folder) if r.split in ("val", "test")]
    kept = [record for record in found if record_texts(record)]
    return sorted(kept, key=lambda record: hashlib.sha256(record.file_name.encode()).digest())


@dataclass(frozen=True)
class HeldOutImages:
    """M images ready for the language model, with a text each and the regions of their subjects."""

    visual: VisualBatch
    texts: tuple[str, ...]
    phrases: tuple[str, ...]
    images: tuple[int, ...]
    coverage: tuple[Tensor, ...]

    @classmethod
    def of(cls, records: Sequence[Record], backbone: Backbone) -> HeldOutImages | None:
        """Those of `records` that can be read; None where there are fewer than two, which nothing can be ranked among."""
        source = FolderSource(tuple(records), "held out")
        items = [
            item
            for item in prepare(source, backbone.image_processor, backbone.merge, 0)
            if isinstance(item, Prepared)
        ]
        if len(items) < 2:
            return None
        parts = [encode(backbone, items[i : i + _BATCH]) for i in range(0, len(items), _BATCH)]
        regions = [
            (image, phrase, torch.from_numpy(covered.astype("float32")))
            for image, item in enumerate(items)
            for phrase, covered in list(zip(item.phrases, item.coverage, strict=True))[:_MOST_REGIONS]
            if covered.max(initial=0) >= _INSIDE
        ]
        return cls(
            VisualBatch.join(parts),
            tuple(item.texts[0] for item in items),
            tuple(phrase for _, phrase, _ in regions),
            tuple(image for image, _, _ in regions),
            tuple(covered for _, _, covered in regions),
        )

    def measure(self, stage: BaselineStage | SalientStage) -> dict[str, float]:
        """`recall@k` of texts that look for their image, and `pointing`: how often the peak of attention lies in the region
        of the phrase that was read with the image (absent where no image has a region)."""
        dtype = stage.material.backbone.dtype
        images, places = range(len(self.texts)), range(len(self.phrases))
        seen = torch.cat(
            [stage.read([""] * len(rows), self.visual.select(rows).to(dtype)) for rows in _cut(images)]
        )
        spoken = stage.say(self.texts, _BATCH)
        ranks = ranks_of(spoken.float() @ seen.float().T, self._same())
        found = {f"recall@{k}": float((ranks <= k).float().mean()) for k in CUTOFFS}
        if not self.phrases:
            return found
        hits = []
        for rows in _cut(places):
            visual = self.visual.select([self.images[row] for row in rows])
            attention = stage.look([self.phrases[row] for row in rows], visual.to(dtype)).float()
            upper = attention[:, attention.shape[1] // 2 :].mean(1)
            peaks = upper.argmax(1).tolist()
            hits += [points(self.coverage[row], peak) for row, peak in zip(rows, peaks, strict=True)]
        return found | {"pointing": sum(hits) / len(hits)}

    def _same(self) -> Tensor:
        """(T, M) bool: images whose text is the same as a text's own."""
        said = [general(text) for text in self.texts]
        return torch.tensor([[one == other for other in said] for one in said])


def ranks_of(scores: Tensor, right: Tensor) -> Tensor:
    """(T,) rank of each text's best right image by scores (T, M), right (T, M); ties with a wrong one count against it."""
    right = right.to(scores.device)
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return ((scores >= best - _TIE) & ~right).sum(1) + 1


def points(coverage: Tensor, peak: int) -> bool:
    """Whether the token `peak` lies in a region by its coverage (N,)."""
    return peak < len(coverage) and float(coverage[peak]) >= _INSIDE


def _cut(rows: range) -> list[list[int]]:
    return [list(rows[i : i + _BATCH]) for i in range(0, len(rows), _BATCH)]


def check_held_out(folder: Path | None) -> None:
    """InputError where `folder` is given and holds nothing that can be measured on."""
    if folder is not None and len(held_out_records([], folder)) < 2:
        raise InputError(
            f"{folder} holds fewer than two images with captions or subjects. Give more to --held-out."
        )
