"""The sanity check by shuffled weights (Adebayo et al., 2018, arXiv 1810.03292): does a map depend on the model at all?

It works on a copy of the model in memory; the shared one is read once, under its lock, and never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from ssa_me.attribution.attributing import REST, attribute_with
from ssa_me.attribution.measures import rank_correlation
from ssa_me.attribution.result import Attribution
from ssa_me.attribution.watching import Cancelled, Progress, Watch
from ssa_me.errors import InputError
from ssa_me.passes import Passes

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder

LIKE = 0.5


@dataclass(frozen=True)
class Sanity:
    """stages: what was shuffled so far → Spearman's ρ of |map| over image tokens with the |map| then, None where a map
    was constant or could not be made; at the last stage everything is. passed: whether ρ lies below 0.5 then."""

    stages: tuple[tuple[str, float | None], ...]

    @property
    def passed(self) -> bool | None:
        last = self.stages[-1][1]
        return None if last is None else last < LIKE

    @property
    def reason(self) -> str:
        """The outcome as a sentence with its numbers."""
        last = self.stages[-1][1]
        if last is None:
            return "The map is the same everywhere before or after, so that nothing can be compared."
        if last < LIKE:
            return f"With all weights shuffled the map becomes another one (ρ {last:.2f}): it explains the model."
        return (
            f"With all weights shuffled the map stays much the same (ρ {last:.2f}): it explains the image more than the "
            "model."
        )

    def to_json(self) -> dict[str, Any]:
        return {"stages": dict(self.stages), "passed": self.passed, "reason": self.reason}


def sanity_check(
    embedder: SalientEmbedder,
    image: Image.Image,
    attribution: Attribution,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Sanity:
    """Make the same map with weights shuffled from the output down: the later half of the language layers, all of them
    with SSA-ME's parts, then everything. InputError where there is no memory for a copy of the model."""
    with embedder.exact() as passes:
        copied = passes.copied()
    generator = torch.Generator().manual_seed(attribution.settings.seed)
    settings = attribution.settings
    if attribution.parts and not settings.regions:
        boxes = tuple((part.name, part.bbox) for part in attribution.parts if part.name != REST)
        settings = replace(settings, regions=boxes)
    stages: list[tuple[str, float | None]] = []
    groups, each = _groups(copied), attribution.evaluations
    for number, (name, modules) in enumerate(groups):
        _shuffle(modules, generator)
        watch = Watch(each, _part(progress, number * each, len(groups) * each), cancelled)
        try:
            made = attribute_with(
                lambda: nullcontext(copied),
                image,
                attribution.text,
                attribution.method,
                attribution.target,
                attribution.version,
                settings,
                watch,
            )
        except Cancelled:
            raise
        except InputError:  # no subject is left, say
            stages.append((name, None))
            continue
        stages.append((name, rank_correlation(np.abs(attribution.values), np.abs(made.values))))
    return Sanity(tuple(stages))


def _part(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one stage as progress of all."""
    if progress is None:
        return None
    return lambda done, _: progress(min(total, before + done), total)


def _groups(passes: Passes) -> list[tuple[str, list[nn.Module]]]:
    """What is shuffled at each stage, each named by all that is then."""
    backbone = passes.backbone
    layers = list(backbone.model.model.get_submodule(f"{backbone.traits.language}.layers"))
    half = len(layers) // 2
    return [
        ("later language layers", layers[half:]),
        ("all language layers and parts", [*layers[:half], passes.parts]),
        ("everything", [backbone.model]),
    ]


def _shuffle(modules: Iterable[nn.Module], generator: torch.Generator) -> None:
    """Every weight's numbers in another order, so that their scale stays and their meaning goes."""
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
