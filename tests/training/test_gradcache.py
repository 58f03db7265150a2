"""GradCache on a tiny network: the plain batch's gradient, part by part, with dropout and losses beside it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssa_me import objectives
from ssa_me.training.gradcache import RandomState, cached_step, detached, plain_step, total


@dataclass(frozen=True)
class Pair:
    """Rows of left and right, and the count of the whole batch."""

    left: Tensor
    right: Tensor
    of: int


class Towers(nn.Module):
    """Two towers with dropout and a temperature; beside them a loss of each sample that draws dropout too."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 6))
        self.right = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 6))
        self.side = nn.Sequential(nn.Dropout(dropout), nn.Linear(6, 1))
        self.temperature = nn.Parameter(torch.tensor(0.3))

    def represent(self, part: Pair) -> tuple[dict[str, Tensor], Tensor]:
        left = self.left(part.left)
        rows = {
            "left": F.normalize(left.float(), dim=-1),
            "right": F.normalize(self.right(part.right).float(), dim=-1),
        }
        return rows, left

    def compare(self, whole: Pair, representations: dict[str, Tensor]) -> dict[str, Tensor]:
        nce = objectives.info_nce(representations["left"], representations["right"], self.temperature)
        return {"loss": nce, "nce": nce.detach()}

    def beside(self, part: Pair, kept: Tensor, representations: dict[str, Tensor]) -> dict[str, Tensor]:
        target = representations["right"].mean()
        square = (self.side(kept) - target).pow(2).sum() / part.of
        return {"loss": 0.5 * square, "square": square.detach()}


def towers(dropout: float = 0.0) -> Towers:
    torch.manual_seed(0)
    return Towers(dropout)


def batch(rows: int = 8, negatives: int = 3) -> Pair:
    generator = torch.Generator().manual_seed(1)
    left = torch.randn(rows, 5, generator=generator)
    return Pair(left, torch.randn(rows + negatives, 5, generator=generator), rows)


def cut(whole: Pair, sizes: list[tuple[int, int]]) -> list[Pair]:
    lefts, rights = zip(*sizes, strict=True)
    return [
        Pair(left, right, whole.of)
        for left, right in zip(whole.left.split(lefts), whole.right.split(rights), strict=True)
    ]


def backward(loss: Tensor) -> None:
    loss.backward()


def same(representations: dict[str, Tensor]) -> dict[str, Tensor]:
    return representations


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def graph_of_all_parts(model: Towers, parts: list[Pair]) -> dict[str, Tensor]:
    """The reference: all parts' graphs at once, no cache."""
    pieces = [model.represent(part) for part in parts]
    whole = {name: torch.cat([p[0][name] for p in pieces]) for name in ("left", "right")}
    compared = model.compare(parts[0], whole)
    encoded = list(zip(parts, pieces, strict=True))
    beside = [model.beside(part, kept, detached(whole)) for part, (_, kept) in [encoded[-1], *encoded[:-1]]]
    losses = total([compared, *beside])
    losses["loss"].backward()
    return detached(losses)


UNEVEN = [(3, 4), (1, 0), (4, 7)]  # the middle part holds no right side at all


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys() and one
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], atol=1e-6, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_in_parts_and_in_one_pass_the_gradient_is_the_same():
    whole, plain, cached = batch(), towers(), towers()
    losses = plain_step(plain, whole, whole, same, backward, nullcontext)
    again = cached_step(cached, whole, cut(whole, UNEVEN), same, backward, nullcontext)
    assert_close(losses, again)
    assert_close(gradients(plain), gradients(cached))
    assert "temperature" in gradients(cached) and "side.1.weight" in gradients(cached)


def test_dropout_is_replayed():
    whole, plain, cached = batch(), towers(0.5), towers(0.5)
    torch.manual_seed(7)
    losses = graph_of_all_parts(plain, cut(whole, UNEVEN))
    state = RandomState.now()
    torch.manual_seed(7)
    again = cached_step(cached, whole, cut(whole, UNEVEN), same, backward, nullcontext)
    assert_close(losses, again)
    assert_close(gradients(plain), gradients(cached))
    assert torch.equal(state.cpu, torch.get_rng_state())  # the step after it draws the same numbers too


def test_without_the_replay_the_gradient_would_be_another(monkeypatch):
    whole, plain, cached = batch(), towers(0.5), towers(0.5)
    torch.manual_seed(7)
    graph_of_all_parts(plain, cut(whole, UNEVEN))
    torch.manual_seed(7)
    monkeypatch.setattr(RandomState, "replay", lambda self: None)
    cached_step(cached, whole, cut(whole, UNEVEN), same, backward, nullcontext)
    assert (gradients(plain)["left.0.weight"] - gradients(cached)["left.0.weight"]).abs().max() > 1e-3


def test_autocast_is_left_between_the_passes():
    def context():
        return torch.autocast("cpu", torch.bfloat16)

    whole, plain, cached = batch(), towers(), towers()
    plain_step(plain, whole, whole, same, backward, context)
    cached_step(cached, whole, cut(whole, UNEVEN), same, backward, context)
    one, other = gradients(plain), gradients(cached)
    assert one.keys() == other.keys()  # no weight was cast without a gradient and kept
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=0.02, rtol=0.05)


def test_one_part_is_a_part_too():
    whole, plain, cached = batch(), towers(), towers()
    plain_step(plain, whole, whole, same, backward, nullcontext)
    cached_step(cached, whole, [whole], same, backward, nullcontext)
    assert_close(gradients(plain), gradients(cached))


def test_the_graph_of_one_part_at_a_time_is_held():
    """The most numbers of the towers' inside that are saved for a backward pass, whole and in eight parts."""
    whole = batch(64, 0)

    def most_saved(parts: list[Pair]) -> int:
        held, most = 0, 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal held, most
            held += tensor.numel() if tensor.ndim == 2 and tensor.shape[-1] == 8 else 0  # the towers' inside
            most = max(most, held)
            return tensor

        def freeing(loss: Tensor) -> None:
            nonlocal held
            loss.backward()
            held = 0

        model = towers()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            cached_step(model, whole, parts, same, freeing, nullcontext)
        return most

    assert most_saved(cut(whole, [(8, 8)] * 8)) < 0.2 * most_saved([whole])


@pytest.mark.parametrize("name", ["loss", "nce"])
def test_losses_add_up_by_name(name):
    parts = [{"loss": torch.tensor(1.0)}, {"loss": torch.tensor(2.0), "nce": torch.tensor(3.0)}]
    assert total(parts)[name] == 3
