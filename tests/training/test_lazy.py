"""Items made on demand: kept for a while, made ahead by others, and broken ones passed over by name."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from ssa_me.errors import InputError
from ssa_me.training.lazy import OnTheFly


class Squares:
    """n² for n, except where it is broken; counts what was made in this process."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.broken, self.made = broken, list[int]()

    def __call__(self, index: int) -> int:
        self.made.append(index)
        if index in self.broken:
            raise InputError(f"{index}.png is corrupt.")
        return index * index


def whose(index: int) -> tuple[int, int]:
    """A square with the process that made it."""
    return index * index, os.getpid()


def lazy(make: Callable[[int], int], said: list[str] | None = None, kept: int = 3) -> OnTheFly[int]:
    return OnTheFly(5, make, said.append if said is not None else lambda _: None, kept=kept)


def test_items_are_made_when_they_are_needed_and_the_latest_are_kept():
    squares = Squares()
    items = lazy(squares)
    assert len(items) == 5 and squares.made == []
    assert [items[i] for i in (2, 3, 2, 4, 0)] == [4, 9, 4, 16, 0]
    assert squares.made == [2, 3, 4, 0]
    assert [items[i] for i in (2, 3)] == [4, 9]  # 2 was used later than 3
    assert squares.made == [2, 3, 4, 0, 3]
    assert items[1:3] == [1, 4] and items[:] == [0, 1, 4, 9, 16]


def test_a_broken_item_is_named_once_and_the_next_stands_in():
    said: list[str] = []
    items = lazy(Squares(broken=(1, 4)), said)
    assert [items[i] for i in (1, 4, 1, 0)] == [4, 0, 4, 0]  # after the last one comes the first
    assert said == ["skipped: 1.png is corrupt.", "skipped: 4.png is corrupt."]


def test_where_all_are_broken_that_is_said():
    with pytest.raises(InputError, match="None of the images"):
        lazy(Squares(broken=(0, 1, 2, 3, 4)))[2]
    with pytest.raises(IndexError):
        lazy(Squares())[5]


def test_other_processes_work_ahead():
    items = OnTheFly(5, whose, lambda _: None, workers=1)
    items.ahead([1, 3])
    values = [items[i] for i in (1, 3, 2)]
    items.close()
    assert [square for square, _ in values] == [1, 9, 4]
    here = os.getpid()
    assert [pid == here for _, pid in values] == [False, False, True]
