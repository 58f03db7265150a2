"""How animals are drawn: dog, cat, bird, horse; each looks to the right. Units: own height, feet at y = 0,
top near y = -1."""

from __future__ import annotations

import numpy as np

from ssa_me.scenes.pen import Pen, Tones, mix
from ssa_me.scenes.vocabulary import RGB

_INK: RGB = (40, 34, 40)
_NOSE: RGB = (58, 44, 50)


def _eye(pen: Pen, x: float, y: float, r: float, tone: Tones) -> None:
    pen.ellipse(x, y, r * 1.35, r * 1.45, (252, 250, 244))
    pen.ellipse(x + r * 0.2, y, r * 0.95, r * 1.1, _INK)
    pen.ellipse(x + r * 0.45, y - r * 0.4, r * 0.35, r * 0.35, (255, 255, 255))


def draw_dog(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A dog with floppy ears and a wagging tail."""
    wag, step = float(rng.uniform(-0.12, 0.12)), float(rng.uniform(0, 0.06))
    collar = mix(tone.deep, (255, 255, 255), 0.75)
    pen.curve([(-0.42, -0.50), (-0.56, -0.62), (-0.58 + wag, -0.84)], 0.085, tone.dark)
    for x, shift in ((-0.30, -step), (0.20, step)):
        pen.limb((x - 0.02, -0.36), (x + shift - 0.04, -0.05), 0.085, 0.058, tone.dark)
        pen.ellipse(x + shift - 0.01, -0.045, 0.085, 0.05, tone.dark)
    pen.shape([(-0.46, -0.50), (-0.30, -0.61), (0.05, -0.585), (0.28, -0.64), (0.40, -0.52), (0.33, -0.32),
        (0.05, -0.265), (-0.30, -0.27), (-0.45, -0.36)], tone.base)  # fmt: skip
    pen.shape([(0.10, -0.28), (0.30, -0.34), (0.385, -0.46), (0.36, -0.34), (0.24, -0.26)], tone.light)
    for x, shift in ((-0.36, step), (0.27, -step)):
        pen.limb((x, -0.38), (x + shift, -0.05), 0.10, 0.064, tone.base)
        pen.ellipse(x + shift + 0.035, -0.045, 0.095, 0.052, tone.light)
    pen.limb((0.26, -0.54), (0.38, -0.72), 0.15, 0.13, tone.base)
    pen.limb((0.245, -0.625), (0.43, -0.565), 0.03, 0.03, collar)
    pen.ellipse(0.40, -0.79, 0.20, 0.185, tone.base)
    pen.shape([(0.42, -0.83), (0.56, -0.79), (0.68, -0.765), (0.70, -0.69), (0.60, -0.635), (0.44, -0.645)],
        tone.light)  # fmt: skip
    pen.ellipse(0.675, -0.765, 0.052, 0.042, _NOSE)
    pen.curve([(0.66, -0.70), (0.58, -0.675), (0.52, -0.69)], 0.018, _NOSE)
    pen.shape([(0.56, -0.668), (0.61, -0.668), (0.615, -0.60), (0.57, -0.60)], (232, 122, 128))
    _eye(pen, 0.475, -0.845, 0.034, tone)
    pen.shape([(0.28, -0.955), (0.36, -0.93), (0.35, -0.76), (0.28, -0.61), (0.19, -0.63), (0.185, -0.80)],
        tone.deep)  # fmt: skip


def draw_cat(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A sitting cat with a curled tail."""
    curl = float(rng.uniform(-0.1, 0.1))
    pen.curve([(-0.20, -0.08), (-0.44, -0.07), (-0.52, -0.28), (-0.42 + curl, -0.48), (-0.50 + curl, -0.58)],
        0.095, tone.dark)  # fmt: skip
    pen.shape([(-0.05, -0.62), (0.14, -0.60), (0.22, -0.40), (0.23, -0.04), (-0.20, 0.0), (-0.36, -0.08),
        (-0.35, -0.26), (-0.22, -0.45)], tone.base)  # fmt: skip
    pen.ellipse(-0.16, -0.16, 0.21, 0.17, tone.base)
    pen.curve([(-0.28, -0.30), (-0.10, -0.31), (0.0, -0.16), (-0.04, -0.02)], 0.016, tone.dark)
    for x in (0.06, 0.19):
        pen.limb((x - 0.01, -0.40), (x + 0.01, -0.05), 0.075, 0.055, tone.base)
        pen.ellipse(x + 0.035, -0.035, 0.075, 0.045, tone.light)
    pen.line([(0.125, -0.36), (0.13, -0.06)], 0.012, tone.dark)
    pen.shape([(0.03, -0.52), (0.20, -0.52), (0.22, -0.36), (0.12, -0.26), (0.05, -0.36)], tone.light)
    for side in (-1, 1):
        tip = (0.11 + side * 0.205, -1.0)
        pen.shape([(0.11 + side * 0.25, -0.74), (tip[0], tip[1]), (0.11 + side * 0.05, -0.88)], tone.base)
        pen.shape([(0.11 + side * 0.20, -0.80), (0.11 + side * 0.19, -0.93), (0.11 + side * 0.10, -0.86)],
            (240, 170, 176))  # fmt: skip
    pen.shape([(0.11, -0.91), (0.27, -0.87), (0.37, -0.72), (0.31, -0.57), (0.11, -0.51), (-0.09, -0.57),
        (-0.15, -0.72), (-0.05, -0.87)], tone.base)  # fmt: skip
    for x in (0.04, 0.11, 0.18):
        pen.limb((x, -0.895), (x, -0.83), 0.013, 0.007, tone.dark)
    pen.ellipse(0.125, -0.60, 0.105, 0.065, tone.light)
    for side in (-1, 1):
        pen.ellipse(0.125 + side * 0.115, -0.715, 0.05, 0.058, (246, 240, 190))
        pen.ellipse(0.13 + side * 0.115, -0.715, 0.024, 0.052, _INK)
        pen.line([(0.125 + side * 0.10, -0.60), (0.125 + side * 0.30, -0.63)], 0.008, tone.deep)
        pen.line([(0.125 + side * 0.10, -0.58), (0.125 + side * 0.29, -0.57)], 0.008, tone.deep)
    pen.polygon([(0.09, -0.645), (0.16, -0.645), (0.125, -0.612)], (222, 116, 122))
    pen.curve([(0.07, -0.585), (0.10, -0.572), (0.125, -0.60), (0.15, -0.572), (0.18, -0.585)], 0.012, _INK)


def draw_bird(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A round bird on thin legs, its wing folded or lifted."""
    lifted = rng.random() < 0.4
    legs: RGB = (120, 112, 108)
    for x in (-0.06, 0.08):
        pen.line([(x, -0.20), (x + 0.01, -0.02)], 0.026, legs)
        pen.line([(x - 0.05, -0.012), (x + 0.09, -0.012)], 0.024, legs)
    pen.shape([(-0.36, -0.42), (-0.78, -0.52), (-0.84, -0.40), (-0.74, -0.32), (-0.36, -0.28)], tone.dark)
    pen.line([(-0.40, -0.37), (-0.80, -0.42)], 0.014, tone.deep)
    pen.shape([(0.10, -0.93), (0.32, -0.98), (0.47, -0.84), (0.46, -0.62), (0.40, -0.36), (0.16, -0.16),
        (-0.18, -0.16), (-0.44, -0.32), (-0.30, -0.52), (-0.06, -0.66)], tone.base)  # fmt: skip
    pen.shape([(0.43, -0.60), (0.41, -0.36), (0.18, -0.17), (-0.10, -0.17), (0.14, -0.30), (0.30, -0.50)],
        tone.light)  # fmt: skip
    if lifted:
        pen.shape([(0.12, -0.52), (-0.10, -0.74), (-0.42, -0.98), (-0.52, -0.92), (-0.44, -0.66),
            (-0.26, -0.42), (0.0, -0.38)], tone.dark)  # fmt: skip
        pen.curve([(-0.02, -0.50), (-0.24, -0.70), (-0.44, -0.86)], 0.016, tone.deep)
        pen.curve([(-0.06, -0.44), (-0.26, -0.58), (-0.42, -0.70)], 0.016, tone.deep)
    else:
        pen.shape([(0.16, -0.56), (0.16, -0.38), (-0.04, -0.26), (-0.34, -0.27), (-0.56, -0.36),
            (-0.22, -0.50), (-0.02, -0.62)], tone.dark)  # fmt: skip
        pen.curve([(-0.02, -0.34), (-0.22, -0.34), (-0.44, -0.36)], 0.016, tone.deep)
        pen.curve([(0.02, -0.43), (-0.16, -0.43), (-0.34, -0.40)], 0.016, tone.deep)
    beak = (236, 176, 92) if tone.base[0] < 240 or tone.base[2] > 100 else (150, 120, 100)
    pen.polygon([(0.44, -0.86), (0.66, -0.765), (0.455, -0.72)], beak)
    pen.line([(0.46, -0.785), (0.62, -0.77)], 0.012, mix(beak, _INK, 0.4))
    _eye(pen, 0.32, -0.815, 0.042, tone)
    pen.ellipse(0.36, -0.70, 0.055, 0.035, mix(tone.light, (240, 110, 110), 0.35))


def draw_horse(pen: Pen, tone: Tones, rng: np.random.Generator, sitting: bool) -> None:
    """A standing or stepping horse with mane and tail."""
    step = float(rng.uniform(0, 0.09))
    mane = mix(tone.deep, (60, 50, 50), 0.25)
    hoof: RGB = (78, 70, 72)
    pen.shape([(-0.40, -0.62), (-0.53, -0.60), (-0.60, -0.42), (-0.58, -0.18), (-0.50, -0.22), (-0.47, -0.40),
        (-0.38, -0.50)], mane)  # fmt: skip
    for x, shift in ((-0.27, 0.03 + step), (0.24, -0.02 - step)):
        pen.limb((x, -0.40), (x + shift * 0.6, -0.22), 0.062, 0.036, tone.dark)
        pen.limb((x + shift * 0.6, -0.22), (x + shift, -0.05), 0.036, 0.030, tone.dark)
        pen.rect(x + shift - 0.04, -0.05, x + shift + 0.045, 0.0, hoof, 0.015)
    pen.shape([(-0.42, -0.56), (-0.28, -0.645), (0.0, -0.60), (0.24, -0.64), (0.36, -0.54), (0.32, -0.38),
        (0.05, -0.325), (-0.26, -0.33), (-0.41, -0.42)], tone.base)  # fmt: skip
    pen.shape([(-0.18, -0.36), (0.05, -0.37), (0.26, -0.39), (0.10, -0.325), (-0.12, -0.325)], tone.dark)
    for x, shift in ((-0.34, -0.03), (0.30, 0.02 + step)):
        pen.limb((x, -0.44), (x + shift * 0.6, -0.23), 0.085, 0.042, tone.base)
        pen.limb((x + shift * 0.6, -0.23), (x + shift, -0.05), 0.042, 0.034, tone.base)
        pen.rect(x + shift - 0.045, -0.055, x + shift + 0.05, 0.0, hoof, 0.015)
    pen.shape([(0.10, -0.60), (0.24, -0.82), (0.36, -0.95), (0.47, -0.90), (0.45, -0.74), (0.38, -0.54),
        (0.26, -0.44)], tone.base)  # fmt: skip
    pen.shape([(0.34, -0.93), (0.44, -0.965), (0.53, -0.90), (0.64, -0.79), (0.69, -0.72), (0.655, -0.66),
        (0.57, -0.665), (0.47, -0.74), (0.38, -0.80)], tone.base)  # fmt: skip
    pen.shape([(0.61, -0.79), (0.685, -0.73), (0.655, -0.66), (0.575, -0.668)], tone.light)
    pen.ellipse(0.655, -0.715, 0.012, 0.014, _NOSE)
    pen.line([(0.645, -0.68), (0.60, -0.692)], 0.01, _NOSE)
    pen.shape([(0.38, -0.93), (0.385, -1.02), (0.43, -0.94)], tone.dark)
    pen.shape([(0.43, -0.94), (0.45, -1.03), (0.48, -0.93)], tone.base)
    pen.shape([(0.42, -0.97), (0.34, -0.985), (0.22, -0.86), (0.10, -0.66), (0.16, -0.585), (0.25, -0.66),
        (0.30, -0.78), (0.38, -0.88)], mane)  # fmt: skip
    pen.shape([(0.44, -0.98), (0.52, -0.92), (0.48, -0.87), (0.42, -0.90)], mane)
    pen.ellipse(0.505, -0.855, 0.02, 0.024, _INK)
    pen.ellipse(0.511, -0.862, 0.007, 0.007, (255, 255, 255))
