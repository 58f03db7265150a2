"""Each kind's figure: how it is drawn, how tall and wide it is, and where another subject sits on it; and
its cut-out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ssa_me.scenes import animals, people, things
from ssa_me.scenes.pen import Pen, Tones, shade, tones

Draw = Callable[[Pen, Tones, np.random.Generator, bool], None]
_FINE = 2
_MARGIN = 0.1


@dataclass(frozen=True)
class Figure:
    """A drawn kind. `height` is a share of the image, the rest is in units of that height; the figure
    looks to the right."""

    draw: Draw
    height: float
    left: float
    right: float
    seat: tuple[float, float] | None = None
    """Where a subject on top of it sits."""
    seated_depth: float = 0.0
    """How far a seated figure reaches below its seat."""
    flies: bool = False
    floats: bool = False

    @property
    def width(self) -> float:
        return self.left + self.right


FIGURES: dict[str, Figure] = {
    "man": Figure(people.draw_man, 0.60, 0.23, 0.33, seated_depth=0.33),
    "woman": Figure(people.draw_woman, 0.57, 0.24, 0.31, seated_depth=0.33),
    "child": Figure(people.draw_child, 0.47, 0.26, 0.37, seated_depth=0.27),
    "dog": Figure(animals.draw_dog, 0.36, 0.70, 0.76),
    "cat": Figure(animals.draw_cat, 0.38, 0.63, 0.46),
    "bird": Figure(animals.draw_bird, 0.31, 0.86, 0.68),
    "horse": Figure(animals.draw_horse, 0.54, 0.62, 0.70, seat=(-0.04, -0.60)),
    "car": Figure(things.draw_car, 0.30, 1.06, 1.06, seat=(0.0, -0.97)),
    "bus": Figure(things.draw_bus, 0.44, 0.98, 0.98, seat=(-0.1, -0.97)),
    "bicycle": Figure(things.draw_bicycle, 0.38, 0.80, 0.82),
    "boat": Figure(things.draw_boat, 0.52, 0.61, 0.64, seat=(-0.30, -0.25), floats=True),
    "house": Figure(things.draw_house, 0.58, 0.55, 0.55, seat=(0.0, -0.90)),
    "tree": Figure(things.draw_tree, 0.66, 0.41, 0.42),
    "flower": Figure(things.draw_flower, 0.44, 0.35, 0.35),
    "ball": Figure(things.draw_ball, 0.27, 0.50, 0.50),
    "teddy bear": Figure(things.draw_teddy, 0.38, 0.49, 0.49),
    "kite": Figure(things.draw_kite, 0.46, 0.42, 0.40, flies=True),
    "chair": Figure(things.draw_chair, 0.42, 0.35, 0.35, seat=(0.0, -0.40)),
}


@dataclass(frozen=True)
class Cutout:
    """A drawn figure: pixels (h, w, 4) with premultiplied alpha, and where its origin (ground or seat)
    lies in them."""

    pixels: np.ndarray
    x: int
    y: int


def cut_out(
    kind: str,
    colour: str,
    height: float,
    rng: np.random.Generator,
    *,
    flip: bool = False,
    sitting: bool = False,
    angle: float = 0.0,
    rim: tuple[int, int, int] = (46, 36, 60),
) -> Cutout:
    """Draw a figure `height` pixels tall, at twice the size and reduced.

    `rim` is the colour of its soft outline.
    """
    figure = FIGURES[kind]
    left, right = (figure.right, figure.left) if flip else (figure.left, figure.right)
    lean = abs(float(np.sin(angle)))
    x = int(np.ceil((left + _MARGIN + lean * 0.5) * height))
    y = int(np.ceil((1 + 2 * _MARGIN) * height))
    width = x + int(np.ceil((right + _MARGIN + lean * 0.5) * height))
    below = figure.seated_depth if sitting else 0.0
    tall = y + int(np.ceil((below + _MARGIN) * height))
    fine = np.zeros((tall * _FINE, width * _FINE, 4), np.uint8)
    pen = Pen(fine, height * _FINE, (x * _FINE, y * _FINE), flip, angle)
    figure.draw(pen, tones(colour), rng, sitting)
    shade(fine)
    pixels = cv2.resize(fine, (width, tall), interpolation=cv2.INTER_AREA)
    return Cutout(_outlined(pixels, rim, height), x, y)


def _outlined(pixels: np.ndarray, rim: tuple[int, int, int], height: float) -> np.ndarray:
    """The cut-out with a faint soft line around it, for figures that are as bright as their ground."""
    wide = cv2.GaussianBlur(pixels[:, :, 3], (0, 0), max(0.8, height / 90))
    line = np.minimum(wide.astype(np.uint16) * 9 // 10, 110)
    free = ((255 - pixels[:, :, 3].astype(np.uint16)) * line // 255).astype(np.uint8)
    tint = (free[:, :, None].astype(np.uint16) * np.array(rim, np.uint16) // 255).astype(np.uint8)
    return cv2.add(pixels, np.dstack([tint, free]))
