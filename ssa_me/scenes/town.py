"""How the built settings are drawn: street, kitchen, city at night. Units: shares of the image, origin top
left.

Colours are muted so that they do not compete with the subjects; from the horizon down the ground stays open.
"""

from __future__ import annotations

import numpy as np

from ssa_me.scenes.pen import Pen, glow, gradient, mix, mottle
from ssa_me.scenes.scenery import clouds
from ssa_me.scenes.vocabulary import RGB


def paint_street(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    """A row of pale facades, pavement and road."""
    gradient(image, 0, horizon + 0.04, [(190, 208, 222), (222, 230, 233)])
    clouds(image, pen, rng, horizon * 0.6, (246, 247, 246))
    x = -0.05
    while x < 1.02:
        w, tall = float(rng.uniform(0.16, 0.26)), float(rng.uniform(0.24, 0.44))
        _facade(pen, rng, x, x + w, horizon + 0.03, tall)
        x += w
    kerb = horizon + 0.15
    gradient(image, horizon + 0.03, kerb, [(198, 196, 192), (212, 209, 203)])
    for i in range(12):
        x0 = -0.1 + i * 0.11
        pen.line([(x0 * 0.9 + 0.05, horizon + 0.03), (x0, kerb)], 0.003, (184, 182, 178))
    gradient(image, kerb, kerb + 0.022, [(176, 174, 172), (160, 159, 159)])
    gradient(image, kerb + 0.022, 1, [(150, 152, 158), (164, 166, 171), (150, 152, 158)])
    mottle(image, rng, kerb + 0.02, 1, (10, 16), 6)
    shift = rng.uniform(0, 0.3)
    for i in range(5):
        x0 = -0.2 + shift + i * 0.3
        pen.polygon([(x0, 0.86), (x0 + 0.15, 0.86), (x0 + 0.14, 0.885), (x0 - 0.015, 0.885)], (222, 220, 208))
    for x0 in (rng.uniform(0.05, 0.3), rng.uniform(0.7, 0.95)):
        pen.line([(x0, kerb - 0.02), (x0, horizon - 0.3)], 0.013, (122, 124, 130))
        pen.curve([(x0, horizon - 0.29), (x0 + 0.02, horizon - 0.33), (x0 + 0.075, horizon - 0.335)], 0.010,
            (122, 124, 130))  # fmt: skip
        pen.rect(x0 + 0.055, horizon - 0.34, x0 + 0.105, horizon - 0.32, (240, 236, 220), 0.008)


def paint_kitchen(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    """Wall with window and shelf, counter with cupboards, tiled floor."""
    wall: RGB = [(236, 229, 217), (226, 230, 226), (234, 226, 222)][rng.integers(3)]
    gradient(image, 0, horizon, [mix(wall, (255, 255, 255), 0.25), wall])
    line = mix(wall, (120, 110, 110), 0.12)
    for i in range(14):
        pen.line([(i / 13, horizon - 0.34), (i / 13, horizon)], 0.003, line)
    for y in np.linspace(horizon - 0.34, horizon - 0.2, 3):
        pen.line([(0.0, y), (1.0, y)], 0.003, line)
    window = float(rng.uniform(0.10, 0.62))
    _window(pen, window, 0.05, window + 0.26, horizon - 0.24)
    shelf = window + 0.32 if window < 0.36 else window - 0.30
    pen.rect(shelf, 0.20, shelf + 0.25, 0.215, (196, 180, 160), 0.004)
    for i in range(4):
        x, h = shelf + 0.025 + i * 0.058, float(rng.uniform(0.04, 0.09))
        jar: RGB = [(214, 206, 196), (198, 204, 202), (222, 212, 192), (206, 198, 204)][i]
        pen.rect(x, 0.20 - h, x + 0.042, 0.20, jar, 0.008)
        pen.rect(
            x + 0.004, 0.20 - h - 0.008, x + 0.038, 0.20 - h + 0.004, mix(jar, (110, 104, 104), 0.35), 0.003
        )
    top = horizon - 0.19
    pen.rect(-0.02, top + 0.02, 1.02, horizon + 0.03, (214, 208, 198))
    pen.rect(-0.02, top, 1.02, top + 0.028, (186, 172, 156))
    for i in range(5):
        x = i * 0.205 - 0.01
        pen.rect(x + 0.012, top + 0.045, x + 0.195, horizon + 0.012, (226, 221, 212), 0.008)
        pen.rect(x + 0.026, top + 0.06, x + 0.181, horizon - 0.002, (218, 212, 202), 0.006)
        pen.rect(x + 0.085, top + 0.05, x + 0.122, top + 0.056, (150, 146, 144), 0.003)
    pen.rect(-0.02, horizon + 0.018, 1.02, horizon + 0.035, (160, 152, 146))
    _appliances(pen, rng, top, horizon)
    _floor(image, pen, horizon + 0.035)
    if rng.random() < 0.5:
        x = float(rng.uniform(0.3, 0.7))
        pen.ellipse(x, 0.88, 0.34, 0.085, (196, 186, 180))
        pen.ellipse(x, 0.88, 0.31, 0.073, (222, 212, 204))
        pen.ellipse(x, 0.88, 0.26, 0.058, (206, 196, 190))
    if rng.random() < 0.6:
        x = float(rng.uniform(0.3, 0.7))
        pen.line([(x, 0.0), (x, 0.09)], 0.005, (140, 136, 134))
        pen.shape([(x - 0.012, 0.085), (x + 0.012, 0.085), (x + 0.07, 0.15), (x - 0.07, 0.15)],
            (178, 172, 166))  # fmt: skip
        glow(image, x, 0.17, 0.2, (255, 250, 228), 0.4)


def paint_night_city(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    """A skyline with lit windows under moon and stars, lamps, wet road."""
    gradient(image, 0, horizon + 0.04, [(50, 54, 92), (78, 82, 124), (124, 118, 154)])
    for _ in range(26):
        r = rng.uniform(0.0015, 0.0035)
        pen.ellipse(rng.uniform(0, 1), rng.uniform(0, horizon * 0.7), r, r, (214, 216, 232))
    x = float(rng.uniform(0.1, 0.9))
    glow(image, x, 0.12, 0.2, (222, 222, 236), 0.5)
    pen.ellipse(x, 0.12, 0.045, 0.045, (240, 238, 226))
    pen.ellipse(x - 0.012, 0.11, 0.010, 0.010, (222, 220, 212))
    pen.ellipse(x + 0.015, 0.132, 0.007, 0.007, (222, 220, 212))
    for body, low, high, lit in (((92, 94, 134), 0.26, 0.44, 0.25), ((70, 74, 112), 0.14, 0.32, 0.45)):
        left = -0.04
        while left < 1.0:
            w, h = float(rng.uniform(0.09, 0.17)), float(rng.uniform(low, high))
            _tower(pen, rng, left, w, horizon + 0.03, h, body, lit)
            left += w + float(rng.uniform(-0.01, 0.02))
    gradient(image, horizon + 0.03, horizon + 0.10, [(104, 106, 134), (118, 119, 146)])
    gradient(image, horizon + 0.10, 1, [(92, 95, 124), (112, 114, 142), (100, 102, 132)])
    pen.line([(0.0, horizon + 0.10), (1.0, horizon + 0.10)], 0.008, (140, 140, 162))
    mottle(image, rng, horizon + 0.10, 1, (3, 22), 7)
    for lamp in (float(rng.uniform(0.04, 0.22)), float(rng.uniform(0.78, 0.96))):
        pen.line([(lamp, horizon + 0.09), (lamp, horizon - 0.24)], 0.011, (58, 60, 88))
        glow(image, lamp, horizon - 0.25, 0.17, (255, 236, 190), 0.75)
        pen.ellipse(lamp, horizon - 0.25, 0.02, 0.02, (255, 248, 224))
        glow(image, lamp, horizon + 0.13, 0.20, (236, 218, 190), 0.35)
    shift = float(rng.uniform(0, 0.3))
    for i in range(5):
        x0 = -0.2 + shift + i * 0.3
        pen.polygon([(x0, 0.88), (x0 + 0.15, 0.88), (x0 + 0.14, 0.902), (x0 - 0.015, 0.902)], (158, 158, 176))


def _facade(pen: Pen, rng: np.random.Generator, x0: float, x1: float, base: float, tall: float) -> None:
    wall: RGB = [(216, 208, 198), (204, 206, 208), (222, 214, 200), (208, 200, 200), (198, 204, 200)][
        rng.integers(5)
    ]
    shade = mix(wall, (96, 92, 104), 0.3)
    top = base - tall
    pen.rect(x0, top, x1, base, wall)
    pen.rect(x1 - 0.012, top, x1, base, mix(wall, shade, 0.45))
    pen.rect(x0 - 0.006, top - 0.014, x1 + 0.006, top + 0.006, shade, 0.003)
    columns = max(2, int((x1 - x0) / 0.065))
    pitch = (x1 - x0) / columns
    for row in range(int((tall - 0.10) / 0.085)):
        for column in range(columns):
            x, y = x0 + (column + 0.5) * pitch, top + 0.03 + row * 0.085
            pen.rect(x - 0.018, y, x + 0.018, y + 0.05, (178, 190, 198), 0.004)
            pen.polygon([(x - 0.012, y + 0.046), (x + 0.002, y + 0.004), (x + 0.010, y + 0.004),
                (x - 0.004, y + 0.046)], (206, 216, 221))  # fmt: skip
            pen.rect(x - 0.021, y + 0.05, x + 0.021, y + 0.056, shade)
    pen.rect(x0 + 0.02, base - 0.075, x1 - 0.02, base, mix(shade, wall, 0.35), 0.004)
    pen.rect(x0 + 0.03, base - 0.064, x1 - 0.03, base - 0.006, (168, 180, 188))
    stripe = (x1 - x0 - 0.024) / 6
    for i in range(6):
        left = x0 + 0.012 + i * stripe
        awning = mix(wall, (250, 246, 238), 0.6) if i % 2 else mix(wall, shade, 0.35)
        pen.polygon([(left + 0.004, base - 0.096), (left + stripe + 0.004, base - 0.096),
            (left + stripe, base - 0.068), (left, base - 0.068)], awning)  # fmt: skip
        pen.ellipse(left + stripe / 2, base - 0.068, stripe / 2, 0.006, awning)


def _window(pen: Pen, x0: float, y0: float, x1: float, y1: float) -> None:
    pen.rect(x0 - 0.016, y0 - 0.016, x1 + 0.016, y1 + 0.016, (246, 242, 234), 0.006)
    pen.rect(x0, y0, x1, y1, (204, 220, 226))
    pen.ellipse(x0 + 0.08, y1 - 0.02, 0.06, 0.035, (190, 206, 196))
    pen.polygon([(x0, y1), (x0, y1 - 0.02), (x1, y1 - 0.035), (x1, y1)], (198, 212, 200))
    middle = (x0 + x1) / 2
    pen.line([(middle, y0), (middle, y1)], 0.010, (246, 242, 234))
    pen.line([(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2)], 0.010, (246, 242, 234))
    for x, side in ((x0, 1), (x1, -1)):
        pen.shape([(x - side * 0.025, y0 - 0.02), (x + side * 0.085, y0 - 0.02),
            (x + side * 0.05, (y0 + y1) / 2), (x + side * 0.012, y1 - 0.01), (x - side * 0.025, y1)],
            (232, 220, 214))  # fmt: skip
    pen.rect(x0 - 0.04, y0 - 0.035, x1 + 0.04, y0 - 0.022, (176, 164, 152), 0.004)


def _floor(image: np.ndarray, pen: Pen, top: float) -> None:
    gradient(image, top, 1, [(212, 203, 192), (224, 216, 205)])
    rows = [top + (1.04 - top) * t for t in (0.0, 0.14, 0.32, 0.58, 1.0)]
    for r in range(4):
        near, far = 1.0 + (rows[r + 1] - top) * 2.2, 1.0 + (rows[r] - top) * 2.2
        for c in range(-4, 5):
            if (r + c) % 2:
                x0, x1 = c * 0.14, (c + 1) * 0.14
                pen.polygon([(0.5 + x0 * far, rows[r]), (0.5 + x1 * far, rows[r]),
                    (0.5 + x1 * near, rows[r + 1]), (0.5 + x0 * near, rows[r + 1])],
                    (200, 191, 181))  # fmt: skip


def _tower(
    pen: Pen, rng: np.random.Generator, x: float, w: float, base: float, height: float, body: RGB, lit: float
) -> None:
    pen.rect(x, base - height, x + w, base, body)
    pen.rect(x + w - 0.01, base - height, x + w, base, mix(body, (30, 30, 60), 0.25))
    if rng.random() < 0.3:
        pen.line([(x + w / 2, base - height), (x + w / 2, base - height - 0.05)], 0.004, body)
    columns, rows = int(w / 0.028), int((height - 0.03) / 0.035)
    on = rng.random((rows, columns)) < lit
    for row, column in zip(*np.nonzero(on), strict=True):
        left, top = x + 0.012 + column * 0.028, base - height + 0.016 + row * 0.035
        pen.rect(left, top, left + 0.013, top + 0.017, (244, 222, 168))


def _appliances(pen: Pen, rng: np.random.Generator, top: float, horizon: float) -> None:
    x = float(rng.uniform(0.05, 0.75))
    steel, dark = (198, 200, 202), (128, 130, 136)
    pen.rect(x, top + 0.03, x + 0.19, horizon + 0.018, steel, 0.006)
    pen.rect(x + 0.018, top + 0.075, x + 0.172, horizon - 0.005, dark, 0.008)
    pen.polygon([(x + 0.05, top + 0.13), (x + 0.08, top + 0.09), (x + 0.10, top + 0.09),
        (x + 0.07, top + 0.13)], (158, 160, 166))  # fmt: skip
    pen.rect(x + 0.02, top + 0.058, x + 0.17, top + 0.065, (230, 230, 230), 0.003)
    for i in range(4):
        pen.ellipse(x + 0.035 + i * 0.04, top + 0.045, 0.006, 0.006, dark)
    pen.rect(x + 0.05, top - 0.055, x + 0.14, top, (176, 178, 184), 0.012)
    pen.rect(x + 0.044, top - 0.06, x + 0.146, top - 0.05, (150, 152, 160), 0.004)
    pen.ellipse(x + 0.095, top - 0.066, 0.009, 0.007, dark)
    pot = float(x + 0.30 if x < 0.4 else x - 0.12)
    pen.polygon([(pot - 0.025, top - 0.04), (pot + 0.025, top - 0.04), (pot + 0.018, top),
        (pot - 0.018, top)], (206, 186, 170))  # fmt: skip
    for angle in (-0.9, -0.45, 0.0, 0.45, 0.9):
        dx, dy = float(np.sin(angle)) * 0.055, -float(np.cos(angle)) * 0.07
        pen.shape([(pot, top - 0.04), (pot + dx * 0.6 - 0.010, top - 0.04 + dy * 0.5),
            (pot + dx, top - 0.04 + dy), (pot + dx * 0.6 + 0.010, top - 0.04 + dy * 0.6)],
            (150, 174, 150))  # fmt: skip
