"""Which device and precision to compute in, with the reason beside the choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ssa_me.errors import InputError


@dataclass(frozen=True)
class Device:
    """A torch device, the precision to run a model in there, and why."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    @property
    def precision(self) -> str:
        return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[self.dtype]


def choose_device(wanted: str = "auto") -> Device:
    """`auto`, `cpu`, `cuda` or `cuda:N`. InputError where the wanted one is not there."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return _cuda(torch.device("cuda"), "a GPU was found")
        return Device(torch.device("cpu"), torch.float32, "no GPU was found")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise InputError(f"{wanted!r} is not a device. Use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cpu":
        return Device(device, torch.float32, "the CPU was asked for")
    if device.type != "cuda":
        raise InputError(f"Devices of type {device.type!r} are not supported. Use auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"There is no device {wanted!r} here. Use --device auto or cpu.")
    return _cuda(device, "a GPU was asked for")


def _cuda(device: torch.device, reason: str) -> Device:
    if torch.cuda.is_bf16_supported():
        return Device(device, torch.bfloat16, reason)
    return Device(device, torch.float16, f"{reason}; it has no bf16")
