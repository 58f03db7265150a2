"""Which device and precision to compute in, with the reason beside the choice, and work cut to what its memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from ssa_me.errors import InputError

_BF16 = ("amx_bf16", "avx512_bf16", "bf16")
"""What processors call it, x86's first, then ARM's."""

Item = TypeVar("Item")
Result = TypeVar("Result")


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


def multiplies_16_bits(device: torch.device) -> bool:
    """Whether the hardware itself multiplies bf16 matrices. Where it does not, a product in 16 bits takes many times as long
    as in full precision (measured with AVX2 alone: 20 to 80 times)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in _BF16)


def free_bytes(device: torch.device) -> int:
    """Memory that is free on `device`; on a CPU what the kernel counts as available, 2 GiB where it does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 2 * 2**30
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 2 * 2**30)


def in_batches(
    work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], size: int
) -> list[Result]:
    """`work` over `items` in batches of `size`, its results in order; a batch that does not fit into memory is halved,
    and so are those after it. Raises what `work` raises, out of memory only where a single item does not fit."""
    results: list[Result] = []
    while len(results) < len(items):
        batch = items[len(results) : len(results) + size]
        try:
            results += work(batch)
            continue
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
        size = (
            len(batch) // 2
        )  # out here, where the failed batch's tensors are no longer held by its traceback
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return results


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the machine, had no memory left for what raised `error`."""
    text = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
    )
