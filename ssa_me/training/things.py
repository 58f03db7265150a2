"""What SSA-ME's losses speak of in a batch: subjects and what surrounds them, the texts about them, and phrases to look for.

It reads data alone; it knows nothing of models or losses. B images, R named regions, T things, M texts about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssa_me.scenes import Mention, Query
from ssa_me.scenes.truth import parts_of, truth
from ssa_me.training.batches import Batch
from ssa_me.training.data import general
from ssa_me.training.named import goes_by, less_than

Owner = tuple[int, tuple[int, ...]]
"""An image of the batch and the number of one of its subjects; none for what surrounds them."""


@dataclass(frozen=True)
class Things:
    """The named regions of a batch, T = R in all, and the M texts that speak of one of them.

    image (T,). rows: for each text its place among captions and phrases; own (M,) its thing; true (M, T) of which things
    it is true.
    """

    image: Tensor
    rows: Tensor
    own: Tensor
    true: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Things:
        """Texts are numbered as they are spoken: the captions, then each distinct phrase once."""
        named, items, draw = batch.named, batch.items, batch.draw
        images, count = named.images, len(batch)
        owners: list[Owner] = [
            (images[r], () if named.ground[r] else (named.number[r],)) for r in range(len(named))
        ]
        place = {owner: t for t, owner in enumerate(owners)}
        spoken = [(count + int(named.place[r]), r) for r in range(len(named))]
        for b, item in enumerate(items):
            about = tuple(sorted(item.about[draw.chosen[b]])) if item.about else ()
            if about and (b, about) in place:
                spoken.append((b, place[b, about]))
        device = named.image.device
        return cls(
            image=named.image,
            rows=torch.tensor([row for row, _ in spoken], dtype=torch.long, device=device),
            own=torch.tensor([thing for _, thing in spoken], dtype=torch.long, device=device),
            true=_true_of(batch, spoken, owners).to(device),
        )

    def of_phrases(self, captions: int) -> Tensor:
        """(T, P): which distinct phrases are true of each thing, where so many captions are spoken before them."""
        spoken = self.rows - captions
        count = int(spoken.max()) + 1 if len(spoken) else 0
        rows = torch.zeros(count, self.true.shape[1], dtype=torch.bool, device=self.true.device)
        asked = spoken >= 0
        rows[spoken[asked]] = self.true[asked]
        return rows.T

    def rivals(self, group: int) -> Tensor:
        """(M, T): wrong things of a text's own image or of its twins."""
        families = self.image // group
        return (families[self.own][:, None] == families[None]) & ~self.true


def _true_of(batch: Batch, spoken: Sequence[tuple[int, int]], owners: Sequence[Owner]) -> Tensor:
    """(M, T) bool: of which things each text is true; exactly for scenes, elsewhere where the phrases are equal."""
    items, named, count = batch.items, batch.named, len(batch.items)
    if not all(item.facts is not None for item in items):
        said = [general(named.phrases[r]) for r in range(len(named))]
        alike = [[said[own] == other for other in said] for _, own in spoken]
        return torch.tensor(alike, dtype=torch.bool).reshape(len(spoken), len(said))
    facts = [item.facts for item in items if item.facts is not None]
    meanings = []
    for row, own in spoken:
        if row < count:
            meanings.append(items[row].meanings[batch.draw.chosen[row]])
        else:
            b, numbers = owners[own]
            subjects = tuple(Mention(*facts[b].subjects[k]) for k in numbers)
            meanings.append(Query(subjects, None, None if subjects else facts[b].setting))
    table = truth(meanings, [parts_of(facts[b], numbers) for b, numbers in owners])
    return torch.from_numpy(table)


def true_by_name(batch: Batch, called: Sequence[str]) -> Tensor:
    """(M, R) bool: which named regions each name may mean, `the dog` every dog, `the person` every man. Among scenes the man is
    no woman; elsewhere both are persons, as captions call them."""
    exact = all(item.facts is not None for item in batch.items)
    named = batch.named
    own = [
        {phrase} if ground else {phrase, *less_than(phrase)}
        for phrase, ground in zip(named.phrases, named.ground, strict=True)
    ]
    said = [name if exact else general(name) for name in called]
    rows = [[name in names for names in own] for name in said]
    return torch.tensor(rows, dtype=torch.bool).reshape(len(called), len(named))


@dataclass(frozen=True)
class Sought:
    """Named regions that the head looks for by their phrase, another row whose phrase it looks for in the same image,
    and whether that one is there too."""

    rows: tuple[int, ...]
    wrong: tuple[int, ...]
    present: tuple[bool, ...]

    @classmethod
    def of(cls, batch: Batch, seed: int, share: float, called: Sequence[str] | None = None) -> Sought:
        """Another row is one of a twin, half of the time, where there is one. called (R): what the rows are looked for by,
        instead of their phrases."""
        named, images = batch.named, batch.named.images
        asked = named.phrases if called is None else called
        if not len(named):
            return cls((), (), ())
        rng = np.random.default_rng((seed, batch.step, 2))
        count = max(1, int(len(named) * share))
        rows = [int(row) for row in np.sort(rng.permutation(len(named))[:count])]
        shown: dict[int, set[str]] = {}
        families: dict[int, list[int]] = {}
        for r, b in enumerate(images):
            shown.setdefault(b, set()).update(goes_by(named.phrases[r]))
            families.setdefault(b // batch.group, []).append(r)
        wrong = []
        for row in rows:
            near = families[images[row] // batch.group] if rng.random() < 0.5 else range(len(images))
            wrong.append(near[int(rng.integers(len(near)))])
        present = (general(asked[w]) in shown[images[r]] for r, w in zip(rows, wrong, strict=True))
        return cls(tuple(rows), tuple(wrong), tuple(present))

    def tokens(self, batch: Batch, inside: range, absent: bool = False) -> int:
        """Image tokens of the rows `inside`; with `absent` only where the other phrase is not there."""
        return sum(
            batch.tokens(batch.named.images[row])
            for row, there in zip(self.rows, self.present, strict=True)
            if row in inside and not (absent and there)
        )
