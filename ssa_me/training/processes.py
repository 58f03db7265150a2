"""What the processes of one run tell each other: representations with their gradient, gradients, losses, words.

All processes compute the same loss over the whole batch, each from its own rows. The gradient of a run is the mean of
its processes' gradients; `gather_rows` leads the gradients of all processes back to a row's owner, so that this mean is
that of one process with the whole batch. With one process everything here is the identity. It knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

T = TypeVar("T")


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def own() -> int:
    """The number of this process among them, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share(length: int, parts: int, part: int) -> range:
    """The places that are the `part`-th of `parts` nearly equal, contiguous shares of `length`."""
    return range(length * part // parts, length * (part + 1) // parts)


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (n, …) of all processes, in their order: (Σn, …). Their gradient is the sum over all processes."""
    if count() == 1:
        return rows
    if not rows.requires_grad:  # all processes take part in the backward pass, those with no row too
        rows = rows.detach().requires_grad_()
    lengths = torch.zeros(count(), dtype=torch.long, device=rows.device)
    lengths[own()] = len(rows)
    distributed.all_reduce(lengths)
    return _GatherRows.apply(rows, tuple(int(n) for n in lengths.tolist()))


def gather(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`gather_rows` of each; all processes have the same names."""
    return {name: gather_rows(rows) for name, rows in tensors.items()}


def gather_objects(values: Sequence[T]) -> list[T]:
    """The small things of all processes, in their order."""
    if count() == 1:
        return list(values)
    everywhere: list[Any] = [None] * count()
    distributed.all_gather_object(everywhere, list(values))
    return [value for several in everywhere for value in several]


def wait() -> None:
    """Until every process has come here."""
    if count() > 1:
        distributed.barrier()


def same_start(tensors: Iterable[Tensor]) -> None:
    """Give every process the first one's values."""
    if count() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, 0)


def mean(values: Tensor) -> Tensor:
    """The mean of the processes' values, everywhere the same."""
    if count() > 1:
        distributed.all_reduce(values)
        values /= count()
    return values


def mean_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients; who has none counts as 0.

    A parameter without a gradient anywhere keeps none, as with one process.
    """
    if count() == 1:
        return
    every = list(parameters)
    if not every:
        return
    there = torch.tensor([float(p.grad is not None) for p in every], device=every[0].device)
    distributed.all_reduce(there)
    for parameter, somewhere in zip(every, there.tolist(), strict=True):
        if somewhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            mean(parameter.grad)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: tuple[int, ...]) -> Tensor:
        ctx.lengths = lengths
        padded = rows.new_zeros(max(lengths), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in lengths]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous().clone()
        distributed.all_reduce(gradient)
        first = sum(ctx.lengths[: own()])
        return gradient[first : first + ctx.lengths[own()]], None
