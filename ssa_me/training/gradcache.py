"""GradCache (Gao et al. 2021, arXiv 2101.06983): a whole batch's gradient in the memory of one part of it.

A loss over a batch sees representations only, so its gradient passes through them. First every part is encoded without
a graph, then the loss is taken on all representations and its gradient there is kept, then every part is encoded again,
with a graph, and ⟨representation, kept gradient⟩ is differentiated: the chain rule, one part at a time. The last part is
encoded once: its first pass keeps its graph, since no other is held by then. Losses of single samples join in the pass
with a graph. It knows nothing of models, of what is contrasted, or of how processes talk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

Representations = dict[str, Tensor]
"""By name (n, …): one row a thing that is contrasted. Those of several parts are joined along the first axis."""

Losses = dict[str, Tensor]
"""Scalars by name; what is to be minimised under "loss", weights included."""

Whole = TypeVar("Whole", contravariant=True)
Part = TypeVar("Part", contravariant=True)
Kept = TypeVar("Kept")


class Contrast(Protocol[Whole, Part, Kept]):
    """A step that falls into parts. Parameters that `compare` uses itself, such as a temperature, get their gradient
    there, once; all others get it through the representations."""

    def represent(self, part: Part) -> tuple[Representations, Kept]:
        """The part's representations, and what `beside` needs of the same forward pass. All parts give the same names."""

    def compare(self, whole: Whole, representations: Representations) -> Losses:
        """The losses over the whole batch, in terms of its representations, which are in full precision here."""

    def beside(self, part: Part, kept: Kept, representations: Representations) -> Losses:
        """The part's share of the losses of single samples: means over the whole batch are divided by its count, not
        by the part's. `representations` are the whole batch's, without a gradient."""


Gather = Callable[[Representations], Representations]
Backward = Callable[[Tensor], None]
Context = Callable[[], AbstractContextManager[object]]
"""What surrounds a forward pass, such as autocast: entered anew for each, since autocast keeps weights that it has cast
without a gradient until it is left."""


@dataclass(frozen=True)
class RandomState:
    """The states of torch's generators, so that a pass can be run again with the same dropout."""

    cpu: Tensor
    cuda: Tensor | None

    @classmethod
    def now(cls) -> RandomState:
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None)

    def replay(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)


def plain_step(
    contrast: Contrast[Whole, Part, Kept],
    whole: Whole,
    part: Part,
    gather: Gather,
    backward: Backward,
    context: Context,
) -> Losses:
    """The gradient of a batch that is one part, in one pass. Returns the losses, detached."""
    with context():
        representations, kept = contrast.represent(part)
    everywhere = gather(_full(representations))
    compared = contrast.compare(whole, everywhere)
    with context():
        losses = total([compared, contrast.beside(part, kept, detached(everywhere))])
    backward(losses["loss"].float())
    return detached(losses)


def cached_step(
    contrast: Contrast[Whole, Part, Kept],
    whole: Whole,
    parts: Sequence[Part],
    gather: Gather,
    backward: Backward,
    context: Context,
) -> Losses:
    """The same gradient with the graph of one part at a time. Returns the losses, detached.

    `gather` joins the representations of all processes and leads gradients back. The random numbers are those of a
    pass that keeps all parts' graphs: first every `represent` in turn, then `beside` of the last part, then of the others.
    """
    *others, last = parts
    starts: list[RandomState] = []
    pieces: list[Representations] = []
    for part in others:
        starts.append(RandomState.now())
        with torch.no_grad(), context():
            pieces.append(_full(contrast.represent(part)[0]))
    with context():
        held, kept = contrast.represent(last)
    pieces.append(_full(held))
    cached = {name: torch.cat([piece[name] for piece in pieces]).detach().requires_grad_() for name in held}
    everywhere = gather(cached)
    compared = contrast.compare(whole, everywhere)
    backward(compared["loss"].float())
    fixed = detached(everywhere)
    shares = {
        name: _gradient(rows).split([len(piece[name]) for piece in pieces]) for name, rows in cached.items()
    }
    *firsts, own = [{name: rows[i] for name, rows in shares.items()} for i in range(len(parts))]
    with context():
        surrogate, beside = _surrogate(contrast, last, held, kept, own, fixed)
    del held, kept, pieces  # and with them the graph, once it has been gone through
    backward(surrogate)
    losses = [detached(compared), beside]
    after = RandomState.now()
    for part, start, gradients in zip(others, starts, firsts, strict=True):
        start.replay()
        with context():
            representations, kept_again = contrast.represent(part)
            after.replay()
            surrogate, beside = _surrogate(contrast, part, representations, kept_again, gradients, fixed)
            after = RandomState.now()
        backward(surrogate)
        losses.append(beside)
    return total(losses)


def _gradient(rows: Tensor) -> Tensor:
    return torch.zeros_like(rows) if rows.grad is None else rows.grad


def _surrogate(
    contrast: Contrast[Whole, Part, Kept],
    part: Part,
    representations: Representations,
    kept: Kept,
    gradients: Representations,
    fixed: Representations,
) -> tuple[Tensor, Losses]:
    """What a part's pass with a graph is differentiated by: Σ ⟨representation, its gradient⟩ and the losses beside it;
    and those losses, detached."""
    beside = contrast.beside(part, kept, fixed)
    products = [(rows * gradients[name]).sum() for name, rows in representations.items()]
    return torch.stack([beside["loss"].float(), *products]).sum(), detached(beside)


def _full(representations: Representations) -> Representations:
    """In full precision, whatever a pass runs in: cosines are compared by a small temperature."""
    return {
        name: rows.to(torch.promote_types(rows.dtype, torch.float32))
        for name, rows in representations.items()
    }


def total(parts: Sequence[Losses]) -> Losses:
    """The sum of losses by name."""
    result: Losses = {}
    for losses in parts:
        for name, value in losses.items():
            result[name] = result[name] + value if name in result else value
    return result


def detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}
