"""How things are drawn: vehicles, house, tree, flower, toys, chair. Units: own height, ground at y = 0,
top near y = -1."""

from __future__ import annotations

import numpy as np

from ssa_me.scenes.pen import Pen, Tones, mix
from ssa_me.scenes.vocabulary import RGB

_GLASS: RGB = (202, 218, 226)
_SHINE: RGB = (234, 243, 247)
_TYRE: RGB = (72, 72, 80)
_HUB: RGB = (206, 208, 214)
_CREAM: RGB = (250, 243, 226)
_WOOD: RGB = (142, 124, 110)
_LAMP: RGB = (255, 240, 186)
_INK: RGB = (50, 42, 48)


def _wheel(pen: Pen, x: float, r: float) -> None:
    pen.ellipse(x, -r, r, r, _TYRE)
    pen.ellipse(x, -r, r * 0.58, r * 0.58, _HUB)
    pen.ellipse(x, -r, r * 0.24, r * 0.24, (150, 152, 160))


def draw_car(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A small car seen from its side, with a roof rack or without."""
    pen.shape([(-1.00, -0.22), (-1.02, -0.50), (-0.86, -0.62), (-0.60, -0.66), (-0.44, -0.93), (-0.20, -1.0),
        (0.22, -0.99), (0.44, -0.90), (0.60, -0.64), (0.90, -0.56), (1.03, -0.42), (1.00, -0.20),
        (0.60, -0.14), (-0.60, -0.14)], tone.base)  # fmt: skip
    pen.shape([(-1.0, -0.40), (-0.5, -0.36), (0.5, -0.36), (1.02, -0.38), (1.00, -0.20), (0.60, -0.14),
        (-0.60, -0.14), (-1.0, -0.20)], tone.dark)  # fmt: skip
    pen.rect(-0.96, -0.385, 0.97, -0.355, tone.light, 0.012)
    pen.polygon([(-0.50, -0.64), (-0.36, -0.88), (-0.16, -0.925), (-0.04, -0.925), (-0.04, -0.64)], _GLASS)
    pen.polygon([(0.04, -0.64), (0.04, -0.925), (0.20, -0.92), (0.36, -0.85), (0.48, -0.64)], _GLASS)
    pen.polygon([(-0.34, -0.70), (-0.22, -0.90), (-0.14, -0.915), (-0.26, -0.70)], _SHINE)
    pen.polygon([(0.16, -0.70), (0.26, -0.885), (0.31, -0.865), (0.22, -0.70)], _SHINE)
    pen.line([(0.0, -0.62), (0.0, -0.18)], 0.014, tone.deep)
    pen.rect(0.06, -0.545, 0.19, -0.515, tone.deep, 0.012)
    for x in (-0.58, 0.58):
        pen.ellipse(x, -0.21, 0.255, 0.255, tone.deep)
        _wheel(pen, x, 0.205)
    pen.ellipse(0.95, -0.45, 0.055, 0.08, _LAMP)
    pen.rect(-1.02, -0.50, -0.95, -0.40, (222, 110, 100), 0.02)
    pen.rect(0.86, -0.24, 1.05, -0.17, (190, 192, 198), 0.03)
    pen.rect(-1.05, -0.24, -0.86, -0.17, (190, 192, 198), 0.03)


def draw_bus(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A long bus seen from its side."""
    pen.rect(-0.95, -0.98, 0.95, -0.12, tone.base, 0.10)
    pen.rect(-0.95, -0.42, 0.95, -0.12, tone.dark, 0.05)
    pen.rect(-0.95, -0.44, 0.95, -0.38, tone.light)
    pen.rect(-0.86, -0.985, 0.80, -0.93, tone.light, 0.03)
    for i in range(4):
        x = -0.86 + i * 0.315
        pen.rect(x, -0.86, x + 0.27, -0.53, _GLASS, 0.035)
        pen.polygon([(x + 0.05, -0.57), (x + 0.13, -0.82), (x + 0.18, -0.82), (x + 0.10, -0.57)], _SHINE)
    pen.rect(0.42, -0.86, 0.66, -0.17, mix(_GLASS, tone.deep, 0.25), 0.03)
    pen.rect(0.445, -0.83, 0.53, -0.22, _GLASS, 0.02)
    pen.rect(0.55, -0.83, 0.635, -0.22, _GLASS, 0.02)
    pen.rect(0.72, -0.86, 0.955, -0.48, _GLASS, 0.04)
    pen.polygon([(0.76, -0.52), (0.84, -0.82), (0.90, -0.82), (0.82, -0.52)], _SHINE)
    for x in (-0.56, 0.28):
        pen.ellipse(x, -0.16, 0.185, 0.185, tone.deep)
        _wheel(pen, x, 0.145)
    pen.ellipse(0.915, -0.29, 0.04, 0.05, _LAMP)
    pen.rect(0.86, -0.17, 0.98, -0.11, (190, 192, 198), 0.03)
    pen.rect(-0.98, -0.17, -0.86, -0.11, (190, 192, 198), 0.03)


def draw_bicycle(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A bicycle with fat tubes, mudguards and a basket in its colour."""
    rear, front, r = (-0.44, -0.34), (0.46, -0.34), 0.315
    for x, y in (rear, front):
        pen.ring(x, y, r - 0.02, 0.055, _TYRE)
        pen.ring(x, y, r - 0.065, 0.034, tone.light)
        for angle in np.arange(4) * (np.pi / 4) + 0.3:
            dx, dy = np.cos(angle) * (r - 0.06), np.sin(angle) * (r - 0.06)
            pen.line([(x - dx, y - dy), (x + dx, y + dy)], 0.008, (170, 172, 180))
        arc = np.linspace(1.15 * np.pi, 1.85 * np.pi, 7)
        pen.curve([(x + float(np.cos(a)) * (r + 0.045), y + float(np.sin(a)) * (r + 0.045)) for a in arc],
            0.05, tone.dark)  # fmt: skip
    crank, seat, head = (-0.05, -0.32), (-0.17, -0.74), (0.33, -0.78)
    for a, b in ((rear, crank), (rear, seat), (crank, seat), (crank, head), (seat, head)):
        pen.limb(a, b, 0.042, 0.042, tone.base)
    pen.limb((0.31, -0.90), head, 0.032, 0.038, tone.base)
    pen.limb(head, front, 0.038, 0.032, tone.base)
    pen.line([(seat[0] + 0.05, seat[1] - 0.012), (head[0] - 0.03, head[1] - 0.012)], 0.016, tone.light)
    pen.line([(-0.19, -0.76), (-0.20, -0.84)], 0.035, (120, 122, 130))
    pen.shape([(-0.34, -0.90), (-0.10, -0.885), (-0.04, -0.86), (-0.12, -0.835), (-0.30, -0.83)],
        (84, 74, 74))  # fmt: skip
    pen.curve([(0.31, -0.90), (0.27, -0.96), (0.20, -0.955)], 0.038, (120, 122, 130))
    pen.limb((0.24, -0.955), (0.15, -0.945), 0.03, 0.03, (84, 74, 74))
    pen.polygon([(0.38, -0.92), (0.68, -0.92), (0.63, -0.68), (0.42, -0.68)], tone.base)
    pen.line([(0.395, -0.84), (0.665, -0.84)], 0.012, tone.dark)
    pen.line([(0.41, -0.76), (0.645, -0.76)], 0.012, tone.dark)
    pen.limb((0.38, -0.92), (0.68, -0.92), 0.022, 0.022, tone.light)
    pen.ellipse(crank[0], crank[1], 0.075, 0.075, tone.dark)
    pen.ellipse(crank[0], crank[1], 0.03, 0.03, _HUB)
    pen.line([crank, (0.03, -0.20)], 0.024, (120, 122, 130))
    pen.rect(-0.03, -0.205, 0.10, -0.175, _TYRE, 0.012)


def draw_boat(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A sailing boat whose hull and sails have its colour."""
    pen.limb((-0.02, -0.98), (-0.02, -0.20), 0.016, 0.02, _WOOD)
    pen.shape([(0.02, -0.93), (0.20, -0.68), (0.44, -0.38), (0.46, -0.33), (0.02, -0.33)], tone.base)
    pen.shape([(0.02, -0.93), (0.10, -0.66), (0.12, -0.33), (0.02, -0.33)], tone.light)
    pen.shape([(-0.06, -0.84), (-0.30, -0.42), (-0.34, -0.33), (-0.06, -0.33)], tone.light)
    pen.line([(0.03, -0.56), (0.27, -0.56)], 0.008, tone.dark)
    pen.polygon([(-0.02, -1.0), (0.13, -0.965), (-0.02, -0.93)], tone.dark)
    pen.shape([(-0.54, -0.27), (0.0, -0.24), (0.58, -0.29), (0.50, -0.12), (0.36, -0.01), (-0.34, -0.01),
        (-0.47, -0.12)], tone.base)  # fmt: skip
    pen.shape([(-0.49, -0.13), (0.0, -0.10), (0.53, -0.14), (0.36, -0.01), (-0.34, -0.01)], tone.dark)
    pen.curve([(-0.54, -0.265), (0.0, -0.235), (0.58, -0.285)], 0.034, _CREAM)
    for x in (-0.22, 0.02, 0.26):
        pen.ellipse(x, -0.165, 0.032, 0.032, _GLASS)


def draw_house(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A cottage with walls and roof in tones of its colour."""
    chimney = float(rng.choice([-0.26, 0.20]))
    pen.rect(chimney - 0.055, -0.95, chimney + 0.055, -0.66, tone.dark)
    pen.rect(chimney - 0.07, -0.97, chimney + 0.07, -0.925, tone.deep, 0.01)
    pen.rect(-0.43, -0.58, 0.43, 0.0, tone.base)
    pen.rect(-0.43, -0.06, 0.43, 0.0, tone.deep)
    for y in (-0.50, -0.40, -0.30, -0.20, -0.12):
        pen.line([(-0.43, y), (0.43, y)], 0.006, mix(tone.base, tone.dark, 0.5))
    pen.polygon([(-0.54, -0.52), (-0.30, -0.92), (0.30, -0.92), (0.54, -0.52)], tone.dark)
    pen.polygon([(-0.54, -0.52), (-0.525, -0.545), (0.525, -0.545), (0.54, -0.52), (0.54, -0.495),
        (-0.54, -0.495)], tone.deep)  # fmt: skip
    for row, y in enumerate((-0.84, -0.75, -0.66, -0.585)):
        half = 0.30 + (y + 0.92) * 0.60
        for x in np.arange(-half + 0.06 + 0.03 * (row % 2), half - 0.04, 0.12):
            pen.line([(x, y), (x + 0.05, y + 0.012), (x + 0.09, y)], 0.009, tone.deep)
    pen.rect(-0.075, -0.33, 0.095, 0.0, _CREAM, 0.02)
    pen.rect(-0.055, -0.31, 0.075, 0.0, mix(_WOOD, tone.deep, 0.4), 0.02)
    pen.ellipse(0.05, -0.15, 0.013, 0.013, _LAMP)
    for x in (-0.285, 0.285):
        pen.rect(x - 0.095, -0.42, x + 0.095, -0.18, _CREAM, 0.012)
        pen.rect(x - 0.077, -0.402, x + 0.077, -0.198, _GLASS)
        pen.polygon([(x - 0.06, -0.21), (x + 0.0, -0.39), (x + 0.035, -0.39), (x - 0.025, -0.21)], _SHINE)
        pen.line([(x, -0.402), (x, -0.198)], 0.012, _CREAM)
        pen.line([(x - 0.077, -0.30), (x + 0.077, -0.30)], 0.012, _CREAM)
        pen.rect(x - 0.11, -0.185, x + 0.11, -0.16, tone.light, 0.008)


def draw_tree(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A broad tree whose crown has its colour."""
    pen.shape([(-0.055, -0.45), (0.055, -0.45), (0.06, -0.12), (0.12, 0.0), (0.0, -0.02), (-0.12, 0.0),
        (-0.06, -0.12)], _WOOD)  # fmt: skip
    pen.curve([(-0.02, -0.36), (-0.03, -0.2), (-0.05, -0.04)], 0.016, mix(_WOOD, _INK, 0.3))
    pen.line([(0.0, -0.36), (0.12, -0.50)], 0.04, _WOOD)
    lean = float(rng.uniform(-0.03, 0.03))
    lobes = [(-0.20, -0.46, 0.17), (0.21, -0.47, 0.17), (0.0, -0.42, 0.17), (-0.22, -0.63, 0.17),
        (0.23, -0.64, 0.165), (0.01, -0.62, 0.22), (-0.11, -0.79, 0.165), (0.12, -0.80, 0.16),
        (0.01, -0.86, 0.135)]  # fmt: skip
    for x, y, r in lobes[:3]:
        pen.ellipse(x + lean, y, r, r * 0.86, tone.dark)
    for x, y, r in lobes[3:]:
        pen.ellipse(x + lean, y, r, r, tone.base)
    for x, y, r in ((-0.17, -0.74, 0.09), (-0.05, -0.88, 0.07), (-0.26, -0.60, 0.06), (0.06, -0.70, 0.07)):
        pen.ellipse(x + lean, y, r, r * 0.8, tone.light)
    for x, y in zip(rng.uniform(-0.28, 0.28, 9), rng.uniform(-0.86, -0.42, 9), strict=True):
        pen.shape([(x, y), (x + 0.03, y - 0.02), (x + 0.05, y + 0.01), (x + 0.02, y + 0.02)], tone.deep)


def draw_flower(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """One large flower on a leafy stem."""
    stem, leaf = (120, 150, 110), (134, 164, 122)
    bend = float(rng.uniform(-0.05, 0.05))
    pen.curve([(0.0, 0.0), (bend, -0.28), (0.0, -0.62)], 0.045, stem)
    for side, y in ((-1, -0.12), (1, -0.22)):
        pen.shape([(0.0, y), (side * 0.14, y - 0.13), (side * 0.31, y - 0.15), (side * 0.20, y - 0.02)], leaf)
        pen.curve([(side * 0.02, y - 0.01), (side * 0.14, y - 0.08), (side * 0.27, y - 0.13)], 0.012,
            mix(stem, _INK, 0.2))  # fmt: skip
    turn = float(rng.uniform(0, 1))
    count = int(rng.choice([6, 7, 8]))
    for ring, (reach, size, colour) in enumerate(
        ((0.205, 0.125, tone.dark), (0.185, 0.115, tone.base), (0.105, 0.075, tone.light))
    ):
        for i in range(count):
            a = 2 * np.pi * (i + turn + 0.5 * ring) / count
            pen.ellipse(
                float(np.cos(a)) * reach,
                -0.68 + float(np.sin(a)) * reach,
                size,
                size * 0.72,
                colour,
                float(a),
            )
    pen.ellipse(0.0, -0.68, 0.085, 0.085, mix((232, 190, 96), tone.deep, 0.25))
    for i in range(7):
        a = 2 * np.pi * i / 7
        pen.ellipse(float(np.cos(a)) * 0.045, -0.68 + float(np.sin(a)) * 0.045, 0.013, 0.013, (255, 232, 170))


def draw_ball(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A striped beach ball."""
    pen = pen.turned(0.0, -0.5, float(rng.uniform(-0.6, 0.6)))
    pen.ellipse(0, 0, 0.5, 0.5, tone.base)
    pen.shape([(0.0, -0.5), (0.20, -0.36), (0.27, 0.0), (0.20, 0.36), (0.0, 0.5), (0.02, 0.2), (0.03, -0.2)],
        tone.light)  # fmt: skip
    pen.shape([(-0.05, -0.49), (-0.36, -0.34), (-0.47, 0.0), (-0.36, 0.34), (-0.05, 0.49), (-0.22, 0.25),
        (-0.28, 0.0), (-0.22, -0.25)], tone.dark)  # fmt: skip
    pen.ellipse(0.0, -0.46, 0.09, 0.035, _CREAM)
    pen.ellipse(-0.17, -0.22, 0.075, 0.05, mix(tone.light, (255, 255, 255), 0.7), -0.7)


def draw_teddy(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A sitting teddy bear with a bow."""
    muzzle = mix(tone.light, (255, 246, 230), 0.55)
    for side in (-1, 1):
        pen.ellipse(side * 0.21, -0.90, 0.115, 0.11, tone.base)
        pen.ellipse(side * 0.21, -0.89, 0.065, 0.06, tone.light)
        pen.limb(
            (side * 0.20, -0.46), (side * 0.37, -0.26 - 0.12 * float(rng.random())), 0.09, 0.085, tone.dark
        )
    pen.ellipse(0, -0.29, 0.27, 0.28, tone.base)
    pen.ellipse(0, -0.27, 0.165, 0.18, tone.light)
    for side in (-1, 1):
        pen.limb((side * 0.17, -0.10), (side * 0.31, -0.10), 0.105, 0.105, tone.base)
        pen.ellipse(side * 0.335, -0.10, 0.085, 0.10, tone.dark)
        pen.ellipse(side * 0.335, -0.085, 0.048, 0.055, muzzle)
    pen.ellipse(0, -0.73, 0.29, 0.245, tone.base)
    pen.ellipse(0, -0.655, 0.14, 0.11, muzzle)
    pen.ellipse(0, -0.70, 0.05, 0.036, _INK)
    pen.line([(0, -0.68), (0, -0.63)], 0.014, _INK)
    pen.curve([(-0.06, -0.635), (0, -0.60), (0.06, -0.635)], 0.014, _INK)
    for side in (-1, 1):
        pen.ellipse(side * 0.125, -0.775, 0.03, 0.034, _INK)
        pen.ellipse(side * 0.125 + 0.009, -0.787, 0.010, 0.010, (255, 255, 255))
        pen.shape([(0.0, -0.475), (side * 0.12, -0.53), (side * 0.12, -0.42)], tone.deep)
    pen.ellipse(0, -0.475, 0.035, 0.032, tone.dark)


def draw_kite(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A diamond kite in the air with a tail of bows."""
    sway = float(rng.uniform(-0.06, 0.06))
    pen.curve([(0.05, -0.42), (0.10 + sway, -0.28), (-0.02 + sway, -0.15), (0.06 + sway, 0.0)], 0.016,
        tone.deep)  # fmt: skip
    for x, y in ((0.09 + sway, -0.29), (0.0 + sway, -0.16), (0.05 + sway, -0.04)):
        for side in (-1, 1):
            pen.polygon([(x, y), (x + side * 0.075, y - 0.04), (x + side * 0.075, y + 0.04)], tone.base)
    top, bottom, middle = (-0.03, -1.0), (0.05, -0.40), (0.0, -0.77)
    left, right = (-0.30, -0.76), (0.28, -0.80)
    pen.polygon([top, right, middle], tone.base)
    pen.polygon([top, left, middle], tone.light)
    pen.polygon([left, bottom, middle], tone.base)
    pen.polygon([right, bottom, middle], tone.dark)
    pen.line([top, bottom], 0.014, tone.deep)
    pen.line([left, right], 0.014, tone.deep)
    pen.line([top, right, bottom, left], 0.012, tone.deep, closed=True)


def draw_chair(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A wooden chair painted in its colour."""
    for x in (-0.21, 0.21):
        pen.limb((x, -0.40), (x * 1.02, -0.06), 0.028, 0.024, tone.deep)
        pen.limb((x, -0.95), (x, -0.40), 0.038, 0.034, tone.dark)
    pen.rect(-0.23, -0.96, 0.23, -0.82, tone.base, 0.05)
    pen.rect(-0.19, -0.935, 0.19, -0.90, tone.light, 0.02)
    for x in (-0.10, 0.0, 0.10):
        pen.limb((x, -0.82), (x, -0.46), 0.024, 0.024, tone.base)
    pen.polygon([(-0.25, -0.46), (0.25, -0.46), (0.33, -0.33), (-0.33, -0.33)], tone.light)
    pen.rect(-0.34, -0.345, 0.34, -0.265, tone.base, 0.02)
    for x in (-0.29, 0.29):
        pen.limb((x, -0.27), (x * 1.06, -0.03), 0.04, 0.03, tone.base)
    pen.rect(-0.29, -0.17, 0.29, -0.13, tone.dark, 0.015)
