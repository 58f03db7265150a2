"""What is loaded, in words and numbers for people: name, device, size, versions. It loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ssa_me.backbone import Backbone
from ssa_me.checkpoint import BASELINE, SSA_ME, Settings, fingerprints
from ssa_me.checkpoints import name_of
from ssa_me.devices import Device

TITLES: Mapping[str, str] = {BASELINE: "Baseline", SSA_ME: "SSA-ME"}


@dataclass(frozen=True)
class ModelInfo:
    """What is loaded, where it runs and why. fingerprints and trained: version → hash; has a trained adapter. titles:
    version → its name for people. heads: version → fingerprint of the model whose salience head finds its subjects, where
    that is not SSA-ME's here."""

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
    titles: Mapping[str, str] = field(default_factory=lambda: dict(TITLES))
    heads: Mapping[str, str] = field(default_factory=dict)


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
