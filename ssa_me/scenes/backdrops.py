"""The settings: which painter draws each, where its horizon lies, and how it lights what stands in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ssa_me.scenes import outdoors, town
from ssa_me.scenes.pen import Pen
from ssa_me.scenes.vocabulary import RGB

Paint = Callable[[np.ndarray, Pen, np.random.Generator, float], None]


@dataclass(frozen=True)
class Backdrop:
    """A setting: its painter, the range of its horizon as a share of the height, the colour of shadows and
    of outlines."""

    paint: Paint
    horizon: tuple[float, float]
    shadow: RGB
    rim: RGB


BACKDROPS: dict[str, Backdrop] = {
    "beach": Backdrop(outdoors.paint_beach, (0.40, 0.50), (140, 112, 92), (70, 56, 60)),
    "park": Backdrop(outdoors.paint_park, (0.42, 0.52), (74, 96, 72), (52, 60, 60)),
    "street": Backdrop(town.paint_street, (0.44, 0.50), (84, 86, 98), (54, 52, 64)),
    "snow": Backdrop(outdoors.paint_snow, (0.42, 0.52), (132, 152, 182), (64, 76, 104)),
    "desert": Backdrop(outdoors.paint_desert, (0.42, 0.52), (150, 112, 80), (80, 58, 54)),
    "forest": Backdrop(outdoors.paint_forest, (0.42, 0.50), (70, 84, 66), (46, 56, 52)),
    "kitchen": Backdrop(town.paint_kitchen, (0.56, 0.60), (120, 110, 106), (72, 62, 64)),
    "night city": Backdrop(town.paint_night_city, (0.46, 0.52), (48, 48, 80), (206, 204, 226)),
}
