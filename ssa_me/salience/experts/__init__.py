"""Visual experts: where the subjects of an image are, as maps. One protocol, and a way to open one by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ssa_me.devices import Device
from ssa_me.errors import InputError
from ssa_me.salience.experts.annotated import AnnotatedExpert
from ssa_me.salience.experts.cache import CachedExpert
from ssa_me.salience.experts.opencv import OpenCVExpert, salient_subjects, spectral_residual
from ssa_me.salience.experts.protocol import COLOURS, VisualExpert, colour_similarity, colour_words

__all__ = [
    "COLOURS", "EXPERTS", "AnnotatedExpert", "CachedExpert", "OpenCVExpert", "VisualExpert", "colour_similarity",
    "colour_words", "open_expert", "salient_subjects", "spectral_residual",
]  # fmt: skip


def open_expert(name: str, device: Device) -> VisualExpert:
    """The expert that `opencv`, `clipseg:PATH` or `grounded-sam:DINO_PATH,SAM_PATH` names; a path is a folder or an id
    on the hub. Raises InputError where the name makes no sense or the model cannot be loaded."""
    kind, _, sources = name.partition(":")
    if kind not in EXPERTS:
        raise InputError(f"There is no expert {kind!r}. Choose {', '.join(USAGE.values())}.")
    paths = [path.strip() for path in sources.split(",")] if sources else []
    if not all(paths) or len(paths) != USAGE[kind].count("PATH"):
        raise InputError(f"The expert {name!r} is not complete. Write {USAGE[kind]}.")
    return EXPERTS[kind](paths, device)


def _clipseg(paths: list[str], device: Device) -> VisualExpert:
    from ssa_me.salience.experts.clipseg import CLIPSegExpert

    return CLIPSegExpert.open(paths[0], device)


def _grounded_sam(paths: list[str], device: Device) -> VisualExpert:
    from ssa_me.salience.experts.grounded_sam import GroundedSamExpert

    return GroundedSamExpert.open(paths[0], paths[1], device)


EXPERTS: Mapping[str, Callable[[list[str], Device], VisualExpert]] = {
    "opencv": lambda paths, device: OpenCVExpert(),
    "clipseg": _clipseg,
    "grounded-sam": _grounded_sam,
}
USAGE = {"opencv": "opencv", "clipseg": "clipseg:PATH", "grounded-sam": "grounded-sam:DINO_PATH,SAM_PATH"}
