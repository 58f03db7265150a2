"""How persons are drawn: man, woman and child, standing, walking, waving or sitting, in clothes of a colour.

Units: the figure's height when standing; feet at y = 0, head at y = -1. Sitting, the seat is at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssa_me.scenes.pen import Pen, Tones, mix
from ssa_me.scenes.vocabulary import RGB

_SKIN: tuple[RGB, ...] = ((252, 219, 193), (240, 196, 160), (222, 170, 128), (178, 124, 88), (132, 88, 62))
_HAIR: tuple[RGB, ...] = (
    (58, 48, 46),
    (92, 66, 50),
    (138, 98, 66),
    (214, 178, 112),
    (158, 156, 158),
    (176, 92, 58),
)
_TROUSERS: tuple[RGB, ...] = ((98, 104, 116), (122, 124, 130), (150, 146, 140), (84, 90, 104))
_SHOE: RGB = (74, 72, 80)
_INK: RGB = (62, 48, 52)


@dataclass(frozen=True)
class _Look:
    skin: RGB
    cheek: RGB
    hair: RGB
    trousers: RGB
    style: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> _Look:
        skin = _SKIN[rng.integers(len(_SKIN))]
        hair = _HAIR[rng.integers(len(_HAIR))]
        trousers = _TROUSERS[rng.integers(len(_TROUSERS))]
        return cls(skin, mix(skin, (232, 96, 92), 0.35), hair, trousers, int(rng.integers(3)))


def draw_man(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A man in a jacket of the colour."""
    look, stride, lift = _Look.random(rng), float(rng.uniform(0.03, 0.1)), float(rng.uniform(0, 1))
    if sitting:
        pen = pen.moved(0, 0.43)
    _far_arm(pen, tone, look, (-0.115, -0.70), lift, 0.048)
    if sitting:
        _hanging_legs(pen, look.trousers, 0.07, 0.30)
    else:
        _leg(pen, look.trousers, (-0.055, -0.44), (-0.065 - stride * 0.5, -0.03), 0.062)
        _leg(pen, mix(look.trousers, (255, 255, 255), 0.1), (0.055, -0.44), (0.065 + stride * 0.5, -0.02),
            0.062)  # fmt: skip
    pen.rect(-0.04, -0.80, 0.04, -0.70, mix(look.skin, (120, 60, 50), 0.22), 0.02)
    pen.shape([(-0.07, -0.755), (0.07, -0.755), (0.145, -0.70), (0.142, -0.52), (0.135, -0.385),
        (-0.135, -0.385), (-0.142, -0.52), (-0.145, -0.70)], tone.base)  # fmt: skip
    pen.shape([(-0.145, -0.69), (-0.09, -0.735), (-0.085, -0.55), (-0.10, -0.385), (-0.135, -0.385)],
        mix(tone.base, tone.light, 0.6))  # fmt: skip
    pen.polygon([(-0.045, -0.765), (0.045, -0.765), (0.0, -0.66)], (250, 246, 238))
    pen.polygon([(-0.05, -0.77), (-0.085, -0.74), (-0.02, -0.62), (0.0, -0.655)], tone.dark)
    pen.polygon([(0.05, -0.77), (0.085, -0.74), (0.02, -0.62), (0.0, -0.655)], tone.dark)
    pen.line([(0.0, -0.65), (0.0, -0.39)], 0.009, tone.deep)
    for y in (-0.58, -0.51, -0.44):
        pen.ellipse(0.018, y, 0.009, 0.009, tone.deep)
    pen.rect(0.045, -0.50, 0.105, -0.485, tone.dark, 0.006)
    _near_arm(pen, tone, look, (0.125, -0.69), lift, 0.05)
    _head(pen, look, 0.0, -0.868, 0.112)
    _short_hair(pen, look, 0.0, -0.868, 0.112)


