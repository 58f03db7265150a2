"""What is loaded, in words and numbers for people: name, device, size, versions. It loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssa_me.backbone import Backbone
from ssa_me.checkpoint import SSA_ME, Settings, fingerprints
from ssa_me.checkpoints import name_of
from ssa_me.devices import Device


@dataclass(frozen=True)
class ModelInfo:
    """What is loaded, where it runs and why. fingerprints and trained: version → hash; has a trained adapter."""

    name: str
    checkpoint: str
    family: str
    device: str
    precision: str
    reason: str
    parameters: int
    dimension: int
    fingerprints: Mapping[str, str]
    trained: Mapping[str, bool]
    knows: str


def describe(
    folder: Path, device: Device, backbone: Backbone, trained: Mapping[str, bool], settings: Settings
) -> ModelInfo:
    """Of the checkpoint in `folder`, loaded as `backbone` on `device`. trained: version → whether it has an adapter."""
    knows = settings.description
    if not trained[SSA_ME]:
        knows = "A backbone without adapters: the baseline is the model as it is, SSA-ME runs training-free."
    return ModelInfo(
        name=name_of(folder),
        checkpoint=str(folder),
        family=backbone.family,
        device=str(device.device),
        precision=device.precision,
        reason=device.reason,
        parameters=sum(p.numel() for p in backbone.model.parameters()),
        dimension=backbone.width,
        fingerprints=fingerprints(folder),
        trained=dict(trained),
        knows=knows,
    )
