"""Drawing: a pen for smooth antialiased shapes, tones of a colour, soft shading, gradients and noise.

Knows nothing of subjects or settings. Colours are RGB in 0..255. A drawing is `(height, width, 3)` or, for a
cut-out, `(height, width, 4)` with premultiplied alpha: antialiasing on a transparent ground gives exactly
that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from ssa_me.scenes.vocabulary import COLOURS, RGB

Point = tuple[float, float]
_SHIFT = 4
_STEPS = 7
_HALF = (1 << _SHIFT) / 2 - 1e-6


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """The colour `share` of the way from `a` to `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


@dataclass(frozen=True)
class Tones:
    """A colour and the lighter and darker tones it is shaded with."""

    base: RGB
    light: RGB
    dark: RGB
    deep: RGB


@cache
def tones(name: str) -> Tones:
    """The tones of the colour called `name`."""
    base = COLOURS[name]
    if name == "black":
        return Tones(base, (74, 75, 86), (30, 30, 36), (18, 18, 24))
    if name == "white":
        return Tones(base, (255, 255, 255), (216, 220, 226), (178, 184, 194))
    shadow = mix(base, (40, 16, 60), 0.5)
    return Tones(base, mix(base, (255, 248, 225), 0.32), mix(base, shadow, 0.45), mix(base, shadow, 0.9))


@cache
def _spline() -> np.ndarray:
    """Weights (7, 4) of four neighbouring points along one piece of a Catmull-Rom curve."""
    t = np.arange(_STEPS)[:, None] / _STEPS
    catmull = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    return t ** np.arange(4) @ catmull


@cache
def _neighbours(count: int) -> np.ndarray:
    return (np.arange(count)[:, None] + np.arange(-1, 3)) % count


def smooth(points: np.ndarray) -> np.ndarray:
    """The closed Catmull-Rom curve through `points` (n, 2), as a polygon (7n, 2)."""
    return (_spline() @ points[_neighbours(len(points))]).reshape(-1, 2)


@cache
def _circle(count: int = 40) -> np.ndarray:
    angle = np.arange(count) * (2 * np.pi / count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@cache
def _quarters() -> np.ndarray:
    """The four quarters of a circle (4, 7, 2), each from end to end."""
    return _circle(24)[(np.arange(4)[:, None] * 6 + np.arange(7)) % 24]


@cache
def _half_circle() -> np.ndarray:
    """The left half of a circle (9, 2)."""
    return _circle(16)[4:13]


class Pen:
    """Draws shapes given in units of `scale` pixels around `origin` (pixels), y downwards; x mirrored by
    `flip`."""

    def __init__(
        self,
        image: np.ndarray,
        scale: float,
        origin: Point = (0.0, 0.0),
        flip: bool = False,
        angle: float = 0.0,
    ) -> None:
        self.image = image
        self.scale = scale
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        self._matrix = np.array([[-cos if flip else cos, -sin if flip else sin], [-sin, cos]])
        self._origin = np.array(origin)
        self._alpha = image.shape[2] == 4

    def moved(self, x: float, y: float) -> Pen:
        """The same pen with its origin moved by `(x, y)` units."""
        pen = Pen(self.image, self.scale)
        pen._matrix = self._matrix
        pen._origin = np.array([x, y]) @ self._matrix + self._origin
        return pen

    def turned(self, x: float, y: float, angle: float) -> Pen:
        """The same pen with its origin moved by `(x, y)` units and turned there by `angle` radians."""
        pen = self.moved(x, y)
        cos, sin = math.cos(angle), math.sin(angle)
        pen._matrix = np.array([[cos, sin], [-sin, cos]]) @ self._matrix
        return pen

    def polygon(self, points: Sequence[Point] | np.ndarray, colour: RGB) -> None:
        """A filled polygon."""
        self._fill(np.asarray(points, dtype=float), colour)

    def shape(self, points: Sequence[Point], colour: RGB) -> None:
        """A filled smooth closed curve through `points`."""
        self._fill(smooth(np.asarray(points, dtype=float)), colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: RGB, angle: float = 0.0) -> None:
        """A filled ellipse, turned by `angle` radians."""
        points = _circle() * np.array([rx, ry])
        if angle:
            cos, sin = math.cos(angle), math.sin(angle)
            points = points @ np.array([[cos, sin], [-sin, cos]])
        self._fill(points + np.array([x, y]), colour)

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: RGB, radius: float = 0.0) -> None:
        """A filled rectangle with rounded corners."""
        if radius <= 0:
            self._fill(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), colour)
            return
        r = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
        centres = np.array([(x1 - r, y1 - r), (x0 + r, y1 - r), (x0 + r, y0 + r), (x1 - r, y0 + r)])
        self._fill((_quarters() * r + centres[:, None]).reshape(-1, 2), colour)

    def limb(self, start: Point, end: Point, r0: float, r1: float, colour: RGB) -> None:
        """A rounded bar from `start` to `end` with radii `r0` and `r1`."""
        (x0, y0), (x1, y1) = start, end
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        cos, sin = (x1 - x0) / length, (y1 - y0) / length
        arc = _half_circle() @ np.array([[cos, sin], [-sin, cos]])
        self._fill(np.concatenate([arc * r0 + np.array(start), arc * -r1 + np.array(end)]), colour)

    def line(
        self, points: Sequence[Point] | np.ndarray, width: float, colour: RGB, closed: bool = False
    ) -> None:
        """A line through `points`, `width` units wide (at least one pixel)."""
        thickness = max(1, round(width * self.scale))
        cv2.polylines(
            self.image,
            [self._pixels(np.asarray(points, float))],
            closed,
            self._ink(colour),
            thickness,
            cv2.LINE_AA,
            _SHIFT,
        )

    def curve(self, points: Sequence[Point], width: float, colour: RGB) -> None:
        """A smooth open line through `points`."""
        p = np.asarray(points, dtype=float)
        padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
        windows = padded[np.arange(len(p) - 1)[:, None] + np.arange(4)]
        path = (_spline() @ windows).reshape(-1, 2)
        thickness = max(1, round(width * self.scale))
        path = np.concatenate([path, p[-1:]])
        cv2.polylines(
            self.image, [self._pixels(path)], False, self._ink(colour), thickness, cv2.LINE_AA, _SHIFT
        )

    def ring(self, x: float, y: float, radius: float, width: float, colour: RGB) -> None:
        """A circle's line, `width` units wide."""
        self.line(_circle() * radius + np.array([x, y]), width, colour, closed=True)

    def _ink(self, colour: RGB) -> tuple[int, ...]:
        return (*colour, 255) if self._alpha else colour

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        # A pixel's centre is its whole coordinate in OpenCV, half a pixel further in ours; the nudge keeps what lies
        # on the line between two sixteenths from depending on the processor's last bit.
        return np.rint((points @ self._matrix + self._origin) * (1 << _SHIFT) - _HALF).astype(np.int32)

    def _fill(self, points: np.ndarray, colour: RGB) -> None:
        cv2.fillPoly(self.image, [self._pixels(points)], self._ink(colour), cv2.LINE_AA, _SHIFT)


def shade(cutout: np.ndarray) -> None:
    """Light a cut-out (h, w, 4) from the upper left, in place: round its edges and darken it towards the
    ground."""
    height, width = cutout.shape[:2]
    small = cv2.resize(
        cutout[:, :, 3], (max(8, width // 4), max(8, height // 4)), interpolation=cv2.INTER_AREA
    )
    h, w = small.shape
    soft = cv2.GaussianBlur(small, (0, 0), max(1.0, min(h, w) / 16)).astype(np.int16)
    step = max(1, min(h, w) // 16)
    padded = np.pad(soft, step, mode="edge")
    light = padded[2 * step :, 2 * step :] - padded[: -2 * step, : -2 * step]
    fall = np.linspace(12, -22, h).astype(np.int16)[:, None]
    coarse = np.clip(128 + fall + light * 3 // 10, 60, 190).astype(np.uint8)
    factor = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    lit = cv2.multiply(cutout[:, :, :3], cv2.merge([factor] * 3), scale=1 / 128)
    np.minimum(lit, cutout[:, :, 3:], out=cutout[:, :, :3])


def paste(image: np.ndarray, cutout: np.ndarray, x: int, y: int) -> tuple[slice, slice, np.ndarray] | None:
    """Lay a cut-out (h, w, 4) over `image` with its top left corner at `(x, y)`, in place.

    Returns the rows and columns it covers and its alpha there, or None where it lies outside.
    """
    top, left = max(0, y), max(0, x)
    bottom, right = min(image.shape[0], y + cutout.shape[0]), min(image.shape[1], x + cutout.shape[1])
    if top >= bottom or left >= right:
        return None
    rows, columns = slice(top, bottom), slice(left, right)
    piece = cutout[top - y : bottom - y, left - x : right - x]
    alpha = piece[:, :, 3]
    under = image[rows, columns].astype(np.uint16) * (255 - alpha[:, :, None].astype(np.uint16))
    image[rows, columns] = cv2.add(piece[:, :, :3], ((under + 128 + (under >> 8)) >> 8).astype(np.uint8))
    return rows, columns, alpha


def veil(image: np.ndarray, mask: np.ndarray, colour: RGB) -> None:
    """Lay `colour` over `image` (h, w, 3) with opacity `mask` (h, w) in 0..255, in place."""
    opacity = mask[:, :, None].astype(np.int32)
    image += ((np.array(colour, dtype=np.int32) - image) * opacity // 255).astype(np.int16).astype(np.uint8)


def gradient(image: np.ndarray, y0: float, y1: float, stops: Sequence[RGB]) -> None:
    """Fill the rows between the shares `y0` and `y1` of the height with a vertical gradient, in place."""
    height = image.shape[0]
    top, bottom = max(0, round(y0 * height)), min(height, round(y1 * height))
    if bottom <= top:
        return
    at = np.linspace(0, len(stops) - 1, bottom - top)
    table = np.array(stops, dtype=float)
    rows = np.stack([np.interp(at, np.arange(len(stops)), table[:, c]) for c in range(3)], axis=1)
    image[top:bottom] = np.rint(rows).astype(np.uint8)[:, None]


def noise(rng: np.random.Generator, width: int, height: int, columns: int, rows: int) -> np.ndarray:
    """Smooth random values (height, width) uint8 around 128, from a grid of `rows` x `columns`."""
    grid = rng.integers(0, 256, (max(2, rows), max(2, columns)), dtype=np.uint8)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def mottle(
    image: np.ndarray, rng: np.random.Generator, y0: float, y1: float, grid: tuple[int, int], amount: int
) -> None:
    """Vary the brightness of the rows between the shares `y0` and `y1` by up to `amount`, in place."""
    height, width = image.shape[:2]
    top, bottom = max(0, round(y0 * height)), min(height, round(y1 * height))
    if bottom <= top:
        return
    change = (noise(rng, width, bottom - top, *grid).astype(np.int16) - 128) * amount // 128
    part = image[top:bottom].astype(np.int16) + change[:, :, None]
    image[top:bottom] = np.clip(part, 0, 255).astype(np.uint8)


def glow(image: np.ndarray, x: float, y: float, radius: float, colour: RGB, strength: float) -> None:
    """Add a soft round light around `(x, y)`, in shares of the width, in place."""
    height, width = image.shape[:2]
    r = radius * width
    left, right = max(0, int(x * width - r)), min(width, int(x * width + r) + 1)
    top, bottom = max(0, int(y * width - r)), min(height, int(y * width + r) + 1)
    if left >= right or top >= bottom:
        return
    dx = (np.arange(left, right) + 0.5 - x * width)[None, :] / r
    dy = (np.arange(top, bottom) + 0.5 - y * width)[:, None] / r
    fall = np.clip(1 - (dx * dx + dy * dy), 0, 1)
    veil(image[top:bottom, left:right], np.rint(fall * fall * (255 * strength)).astype(np.uint8), colour)
