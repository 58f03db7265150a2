"""What several settings share: sun, clouds, hills, waves of the ground, grass. Units: shares of the image,
origin top left."""

from __future__ import annotations

import cv2
import numpy as np

from ssa_me.scenes.pen import Pen, glow, veil
from ssa_me.scenes.vocabulary import RGB


def soft(points: list[tuple[float, float]], drop: float) -> list[tuple[float, float]]:
    """`points` from left to right as a smooth line across the image, moved down by `drop`."""
    xs = np.linspace(-0.02, 1.02, 40)
    at, heights = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    ys = np.interp(xs, at, heights)
    ys = np.convolve(np.pad(ys, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    return [(float(x), float(y) + drop) for x, y in zip(xs, ys, strict=True)]


def sun(image: np.ndarray, rng: np.random.Generator, horizon: float) -> None:
    """A pale sun with its glow."""
    x, y = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.08, horizon * 0.55))
    glow(image, x, y, 0.30, (255, 248, 228), 0.7)
    glow(image, x, y, 0.07, (255, 253, 244), 1.0)


def clouds(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float, colour: RGB) -> None:
    """A few soft clouds in the upper sky."""
    opacity = np.zeros(image.shape[:2], np.uint8)
    cloud = Pen(opacity[:, :, None], pen.scale)
    for _ in range(int(rng.integers(2, 5))):
        x, y, w = rng.uniform(0, 1), rng.uniform(0.04, max(0.08, horizon * 0.6)), rng.uniform(0.06, 0.13)
        for dx, dy, r in (
            (-0.8, 0.0, 0.32),
            (-0.3, -0.12, 0.45),
            (0.25, -0.06, 0.40),
            (0.8, 0.02, 0.28),
            (0.0, 0.08, 0.4),
        ):
            cloud.ellipse(x + dx * w, y + dy * w, r * w * 1.25, r * w * 0.72, (210, 0, 0))
    rows = max(1, round(horizon * image.shape[0]))
    veil(image[:rows], cv2.GaussianBlur(opacity[:rows], (0, 0), max(0.6, pen.scale / 160)), colour)


def hills(pen: Pen, rng: np.random.Generator, base: float, height: float, colour: RGB) -> None:
    """A row of hills that stands on `base`."""
    tops = base - rng.uniform(0.2, 1.0, 6) * height
    points = [(-0.1 + i * 0.24, float(y)) for i, y in enumerate(tops)]
    pen.polygon([*soft(points, 0.0), (1.02, base + 0.03), (-0.02, base + 0.03)], colour)


def drifts(image: np.ndarray, pen: Pen, rng: np.random.Generator, top: float, colour: RGB) -> None:
    """Soft waves of the ground from `top` down."""
    opacity = np.zeros(image.shape[:2], np.uint8)
    drift = Pen(opacity[:, :, None], pen.scale)
    for y in np.linspace(top, 0.97, 5):
        x, w = float(rng.uniform(0, 1)), float(rng.uniform(0.25, 0.5))
        drift.shape([(x - w, y + 0.015), (x, y - 0.02 - 0.02 * y), (x + w, y + 0.01),
            (x + w * 0.2, y + 0.035)], (130, 0, 0))  # fmt: skip
    veil(image, cv2.GaussianBlur(opacity, (0, 0), max(0.8, pen.scale / 70)), colour)


def tufts(pen: Pen, rng: np.random.Generator, top: float, colour: RGB, count: int) -> None:
    """Tufts of grass from `top` down."""
    for x, y in zip(rng.uniform(0, 1, count), rng.uniform(top, 1, count), strict=True):
        s = 0.008 + 0.014 * max(0.0, y - top)
        pen.polygon([(x - s, y - s * 1.3), (x - s * 0.4, y), (x - s * 0.1, y - s * 1.9), (x + s * 0.3, y),
            (x + s, y - s * 1.2), (x + s * 0.6, y + 0.002), (x - s * 0.6, y + 0.002)], colour)  # fmt: skip