def draw_woman(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A woman in a dress of the colour."""
    look, stride, lift = _Look.random(rng), float(rng.uniform(0.03, 0.08)), float(rng.uniform(0, 1))
    if sitting:
        pen = pen.moved(0, 0.40)
    _long_hair_behind(pen, look, 0.0, -0.868, 0.108)
    _far_arm(pen, tone, look, (-0.095, -0.70), lift, 0.040)
    if sitting:
        _hanging_legs(pen, look.skin, 0.06, 0.30)
    else:
        _leg(pen, look.skin, (-0.045, -0.34), (-0.045 - stride * 0.4, -0.03), 0.040)
        _leg(pen, mix(look.skin, (255, 255, 255), 0.12), (0.045, -0.34), (0.05 + stride * 0.5, -0.02), 0.040)
    pen.rect(-0.034, -0.80, 0.034, -0.71, mix(look.skin, (120, 60, 50), 0.22), 0.02)
    hem = -0.30 if sitting else -0.245
    skirt = 0.02 * look.style
    pen.shape([(-0.05, -0.755), (0.05, -0.755), (0.115, -0.71), (0.098, -0.60), (0.082, -0.54), (0.13, -0.42),
        (0.185 + skirt, hem), (0.06, hem + 0.022), (-0.06, hem + 0.022), (-0.185 - skirt, hem),
        (-0.13, -0.42), (-0.082, -0.54), (-0.098, -0.60), (-0.115, -0.71)], tone.base)  # fmt: skip
    pen.shape([(-0.112, -0.70), (-0.07, -0.73), (-0.055, -0.56), (-0.09, -0.40), (-0.12, hem + 0.005),
        (-0.17, hem), (-0.08, -0.54)], mix(tone.base, tone.light, 0.6))  # fmt: skip
    pen.shape([(0.03, -0.50), (0.06, -0.42), (0.10, hem + 0.01), (0.07, hem + 0.02)], tone.dark)
    pen.shape([(-0.085, -0.555), (0.0, -0.545), (0.085, -0.555), (0.085, -0.527), (0.0, -0.515),
        (-0.085, -0.527)], tone.deep)  # fmt: skip
    pen.shape([(-0.045, -0.765), (0.045, -0.765), (0.0, -0.70)], look.skin)
    _near_arm(pen, tone, look, (0.098, -0.69), lift, 0.040)
    _head(pen, look, 0.0, -0.868, 0.108)
    _fringe(pen, look, 0.0, -0.868, 0.108)


def draw_child(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A child in overalls and a cap of the colour."""
    look, stride, lift = _Look.random(rng), float(rng.uniform(0.04, 0.1)), float(rng.uniform(0, 1))
    if sitting:
        pen = pen.moved(0, 0.30)
    shirt: RGB = tone.light
    sleeve = Tones(tone.light, tone.light, tone.base, tone.dark)
    _far_arm(pen, sleeve, look, (-0.125, -0.53), lift, 0.056, 0.8)
    if sitting:
        _hanging_legs(pen, tone.base, 0.08, 0.24)
    else:
        _leg(pen, tone.dark, (-0.065, -0.30), (-0.075 - stride * 0.5, -0.04), 0.072)
        _leg(pen, tone.base, (0.065, -0.30), (0.075 + stride * 0.5, -0.03), 0.072)
    pen.shape([(-0.08, -0.61), (0.08, -0.61), (0.155, -0.56), (0.15, -0.30), (-0.15, -0.30), (-0.155, -0.56)],
        shirt)  # fmt: skip
    pen.shape([(-0.10, -0.51), (0.10, -0.51), (0.15, -0.38), (0.15, -0.24), (0.0, -0.22), (-0.15, -0.24),
        (-0.15, -0.38)], tone.base)  # fmt: skip
    pen.limb((-0.085, -0.60), (-0.085, -0.48), 0.022, 0.022, tone.base)
    pen.limb((0.085, -0.60), (0.085, -0.48), 0.022, 0.022, tone.base)
    pen.rect(-0.055, -0.45, 0.055, -0.36, tone.dark, 0.02)
    pen.ellipse(-0.085, -0.485, 0.014, 0.014, (252, 244, 214))
    pen.ellipse(0.085, -0.485, 0.014, 0.014, (252, 244, 214))
    _near_arm(pen, sleeve, look, (0.135, -0.53), lift, 0.056, 0.8)
    _head(pen, look, 0.0, -0.76, 0.168)
    _cap(pen, tone, look, 0.0, -0.76, 0.168)


def _leg(pen: Pen, colour: RGB, hip: tuple[float, float], foot: tuple[float, float], radius: float) -> None:
    pen.limb(hip, foot, radius, radius * 0.72, colour)
    pen.shape([(foot[0] - radius * 0.8, foot[1] - 0.012), (foot[0] + radius * 0.5, foot[1] - 0.022),
        (foot[0] + radius * 1.7, foot[1] + 0.012), (foot[0] + radius * 1.5, foot[1] + 0.03),
        (foot[0] - radius * 0.8, foot[1] + 0.03)], _SHOE)  # fmt: skip


def _hanging_legs(pen: Pen, colour: RGB, half: float, length: float) -> None:
    top = -0.43 if length > 0.28 else -0.30
    for side in (-1, 1):
        knee = (side * half * 1.15, top + 0.02)
        foot = (side * half * 1.2, top + length)
        pen.limb((side * half, top - 0.06), knee, half * 0.9, half * 0.95, mix(colour, (255, 255, 255), 0.08))
        pen.limb(knee, foot, half * 0.85, half * 0.62, colour)
        pen.ellipse(foot[0] + half * 0.2, foot[1] + 0.012, half * 1.0, half * 0.55, _SHOE)


def _far_arm(
    pen: Pen, tone: Tones, look: _Look, at: tuple[float, float], lift: float, r: float, reach: float = 1.0
) -> None:
    swing = 0.05 + 0.05 * lift
    elbow = (at[0] - swing * 0.9, at[1] + 0.14 * reach)
    hand = (at[0] - swing * 1.1, at[1] + 0.29 * reach)
    pen.ellipse(hand[0], hand[1] + 0.015, r * 0.8, r * 0.8, look.skin)
    pen.limb(at, elbow, r, r * 0.9, tone.dark)
    pen.limb(elbow, hand, r * 0.9, r * 0.75, tone.dark)


def _near_arm(
    pen: Pen, tone: Tones, look: _Look, at: tuple[float, float], lift: float, r: float, reach: float = 1.0
) -> None:
    if lift > 0.6:  # waving
        elbow, hand = (at[0] + 0.13 * reach, at[1] + 0.05), (at[0] + 0.17 * reach, at[1] - 0.12 * reach)
    elif lift > 0.35:  # hand on the hip
        elbow, hand = (at[0] + 0.11 * reach, at[1] + 0.14 * reach), (at[0] + 0.01, at[1] + 0.24 * reach)
    else:
        elbow, hand = (at[0] + 0.05, at[1] + 0.14 * reach), (at[0] + 0.06 + 0.06 * lift, at[1] + 0.29 * reach)
    if not 0.35 < lift <= 0.6:  # else it is in the pocket
        pen.ellipse(hand[0], hand[1], r * 0.85, r * 0.85, look.skin)
    pen.limb(elbow, hand, r * 0.92, r * 0.74, tone.base)
    pen.limb(at, elbow, r, r * 0.92, tone.base)


def _head(pen: Pen, look: _Look, x: float, y: float, r: float) -> None:
    for side in (-1, 1):
        pen.ellipse(x + side * r * 0.9, y + r * 0.08, r * 0.17, r * 0.22, mix(look.skin, (120, 60, 50), 0.15))
    pen.ellipse(x, y, r * 0.92, r, look.skin)
    for side in (-1, 1):
        pen.ellipse(x + r * (0.10 + side * 0.36), y + r * 0.02, r * 0.085, r * 0.125, _INK)
        pen.ellipse(x + r * (0.10 + side * 0.54), y + r * 0.36, r * 0.15, r * 0.10, look.cheek)
    pen.ellipse(x + r * 0.12, y + r * 0.24, r * 0.08, r * 0.06, mix(look.skin, (150, 70, 60), 0.35))
    pen.curve([(x - r * 0.12, y + r * 0.48), (x + r * 0.12, y + r * 0.60), (x + r * 0.36, y + r * 0.48)],
        r * 0.09, (166, 70, 70))  # fmt: skip


def _short_hair(pen: Pen, look: _Look, x: float, y: float, r: float) -> None:
    light = mix(look.hair, (255, 240, 220), 0.18)
    pen.shape([(x - r * 0.98, y + r * 0.05), (x - r * 1.02, y - r * 0.55), (x - r * 0.45, y - r * 1.12),
        (x + r * 0.35, y - r * 1.16), (x + r * 0.98, y - r * 0.62), (x + r * 0.92, y - r * 0.10),
        (x + r * 0.70, y - r * 0.48), (x + r * (0.1 - 0.2 * look.style), y - r * 0.40),
        (x - r * 0.62, y - r * 0.52)], look.hair)  # fmt: skip
    pen.shape([(x - r * 0.6, y - r * 0.7), (x - r * 0.1, y - r * 0.98), (x + r * 0.4, y - r * 0.96),
        (x - r * 0.1, y - r * 0.8)], light)  # fmt: skip


def _long_hair_behind(pen: Pen, look: _Look, x: float, y: float, r: float) -> None:
    dark = mix(look.hair, (30, 20, 30), 0.25)
    if look.style == 0:
        pen.ellipse(x - r * 0.1, y - r * 1.12, r * 0.5, r * 0.45, look.hair)
        pen.ellipse(x, y - r * 0.1, r * 1.06, r * 1.02, dark)
    elif look.style == 1:
        pen.shape([(x - r, y - r * 0.4), (x, y - r * 1.1), (x + r, y - r * 0.4), (x + r * 1.15, y + r * 0.9),
            (x + r * 0.5, y + r * 1.35), (x - r * 0.5, y + r * 1.35), (x - r * 1.15, y + r * 0.9)],
            dark)  # fmt: skip
    else:
        pen.shape([(x - r * 0.7, y - r * 0.7), (x - r * 1.5, y - r * 0.5), (x - r * 1.75, y + r * 0.5),
            (x - r * 1.4, y + r * 1.3), (x - r * 1.25, y + r * 0.2)], look.hair)  # fmt: skip


def _fringe(pen: Pen, look: _Look, x: float, y: float, r: float) -> None:
    light = mix(look.hair, (255, 240, 220), 0.18)
    pen.shape([(x - r * 1.0, y + r * 0.25), (x - r * 1.06, y - r * 0.45), (x - r * 0.5, y - r * 1.1),
        (x + r * 0.4, y - r * 1.12), (x + r * 1.04, y - r * 0.5), (x + r * 0.98, y + r * 0.25),
        (x + r * 0.78, y - r * 0.25), (x + r * 0.15, y - r * 0.62), (x - r * 0.7, y - r * 0.20)],
        look.hair)  # fmt: skip
    pen.shape([(x - r * 0.65, y - r * 0.62), (x - r * 0.2, y - r * 0.96), (x + r * 0.35, y - r * 0.97),
        (x - r * 0.15, y - r * 0.78)], light)  # fmt: skip


def _cap(pen: Pen, tone: Tones, look: _Look, x: float, y: float, r: float) -> None:
    pen.shape([(x - r * 0.98, y + r * 0.1), (x - r * 1.0, y - r * 0.4), (x - r * 0.6, y - r * 0.45)],
        look.hair)  # fmt: skip
    pen.shape([(x + r * 0.98, y + r * 0.05), (x + r * 1.0, y - r * 0.4), (x + r * 0.6, y - r * 0.45)],
        look.hair)  # fmt: skip
    pen.shape([(x - r * 1.02, y - r * 0.34), (x - r * 0.92, y - r * 0.86), (x - r * 0.3, y - r * 1.2),
        (x + r * 0.4, y - r * 1.16), (x + r * 0.98, y - r * 0.74), (x + r * 1.02, y - r * 0.34),
        (x, y - r * 0.44)], tone.base)  # fmt: skip
    pen.shape([(x - r * 0.85, y - r * 0.7), (x - r * 0.3, y - r * 1.08), (x + r * 0.1, y - r * 1.08),
        (x - r * 0.5, y - r * 0.6)], tone.light)  # fmt: skip
    pen.shape([(x - r * 0.2, y - r * 0.50), (x + r * 0.9, y - r * 0.52), (x + r * 1.55, y - r * 0.28),
        (x + r * 0.9, y - r * 0.24), (x + r * 0.2, y - r * 0.30)], tone.dark)  # fmt: skip
    pen.ellipse(x + r * 0.05, y - r * 1.2, r * 0.12, r * 0.09, tone.dark)
