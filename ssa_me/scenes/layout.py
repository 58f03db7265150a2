"""Where the subjects of a scene stand: positions, sizes, order in depth, and the relations that result.

Units: shares of the image, origin top left. Relations are read from whole boxes, hidden parts included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ssa_me.scenes.figures import FIGURES
from ssa_me.scenes.vocabulary import PERSONS

_TOP, _BOTTOM = 0.04, 0.97
_ROOM_HIGH = _BOTTOM - _TOP
_TOUCH = 0.02
"""Boxes may overlap by so much and are still side by side."""


@dataclass(frozen=True)
class Place:
    """A subject's place: ground point (or seat) `(x, y)`, height, and pose.

    Drawn in the order of `depth`, far first.
    """

    index: int
    x: float
    y: float
    height: float
    flip: bool = False
    sitting: bool = False
    angle: float = 0.0
    depth: int = 0

    def box(self, kind: str) -> tuple[float, float, float, float]:
        """`(x0, y0, x1, y1)` of the whole figure."""
        figure = FIGURES[kind]
        left, right = (figure.right, figure.left) if self.flip else (figure.left, figure.right)
        below = figure.seated_depth * self.height if self.sitting else 0.0
        return self.x - left * self.height, self.y - self.height, self.x + right * self.height, self.y + below


def arrange(
    kinds: tuple[str, ...], relation: str | None, horizon: float, rng: np.random.Generator
) -> tuple[Place, ...]:
    """Place up to three subjects; `relation` holds between the first and the second. Returns them in the
    order of `kinds`."""
    if relation == "in front of":
        group = _in_front(kinds[:2], horizon, rng)
    elif relation == "on":
        group = _stacked(kinds[:2], horizon, rng)
    else:
        group = []
    order = _row_order(len(kinds), relation, rng)
    units = [
        group if index == 0 and group else [_standing(index, kinds[index], horizon, rng)] for index in order
    ]
    return tuple(sorted(_line_up(units, kinds, rng), key=lambda place: place.index))


def relations(
    kinds: tuple[str, ...], places: tuple[Place, ...], declared: str | None
) -> frozenset[tuple[int, str, int]]:
    """Every `(first, relation, second)` that the places show, `declared` between 0 and 1 among them."""
    grouped = declared in ("in front of", "on")
    found = {(0, str(declared), 1)} if grouped else set()
    for a in places:
        for b in places:
            apart = a.box(kinds[a.index])[2] <= b.box(kinds[b.index])[0] + _TOUCH
            if apart and not (grouped and {a.index, b.index} == {0, 1}):
                found |= {(a.index, "left of", b.index), (b.index, "right of", a.index)}
    return frozenset(found)


def _row_order(count: int, relation: str | None, rng: np.random.Generator) -> list[int]:
    """Indices from left to right; a group stands for its first index."""
    if relation in ("in front of", "on"):
        order = [0, *range(2, count)]
        return order[::-1] if rng.random() < 0.5 else order
    order = [int(i) for i in rng.permutation(count)]
    if relation in ("left of", "right of"):
        first, second = (0, 1) if relation == "left of" else (1, 0)
        pair = sorted(order.index(i) for i in (0, 1))
        order[pair[0]], order[pair[1]] = first, second
    return order


def _standing(index: int, kind: str, horizon: float, rng: np.random.Generator) -> Place:
    figure = FIGURES[kind]
    height = figure.height * float(rng.uniform(0.88, 1.12))
    flip = bool(rng.random() < 0.5)
    if figure.flies:
        low = max(height + 0.03, horizon - 0.05)
        return Place(
            index,
            0.0,
            float(rng.uniform(low, low + 0.10)),
            height,
            flip,
            angle=float(rng.uniform(-0.25, 0.25)),
        )
    y = float(rng.uniform(max(horizon + 0.20, 0.70), 0.95))
    return Place(index, 0.0, y, height * (0.84 + 0.5 * (y - 0.70)), flip)


def _in_front(kinds: tuple[str, ...], horizon: float, rng: np.random.Generator) -> list[Place]:
    """The second behind, raised and large; the first before it, low and at most so large that half of it
    stays visible."""
    near, far = FIGURES[kinds[0]], FIGURES[kinds[1]]
    high = float(np.clip(far.height * rng.uniform(1.05, 1.25), 0.46, 0.74))
    high = min(high, 0.86 / far.width)
    back = Place(
        1, 0.0, max(horizon + 0.17, 0.72) + float(rng.uniform(0.0, 0.04)), high, bool(rng.random() < 0.5)
    )
    low = min(near.height, high * (0.72 if far.width < 1.2 else 1.0), 0.62 * far.width * high / near.width)
    low = max(low * float(rng.uniform(0.92, 1.05)), 0.24)
    spread = 0.22 * far.width * high
    front = Place(
        0,
        float(rng.uniform(-spread, spread)),
        min(0.97, back.y + float(rng.uniform(0.12, 0.17))),
        low,
        bool(rng.random() < 0.5),
        depth=1,
    )
    return [back, front]


def _stacked(kinds: tuple[str, ...], horizon: float, rng: np.random.Generator) -> list[Place]:
    """The first sits or stands on the second."""
    upper, lower = FIGURES[kinds[0]], FIGURES[kinds[1]]
    assert lower.seat is not None
    high = float(np.clip(lower.height * rng.uniform(1.0, 1.15), 0.36, 0.56))
    high = min(high, 0.80 / lower.width)
    flip = bool(rng.random() < 0.5)
    base = Place(1, 0.0, float(rng.uniform(0.88, 0.95)), high, flip)
    seat = (-lower.seat[0] if flip else lower.seat[0], lower.seat[1])
    y = base.y + seat[1] * high
    top = min(upper.height * float(rng.uniform(0.8, 0.95)), y - 0.03, 1.17 * lower.width * high / upper.width)
    sitting = kinds[0] in PERSONS and not lower.floats
    height = min(top, upper.height * 0.9) * (1.15 if sitting else 1.0)
    return [base, Place(0, seat[0] * high, y, height, bool(rng.random() < 0.5), sitting, depth=1)]


def _line_up(units: list[list[Place]], kinds: tuple[str, ...], rng: np.random.Generator) -> list[Place]:
    """Set units side by side without overlap; where the image is too narrow all shrink, wide ones more."""
    spans = [_span(unit, kinds) for unit in units]
    widths = np.array([right - left for left, right in spans])
    room = 0.955 - 0.02 * (len(units) - 1)
    grow = float(rng.uniform(1.1, 1.45)) if len(units) == 1 else float(rng.uniform(0.98, 1.12))
    scales = np.minimum(grow, room * widths**-0.4 / np.sum(widths**0.6))
    scales = np.minimum(scales, [_ROOM_HIGH / sum(_reach(unit, kinds)) for unit in units])
    shares = rng.dirichlet(np.full(len(units) + 1, 2.0)) * (0.98 - float(scales @ widths))
    placed, x = [], 0.01
    for unit, (left, right), scale, share in zip(
        units, spans, scales.tolist(), shares.tolist(), strict=False
    ):
        x += share
        placed += _scaled(unit, kinds, scale, x - left * scale)
        x += (right - left) * scale
    return placed


def _span(unit: list[Place], kinds: tuple[str, ...]) -> tuple[float, float]:
    boxes = [place.box(kinds[place.index]) for place in unit]
    return min(box[0] for box in boxes), max(box[2] for box in boxes)


def _reach(unit: list[Place], kinds: tuple[str, ...]) -> tuple[float, float]:
    """How far a unit reaches above and below the ground of its first place."""
    boxes = [place.box(kinds[place.index]) for place in unit]
    return unit[0].y - min(box[1] for box in boxes), max(box[3] for box in boxes) - unit[0].y


def _scaled(unit: list[Place], kinds: tuple[str, ...], scale: float, shift: float) -> list[Place]:
    """The unit scaled about its ground, moved to its column and, where it would leave the image, up or
    down."""
    above, below = (reach * scale for reach in _reach(unit, kinds))
    ground = min(max(unit[0].y, above + _TOP), _BOTTOM - below)
    return [
        replace(
            place,
            x=place.x * scale + shift,
            y=ground + (place.y - unit[0].y) * scale,
            height=place.height * scale,
        )
        for place in unit
    ]
