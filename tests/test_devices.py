"""The device that is chosen, its precision, and the reason that the page shows, with and without a (pretended) GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from ssa_me.devices import choose_device, in_batches, multiplies_16_bits
from ssa_me.errors import InputError


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that torch finds so many GPUs."""

    def pretend(count: int, bf16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)

    return pretend


def described(wanted: str) -> tuple[str, str, str]:
    chosen = choose_device(wanted)
    return str(chosen.device), chosen.precision, chosen.reason


def test_without_a_gpu(gpus):
    gpus(0)
    assert described("auto") == ("cpu", "fp32", "no GPU was found")
    assert described("cpu") == ("cpu", "fp32", "the CPU was asked for")


def test_with_a_gpu(gpus):
    gpus(2)
    assert described("auto") == ("cuda", "bf16", "a GPU was found")
    assert described("cuda:1") == ("cuda:1", "bf16", "a GPU was asked for")
    assert described("cpu") == ("cpu", "fp32", "the CPU was asked for")


def test_an_old_gpu_computes_in_another_precision_and_says_so(gpus):
    gpus(1, bf16=False)
    assert described("auto") == ("cuda", "fp16", "a GPU was found; it has no bf16")


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx2": True, "avx512_f": True}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True, "amx_tile": False}, True),
        ({"neon": True, "bf16": True}, True),
    ],
)
def test_a_cpu_trains_in_16_bits_where_it_multiplies_them(able, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert multiplies_16_bits(torch.device("cpu")) is expected


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_that_only_emulates_16_bits_does_not_train_in_them(native, monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native
    )
    assert multiplies_16_bits(torch.device("cuda")) is native


@pytest.mark.parametrize(("count", "wanted"), [(0, "cuda"), (0, "cuda:0"), (1, "cuda:1")])
def test_a_gpu_that_is_not_there(count, wanted, gpus):
    gpus(count)
    with pytest.raises(InputError, match=f"no device '{wanted}' here"):
        choose_device(wanted)


@pytest.mark.parametrize("wanted", ["gpu", "", "cuda:x", "cpu,cuda"])
def test_not_a_device(wanted):
    with pytest.raises(InputError, match=r"is not a device\. Use auto, cpu"):
        choose_device(wanted)


@pytest.mark.parametrize("wanted", ["mps", "meta"])
def test_devices_that_are_not_supported(wanted):
    with pytest.raises(InputError, match=f"type '{wanted}' are not supported"):
        choose_device(wanted)


def halving(
    limit: int, error: type[Exception], text: str
) -> tuple[list[int], Callable[[Sequence[int]], list[int]]]:
    """Work that squares numbers and fails with `error` on more than `limit` of them, and the sizes it was given."""
    sizes: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > limit:
            raise error(text)
        return [item**2 for item in items]

    return sizes, work


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.OutOfMemoryError, "CUDA"),
        (RuntimeError, "[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_batches_halve_where_memory_runs_out(error, text):
    sizes, work = halving(3, error, text)
    assert in_batches(work, range(10), 8) == [n**2 for n in range(10)]
    assert sizes == [8, 4, 2, 2, 2, 2, 2]


def test_what_does_not_fit_alone_is_raised_and_so_is_any_other_error():
    with pytest.raises(torch.OutOfMemoryError):
        in_batches(halving(0, torch.OutOfMemoryError, "full")[1], range(4), 4)
    sizes, work = halving(3, RuntimeError, "shapes do not fit")
    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(work, range(4), 4)
    assert sizes == [4]
    assert in_batches(work, [], 4) == []
