"""One step's batch of pairs: what is read in it, each side once, and who belongs to whom. It knows no models or losses.

B pairs, H listed negatives, E sides: those with an image first, then texts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ssa_me.errors import InputError
from ssa_me.outputs import VisualBatch
from ssa_me.training import processes
from ssa_me.training.data import PairDraw, Prepared
from ssa_me.training.mmeb_train import Pair, Side


@dataclass(frozen=True)
class PairBatch:
    """A whole step, of all processes. seen: the distinct sides with an image; spoken: those without. queries (B,) and
    targets (B + H,): their places among both, a query's own target at its number, behind them the distinct negatives
    that are no target. same (B, B + H) bool: targets that are right for a query, its own and others. images: by path."""

    seen: tuple[Side, ...]
    spoken: tuple[Side, ...]
    queries: Tensor
    targets: Tensor
    same: Tensor
    images: Mapping[Path, Prepared]

    @classmethod
    def of(cls, draw: PairDraw, device: torch.device) -> PairBatch:
        pairs = draw.pairs
        own = [pair.target for pair in pairs]
        targets = own + _negatives(pairs)
        distinct = dict.fromkeys([*(pair.query for pair in pairs), *targets])
        seen = tuple(side for side in distinct if side.image is not None)
        spoken = tuple(side for side in distinct if side.image is None)
        place = {side: i for i, side in enumerate((*seen, *spoken))}
        return cls(
            seen,
            spoken,
            torch.tensor([place[pair.query] for pair in pairs], device=device),
            torch.tensor([place[side] for side in targets], device=device),
            _right(pairs, targets).to(device),
            draw.images,
        )

    def parts(self, chunks: int) -> list[PairPart]:
        """This process's share, cut into so many parts (fewer where it has fewer sides)."""
        every, own = processes.count(), processes.own()
        seen, spoken = (processes.share(len(sides), every, own) for sides in (self.seen, self.spoken))
        count = min(chunks, max(len(seen), len(spoken)))
        if not count:
            raise InputError(
                f"A batch of {len(self.queries)} pairs is too small for {every} processes. Raise batch."
            )
        return [PairPart(self, _cut(seen, count, i), _cut(spoken, count, i)) for i in range(count)]


@dataclass(frozen=True)
class PairPart:
    """What one pass reads: the sides with an image in one range of the batch, and the texts alone in another. tokens:
    the image tokens in 16 bits once they are computed, since both passes of a step in parts read them."""

    batch: PairBatch
    seen: range
    spoken: range
    tokens: list[VisualBatch] = field(default_factory=list, compare=False)

    @property
    def items(self) -> list[Prepared]:
        images = (side.image for side in self._seen)
        return [self.batch.images[path] for path in images if path is not None]

    @property
    def beside_images(self) -> list[str]:
        """The text of each side with an image; "" for none."""
        return [side.text for side in self._seen]

    @property
    def texts(self) -> list[str]:
        """The texts without an image."""
        return [side.text for side in self.batch.spoken[self.spoken.start : self.spoken.stop]]

    @property
    def _seen(self) -> Sequence[Side]:
        return self.batch.seen[self.seen.start : self.seen.stop]


def _cut(whole: range, parts: int, part: int) -> range:
    share = processes.share(len(whole), parts, part)
    return whole[share.start : share.stop]


def _negatives(pairs: Sequence[Pair]) -> list[Side]:
    """Each listed negative once; one that is a target stands among the targets already."""
    targets = {pair.target for pair in pairs}
    return [
        side for side in dict.fromkeys(s for pair in pairs for s in pair.negatives) if side not in targets
    ]


def _right(pairs: Sequence[Pair], targets: Sequence[Side]) -> Tensor:
    """(B, B + H): whether a target equals one that a pair with an equal query names."""
    numbers: dict[tuple[str, Path | None], int] = {}
    asked, answers = (
        torch.tensor([numbers.setdefault(side.content, len(numbers)) for side in sides])
        for sides in ([pair.query for pair in pairs], targets)
    )
    answered = torch.zeros(len(numbers), len(numbers), dtype=torch.bool)
    answered[asked, answers[: len(pairs)]] = True
    return answered[asked][:, answers]
