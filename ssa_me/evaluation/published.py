"""Scores that others published on MMEB's 36 image subsets, to stand beside a run of ours. Hit@1 in percent.

As reported by their authors, under their own prompts and resolutions: orientation, not a controlled comparison. Cells
without a published number, or whose number does not add up with the others, are None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ssa_me.mmeb_subsets import SUBSETS


@dataclass(frozen=True)
class Published:
    """One model: means over the subsets of each meta-task, in and out of distribution, and over all 36."""

    model: str
    size: str
    classification: float
    vqa: float
    retrieval: float
    grounding: float
    ind: float | None
    ood: float | None
    overall: float
    source: str

    def to_json(self) -> dict[str, Any]:
        """The layout of a model of `mmeb --json`, in shares like there."""
        tasks = {
            "Classification": self.classification,
            "VQA": self.vqa,
            "Retrieval": self.retrieval,
            "Grounding": self.grounding,
        }
        return {
            "model": self.model,
            "size": self.size,
            "meta_tasks": {task: _share(value) for task, value in tasks.items()},
            "ind": _share(self.ind),
            "ood": _share(self.ood),
            "overall": _share(self.overall),
            "source": self.source,
        }


_FIRST, _SECOND = "VLM2Vec (arXiv 2410.05160)", "VLM2Vec-V2 (arXiv 2507.04590)"

PUBLISHED = (
    Published("CLIP-L", "0.4B", 42.8, 9.1, 53.0, 51.8, 37.1, 38.7, 37.8, _FIRST),
    Published("VLM2Vec Qwen2-VL", "2B", 59.0, 49.4, 65.4, 73.4, None, None, 59.3, _FIRST),
    Published("VLM2Vec-V2", "2B", 62.9, 56.3, 69.5, 77.3, 68.8, 60.1, 64.9, _SECOND),
    Published("LLaVE", "2B", 62.1, 60.2, 65.2, 84.9, 69.4, 59.8, 65.2, "LLaVE"),
    Published("B3", "2B", 67.0, 61.2, 70.9, 79.9, 72.1, 63.1, 68.1, "B3 (arXiv 2505.11293)"),
    Published("RzenEmbed", "2B", 68.5, 66.3, 74.5, 90.3, 76.1, 67.4, 72.3, "RzenEmbed (arXiv 2510.27350)"),
    Published("Qwen3-VL-Embedding", "2B", 70.3, 74.3, 74.8, 88.5, None, None, 75.0, "Qwen3-VL-Embedding"),
    Published("VLM2Vec Qwen2-VL", "7B", 62.6, 57.8, 69.9, 81.7, None, None, 65.8, _FIRST),
    Published("UniME-V2 LLaVA-OV", "7B", 65.3, 67.6, 72.9, 90.2, 74.8, 66.7, 71.2, "UniME-V2"),
    Published("B3", "7B", 70.0, 66.5, 74.1, 84.6, 75.9, 67.1, 72.0, "B3 (arXiv 2505.11293)"),
    Published("RzenEmbed", "7B", 70.6, 71.7, 78.5, 92.1, 78.5, 72.7, 75.9, "RzenEmbed (arXiv 2510.27350)"),
    Published("Qwen3-VL-Embedding", "8B", 74.2, 81.1, 80.0, 92.2, None, None, 80.1, "Qwen3-VL-Embedding"),
)  # fmt: skip


def published_beside(subsets: Iterable[str]) -> list[dict[str, Any]]:
    """The published rows where one of MMEB's own subsets was run, else none."""
    return [row.to_json() for row in PUBLISHED] if any(name in SUBSETS for name in subsets) else []


def _share(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 4)
