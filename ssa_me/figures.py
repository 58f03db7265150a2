"""Draws maps over images as RGB arrays: pure functions of image, token boxes, values and scale; nothing is written.

Boxes are `(N, 4)` as x0, y0, x1, y1 in pixels of the image they are drawn on, origin top left. Two maps that are compared
must be drawn with the same `scale`: it is never taken from the map itself. Pictures are `(H, W, 3)` uint8.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ssa_me.samples import BBox

Scale = tuple[float, float]
HEAT = "inferno"
DIVERGING = "RdBu_r"
CANVAS = 384
_TITLE = 30
_LEGEND = 46
_GAP = 8
_INK = (40, 40, 40)
_DIMMED = 0.55  # brightness of the image under a map


def canvas(image: Image.Image, boxes: np.ndarray, longest: int = CANVAS) -> tuple[np.ndarray, np.ndarray]:
    """The image `(H, W, 3)` with its longer side at `longest` pixels, and `boxes` `(N, 4)` scaled with it."""
    factor = longest / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    scaled = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return np.asarray(scaled), np.asarray(boxes) * np.tile(np.array(size) / image.size, 2)


def paint(boxes: np.ndarray, values: np.ndarray, width: int, height: int) -> np.ndarray:
    """The map as pixels `(height, width)`: each box filled with its value, the mean where boxes overlap, NaN elsewhere."""
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for (x0, y0, x1, y1), value in zip(np.round(boxes).astype(int), values, strict=True):
        cells = np.s_[max(0, y0) : max(y0 + 1, y1), max(0, x0) : max(x0 + 1, x1)]
        total[cells] += value
        count[cells] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def smooth(painted: np.ndarray, sigma: float) -> np.ndarray:
    """`painted` `(H, W)` blurred by a Gaussian of `sigma` pixels; pixels without a value stay so and lend none."""
    known = ~np.isnan(painted)
    blurred = cv2.GaussianBlur(np.where(known, painted, 0.0), (0, 0), sigma)
    weight = cv2.GaussianBlur(known.astype(np.float64), (0, 0), sigma)
    return np.where(known, blurred / np.maximum(weight, 1e-9), np.nan)


def shared_scale(maps: Sequence[np.ndarray]) -> Scale:
    """From 0 to the largest value of all `maps`, so that they can be compared; (0, 1) where all are 0."""
    top = max((float(np.nanmax(values)) for values in maps if len(values)), default=0.0)
    return 0.0, top if top > 0 else 1.0


def overlay(
    image: np.ndarray,
    boxes: np.ndarray,
    values: np.ndarray,
    scale: Scale,
    *,
    opacity: float = 0.9,
    grid: bool = False,
    colours: str = HEAT,
) -> np.ndarray:
    """`values` `(N,)` over `image` `(H, W, 3)`: the image dimmed, the map's colour blended in by how far it is from 0.

    `grid` shows the true cells; else they are smoothed by half a cell. Values outside `scale` are clipped.
    """
    height, width = image.shape[:2]
    painted = paint(boxes, values, width, height)
    if not grid and len(boxes):
        painted = smooth(painted, max(1.0, float(np.median(boxes[:, 2:] - boxes[:, :2])) / 2))
    share = np.clip((painted - scale[0]) / (scale[1] - scale[0]), 0, 1)
    zero = np.clip((0 - scale[0]) / (scale[1] - scale[0]), 0, 1)
    strength = opacity * np.sqrt(np.abs(share - zero) / max(zero, 1 - zero))
    strength = np.where(np.isnan(share), 0, strength)[..., None]
    colour = mpl.colormaps[colours](np.nan_to_num(share))[..., :3] * 255
    blended: np.ndarray = strength * colour + (1 - strength) * image * _DIMMED
    return blended.round().astype(np.uint8)


def outline(picture: np.ndarray, bbox: BBox, colour: tuple[int, int, int], thickness: int = 2) -> np.ndarray:
    """A copy of `picture` `(H, W, 3)` with the box `(x, y, width, height)`, in its pixels, drawn in RGB `colour`."""
    x, y, w, h = bbox
    drawn = picture.copy()
    cv2.rectangle(drawn, (round(x), round(y)), (round(x + w) - 1, round(y + h) - 1), colour, thickness)
    return drawn


def legend(scale: Scale, width: int, label: str = "", colours: str = HEAT) -> np.ndarray:
    """A colour bar `(46, width, 3)` with the scale's two ends, its middle, and what the numbers are."""
    picture = Image.new("RGB", (width, _LEGEND), "white")
    bar = mpl.colormaps[colours](np.linspace(0, 1, max(1, width - 2 * _GAP)))[:, :3] * 255
    picture.paste(Image.fromarray(np.tile(bar.round().astype(np.uint8), (14, 1, 1))), (_GAP, 4))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    draw.text((_GAP, 22), f"{scale[0]:.3g}", _INK, font)
    draw.text((width / 2, 22), f"{sum(scale) / 2:.3g}  {label}".strip(), _INK, font, anchor="ma")
    draw.text((width - _GAP, 22), f"{scale[1]:.3g}", _INK, font, anchor="ra")
    return np.asarray(picture)


def sheet(panels: Sequence[tuple[str, np.ndarray]], below: np.ndarray | None = None) -> np.ndarray:
    """Titled pictures of one height side by side on white, and below them a legend scaled to their width."""
    width = sum(picture.shape[1] for _, picture in panels) + _GAP * (len(panels) + 1)
    height = max(picture.shape[0] for _, picture in panels) + _TITLE + _GAP
    page = Image.new("RGB", (width, height + (0 if below is None else below.shape[0])), "white")
    draw, font, x = ImageDraw.Draw(page), ImageFont.load_default(16), _GAP
    for title, picture in panels:
        draw.text((x, 6), title, _INK, font)
        page.paste(Image.fromarray(picture), (x, _TITLE))
        x += picture.shape[1] + _GAP
    if below is not None:
        page.paste(Image.fromarray(below).resize((width, below.shape[0])), (0, height))
    return np.asarray(page)


def sheet_width(pictures: Sequence[np.ndarray]) -> int:
    """The width in pixels of the sheet that holds these pictures: the width for its legend."""
    widths = [int(picture.shape[1]) for picture in pictures]
    return sum(widths) + _GAP * (len(widths) + 1)
