"""Images made ready when a batch needs them instead of being held in memory, ahead of time by other processes.

What an index gives depends on the index alone. It knows nothing of what an image is made from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Generic, TypeVar, overload

from ssa_me.errors import InputError

Item = TypeVar("Item")


class OnTheFly(Sequence[Item], Generic[Item]):
    """A sequence whose items are made by `make(index)` on demand; the latest `kept` are kept.

    workers: processes that make what `ahead` asks for; 0 makes everything here. task: `make` of one index as it is sent
    to them, where `make` itself would be large. An item that cannot be made (InputError)
    is reported once, and the next one that can stands in its place, so that one corrupt file does not end a run.
    """

    def __init__(
        self,
        length: int,
        make: Callable[[int], Item],
        report: Callable[[str], None],
        workers: int = 0,
        kept: int = 4096,
        task: Callable[[int], Callable[[], Item]] | None = None,
    ) -> None:
        self._length, self._make, self._report, self._kept = length, make, report, kept
        self._task = task or (lambda index: partial(make, index))
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers else None
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._pending: dict[int, Future[Item]] = {}
        self._broken: set[int] = set()

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if not 0 <= index < self._length:
            raise IndexError(index)
        for place in (*range(index, self._length), *range(index)):
            if place not in self._broken:
                try:
                    return self._one(place)
                except InputError as error:
                    self._broken.add(place)
                    self._report(f"skipped: {error}")
        raise InputError("None of the images of a set can be read.")

    def ahead(self, indices: Iterable[int]) -> None:
        """Begin to make these items in other processes, where there are any."""
        if self._pool is None:
            return
        for index in indices:
            if index not in self._items and index not in self._pending and index not in self._broken:
                self._pending[index] = self._pool.submit(self._task(index))

    def close(self) -> None:
        """End the other processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _one(self, index: int) -> Item:
        if index in self._items:
            self._items.move_to_end(index)
            return self._items[index]
        pending = self._pending.pop(index, None)
        item = self._make(index) if pending is None else pending.result()
        self._items[index] = item
        while len(self._items) > self._kept:
            self._items.popitem(last=False)
        return item
