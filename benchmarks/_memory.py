"""The memory that a backward pass needs: the bytes that autograd holds, counted by its hooks for saved tensors.

Each storage counts once, weights do not. Unlike the peak of a process it is the same at every run. It knows nothing of
what is measured.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


class _Saved:
    """A tensor that autograd holds. It is let go with its graph."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def most_saved(step: Callable[[], object], weights: Sequence[nn.Module]) -> int:
    """The most bytes held for backward passes at any moment while `step` runs, but those of `weights`."""
    own = {p.untyped_storage().data_ptr() for module in weights for p in module.parameters()}
    holders: dict[int, int] = {}
    held = most = 0

    def release(storage: int, size: int) -> None:
        nonlocal held
        holders[storage] -= 1
        held -= size if not holders[storage] else 0

    def pack(tensor: Tensor) -> _Saved:
        nonlocal held, most
        saved, storage = _Saved(tensor), tensor.untyped_storage()
        if storage.data_ptr() not in own:
            place, size = storage.data_ptr(), storage.nbytes()
            held += size if not holders.get(place) else 0
            holders[place] = holders.get(place, 0) + 1
            most = max(most, held)
            weakref.finalize(saved, release, place, size)
        return saved

    with saved_tensors_hooks(pack, lambda saved: saved.tensor):
        step()
    return most
