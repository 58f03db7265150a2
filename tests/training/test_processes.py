"""What two processes tell each other: rows with their gradient, gradients, small things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from ssa_me import objectives
from ssa_me.training import processes

ROWS = (3, 1)
"""How many rows each process has."""


def loss_of(queries: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
    return objectives.info_nce(queries, targets, temperature)


def parts() -> tuple[nn.Linear, nn.Parameter, Tensor, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(4, 3), nn.Parameter(torch.tensor(0.5)), torch.randn(4, 4), torch.randn(4, 3)


def work(rank: int, folder: str) -> None:
    """One of the processes: its part of a contrast, and all that it hears from the other."""
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=len(ROWS))
    linear, temperature, inputs, targets = parts()
    unused, own_alone = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    mine = slice(sum(ROWS[:rank]), sum(ROWS[: rank + 1]))
    queries = processes.gather_rows(linear(inputs[mine]))
    loss = loss_of(queries, processes.gather_rows(targets[mine]), temperature)
    if rank == 1:
        loss = loss + 3 * own_alone.sum()
    loss.backward()
    parameters = [*linear.parameters(), temperature, unused, own_alone]
    processes.mean_gradients(parameters)
    start = torch.tensor([float(rank) + 1])
    processes.same_start([start])
    processes.wait()
    heard: dict[str, Any] = {
        "gradients": [p.grad for p in parameters],
        "queries": queries.detach(),
        "objects": processes.gather_objects([f"{rank}.{i}" for i in range(ROWS[rank])]),
        "mean": processes.mean(torch.tensor([float(rank), 4.0])),
        "start": start,
        "who": (processes.own(), processes.count()),
        "empty": processes.gather_rows(torch.zeros(rank, 2)),
    }
    torch.save(heard, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def heard(tmp_path_factory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("team")
    multiprocessing.spawn(work, (str(folder),), nprocs=len(ROWS))
    return [torch.load(folder / f"{rank}.pt") for rank in range(len(ROWS))]


def test_two_processes_have_the_gradient_of_one_with_all_rows(heard):
    linear, temperature, inputs, targets = parts()
    queries = linear(inputs)
    loss_of(queries, targets, temperature).backward()
    for one in heard:
        torch.testing.assert_close(one["queries"], queries.detach())
        expected = [linear.weight.grad, linear.bias.grad, temperature.grad]
        for got, wanted in zip(one["gradients"], expected, strict=False):
            torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-5)


def test_a_gradient_that_one_process_has_is_shared_and_one_that_none_has_stays_none(heard):
    for one in heard:
        assert one["gradients"][3] is None
        assert one["gradients"][4].tolist() == [1.5, 1.5]  # the mean of 3 and none


def test_small_things_come_in_the_processes_order(heard):
    for rank, one in enumerate(heard):
        assert one["objects"] == ["0.0", "0.1", "0.2", "1.0"]
        assert one["mean"].tolist() == [0.5, 4.0]
        assert one["start"].item() == 1
        assert one["who"] == (rank, 2)
        assert one["empty"].shape == (1, 2)


def test_alone_everything_is_the_identity():
    rows = torch.randn(2, 3, requires_grad=True)
    assert processes.gather_rows(rows) is rows
    assert processes.gather_objects(("a", "b")) == ["a", "b"]
    assert processes.mean(torch.tensor([2.0])).item() == 2
    assert (processes.own(), processes.count()) == (0, 1)
    parameter = nn.Parameter(torch.ones(1))
    processes.mean_gradients([parameter])
    assert parameter.grad is None


@pytest.mark.parametrize(("length", "parts"), [(10, 3), (2, 4), (0, 2), (8, 8)])
def test_shares_are_contiguous_and_nearly_equal(length, parts):
    shares = [processes.share(length, parts, part) for part in range(parts)]
    assert [i for one in shares for i in one] == list(range(length))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
