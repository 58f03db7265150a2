"""How the open settings are drawn: beach, park, snow, desert, forest. Units: shares of the image, origin top
left.

Colours are muted so that they do not compete with the subjects; from the horizon down the ground stays open.
"""

from __future__ import annotations

import numpy as np

from ssa_me.scenes.pen import Pen, gradient, mix, mottle, veil
from ssa_me.scenes.scenery import clouds, drifts, hills, soft, sun, tufts
from ssa_me.scenes.vocabulary import RGB


def paint_beach(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    """Sea under a mild sky, foam, and pale sand."""
    sky: list[RGB] = [(172, 208, 224), (214, 230, 232), (246, 238, 224)]
    if rng.random() < 0.4:
        sky = [(182, 196, 220), (226, 216, 220), (250, 228, 204)]
    gradient(image, 0, horizon + 0.02, sky)
    sun(image, rng, horizon)
    clouds(image, pen, rng, horizon, (252, 250, 246))
    shore = horizon + 0.11
    if rng.random() < 0.5:
        x = float(rng.uniform(0.1, 0.9))
        pen.shape([(x - 0.22, horizon + 0.006), (x - 0.12, horizon - 0.03), (x, horizon - 0.055),
            (x + 0.1, horizon - 0.02), (x + 0.2, horizon + 0.006)], (176, 196, 196))  # fmt: skip
    gradient(image, horizon, shore + 0.05, [(124, 172, 188), (150, 196, 204), (190, 220, 218)])
    for _ in range(9):
        x, y, w = rng.uniform(0, 1), rng.uniform(horizon + 0.01, shore), rng.uniform(0.03, 0.10)
        pen.line([(x, y), (x + w, y)], 0.004, (206, 226, 228))
    wave = rng.uniform(-0.012, 0.012, 8)
    edge = [(i / 7, shore + float(wave[i])) for i in range(8)]
    pen.polygon([*soft(edge, 0.0), (1.02, 1.02), (-0.02, 1.02)], (244, 248, 244))
    pen.polygon([*soft(edge, 0.016), (1.02, 1.02), (-0.02, 1.02)], (206, 190, 166))
    ground = np.zeros(image.shape[:2], np.uint8)
    Pen(ground[:, :, None], pen.scale).polygon([*soft(edge, 0.045), (1.02, 1.02), (-0.02, 1.02)], (255, 0, 0))
    sand = image.copy()
    gradient(sand, shore, 1, [(226, 211, 184), (236, 222, 196), (226, 208, 178)])
    mottle(sand, rng, shore, 1, (6, 14), 9)
    np.copyto(image, sand, where=ground[:, :, None] > 127)
    for _ in range(16):
        x, y = rng.uniform(0, 1), rng.uniform(shore + 0.08, 1)
        pen.ellipse(x, y, 0.004 + 0.004 * y, 0.002 + 0.002 * y, (206, 188, 158))
    _shells(pen, rng)
    if rng.random() < 0.6:
        side = float(rng.choice([-1.0, 1.0]))
        _palm(
            pen, 0.5 + side * float(rng.uniform(0.40, 0.47)), shore + float(rng.uniform(0.05, 0.1)), side * -1
        )


def paint_park(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    """Lawn with a winding path, hedges, a lamp and soft hills."""
    gradient(image, 0, horizon + 0.02, [(184, 212, 226), (214, 229, 231), (238, 240, 230)])
    clouds(image, pen, rng, horizon, (250, 250, 247))
    hills(pen, rng, horizon, 0.11, (184, 203, 194))
    hills(pen, rng, horizon, 0.06, (166, 190, 176))
    for x in rng.uniform(0.0, 1.0, int(rng.integers(3, 8))):
        _poplar(pen, float(x), horizon + 0.01, float(rng.uniform(0.10, 0.19)))
    for _ in range(7):
        x, r = rng.uniform(0, 1), rng.uniform(0.03, 0.06)
        for dx, dy, s in ((-0.7, 0.0, 0.8), (0.7, 0.0, 0.8), (0.0, -0.35, 1.0)):
            pen.ellipse(x + dx * r, horizon + dy * r, r * s, r * s * 0.8, (142, 168, 148))
        pen.ellipse(x - 0.2 * r, horizon - 0.6 * r, r * 0.5, r * 0.35, (158, 182, 160))
    gradient(image, horizon, 1, [(172, 196, 158), (182, 204, 164), (164, 190, 148)])
    mottle(image, rng, horizon, 1, (8, 12), 10)
    bend, foot = rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.85)
    top = rng.uniform(0.3, 0.7)
    pen.shape([(top, horizon + 0.003), (bend + 0.03, horizon + 0.10), (foot + 0.17, 1.0), (foot + 0.05, 1.2),
        (foot - 0.12, 1.0), (bend - 0.05, horizon + 0.10), (top - 0.015, horizon + 0.003)],
        (218, 210, 190))  # fmt: skip
    if rng.random() < 0.7:
        x = float(rng.choice([rng.uniform(0.03, 0.15), rng.uniform(0.85, 0.97)]))
        pen.line([(x, horizon + 0.07), (x, horizon - 0.22)], 0.012, (112, 116, 118))
        pen.ellipse(x, horizon - 0.235, 0.024, 0.026, (246, 240, 222))
        pen.rect(x - 0.018, horizon - 0.265, x + 0.018, horizon - 0.252, (112, 116, 118), 0.004)
    _fence(pen, rng, horizon)
    if rng.random() < 0.5:
        _bench(pen, float(rng.uniform(0.12, 0.88)), horizon + 0.085)
    _corner_grass(pen, rng, (134, 164, 120))
    tufts(pen, rng, horizon + 0.06, (142, 170, 126), 22)
    for _ in range(14):
        x, y = rng.uniform(0, 1), rng.uniform(horizon + 0.08, 1)
        pen.ellipse(x, y, 0.004 + 0.003 * y, 0.003 + 0.002 * y, (244, 244, 234))


def paint_snow(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    """Mountains and firs under a pale sky, snow and falling flakes."""
    gradient(image, 0, horizon + 0.05, [(170, 192, 214), (202, 216, 228), (228, 234, 238)])
    for _ in range(4):
        x, w, h = rng.uniform(-0.1, 1.1), rng.uniform(0.25, 0.4), rng.uniform(0.16, 0.32)
        base, tip = horizon + 0.02, (float(x), horizon - float(h))
        pen.polygon([(x - w, base), tip, (x + w, base)], (166, 182, 202))
        pen.polygon([tip, (x + w, base), (x + w * 0.15, base)], (148, 166, 190))
        pen.polygon([tip, (x - w * 0.3, tip[1] + h * 0.3), (x - w * 0.1, tip[1] + h * 0.24),
            (x + w * 0.04, tip[1] + h * 0.36), (x + w * 0.16, tip[1] + h * 0.25),
            (x + w * 0.3, tip[1] + h * 0.3)], (242, 246, 249))  # fmt: skip
    for x in sorted(rng.uniform(-0.02, 1.02, 9)):
        _fir(pen, float(x), horizon + 0.035, float(rng.uniform(0.10, 0.22)), (136, 158, 164), (238, 243, 246))
    hills(pen, rng, horizon + 0.04, 0.04, (226, 234, 240))
    gradient(image, horizon + 0.04, 1, [(226, 234, 241), (237, 242, 246), (224, 232, 240)])
    drifts(image, pen, rng, horizon + 0.1, (214, 224, 235))
    mottle(image, rng, horizon + 0.04, 1, (5, 8), 6)
    for _ in range(40):
        r = rng.uniform(0.002, 0.006)
        pen.ellipse(rng.uniform(0, 1), rng.uniform(0, 1), r, r, (252, 253, 254))


def paint_desert(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    """Table mountains, dunes and cacti under a warm sky."""
    gradient(image, 0, horizon + 0.04, [(176, 204, 214), (220, 222, 212), (246, 226, 196)])
    sun(image, rng, horizon)
    for _ in range(3):
        x, w, h = rng.uniform(0, 1), rng.uniform(0.08, 0.2), rng.uniform(0.08, 0.2)
        y = horizon + 0.02
        pen.polygon([(x - w * 1.25, y), (x - w, y - h * 0.5), (x - w * 0.85, y - h), (x + w * 0.85, y - h),
            (x + w * 0.95, y - h * 0.45), (x + w * 1.25, y)], (212, 176, 150))  # fmt: skip
        pen.polygon([(x + w * 0.3, y - h), (x + w * 0.85, y - h), (x + w * 0.95, y - h * 0.45),
            (x + w * 1.25, y), (x + w * 0.4, y)], (198, 160, 136))  # fmt: skip
        pen.line([(x - w * 0.9, y - h * 0.75), (x + w * 0.88, y - h * 0.75)], 0.006, (224, 192, 166))
    hills(pen, rng, horizon + 0.03, 0.05, (226, 198, 160))
    gradient(image, horizon + 0.03, 1, [(230, 204, 164), (238, 214, 176), (226, 198, 156)])
    drifts(image, pen, rng, horizon + 0.09, (216, 186, 146))
    mottle(image, rng, horizon + 0.03, 1, (6, 10), 8)
    for side in rng.permutation(2)[: int(rng.integers(1, 3))]:
        x = float(rng.uniform(0.02, 0.14)) if side else float(rng.uniform(0.86, 0.98))
        _cactus(pen, x, horizon + float(rng.uniform(0.05, 0.10)), float(rng.uniform(0.16, 0.28)))
    for _ in range(9):
        x, y = rng.uniform(0, 1), rng.uniform(horizon + 0.08, 1)
        pen.ellipse(x, y, 0.006 + 0.006 * y, 0.004 + 0.003 * y, (198, 168, 134))
        pen.ellipse(x - 0.002, y - 0.002, 0.004 + 0.004 * y, 0.002 + 0.002 * y, (216, 190, 158))


def paint_forest(image: np.ndarray, pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    """Misty trunks in three depths, light falling through, moss and ferns."""
    gradient(image, 0, horizon + 0.10, [(176, 194, 182), (206, 217, 202), (226, 232, 214)])
    for colour, count, radius, depth in (
        ((188, 203, 190), 13, 0.011, 0.02),
        ((160, 180, 166), 9, 0.018, 0.05),
        ((130, 152, 138), 5, 0.028, 0.09),
    ):
        for x in rng.uniform(-0.02, 1.02, count):
            r, lean = radius * float(rng.uniform(0.8, 1.25)), float(rng.uniform(-0.02, 0.02))
            foot = horizon + depth
            pen.polygon([(x - r * 0.7 + lean, -0.02), (x + r * 0.7 + lean, -0.02), (x + r, foot),
                (x + r * 1.7, foot + 0.012), (x - r * 1.7, foot + 0.012), (x - r, foot)], colour)  # fmt: skip
        for x, y in zip(rng.uniform(-0.05, 1.05, count), rng.uniform(-0.03, 0.10, count), strict=True):
            pen.ellipse(x, y - depth, 0.10, 0.065, colour)
    gradient(image, horizon + 0.09, 1, [(142, 160, 132), (156, 172, 142), (138, 154, 126)])
    drifts(image, pen, rng, horizon + 0.12, (128, 146, 120))
    mottle(image, rng, horizon + 0.09, 1, (8, 10), 13)
    beam = np.zeros(image.shape[:2], np.uint8)
    light = Pen(beam[:, :, None], pen.scale)
    for x in rng.uniform(0.1, 1.0, 3):
        w = float(rng.uniform(0.03, 0.08))
        light.polygon([(x, -0.02), (x + w, -0.02), (x + w * 1.6 - 0.25, 0.95), (x - w * 0.6 - 0.25, 0.95)],
            (44, 0, 0))  # fmt: skip
    veil(image, beam, (255, 252, 224))
    for _ in range(9):
        _fern(
            pen,
            float(rng.uniform(0, 1)),
            float(rng.uniform(horizon + 0.14, 1)),
            float(rng.uniform(0.03, 0.055)),
        )
    tufts(pen, rng, horizon + 0.12, (118, 138, 110), 14)
    if rng.random() < 0.6:
        _log(pen, float(rng.uniform(0.1, 0.75)), horizon + float(rng.uniform(0.13, 0.18)))
    _corner_grass(pen, rng, (104, 126, 100))


def _fence(pen: Pen, rng: np.random.Generator, horizon: float) -> None:
    left, y = float(rng.choice([-0.02, 0.62])), horizon + 0.045
    for i in range(9):
        x = left + i * 0.05
        pen.polygon([(x, y), (x, y - 0.075), (x + 0.011, y - 0.088), (x + 0.022, y - 0.075), (x + 0.022, y)],
            (226, 222, 210))  # fmt: skip
    for dy in (0.025, 0.055):
        pen.line([(left, y - dy), (left + 0.43, y - dy)], 0.009, (214, 209, 196))


def _fir(pen: Pen, x: float, base: float, height: float, colour: RGB, snow: RGB) -> None:
    w = height * 0.34
    pen.rect(x - w * 0.1, base - height * 0.14, x + w * 0.1, base, (140, 134, 134))
    for i, (top, bottom, half) in enumerate(((0.55, 0.10, 1.0), (0.78, 0.38, 0.78), (1.0, 0.62, 0.55))):
        y0, y1, half_width = base - height * top, base - height * bottom, w * half
        pen.polygon([(x, y0), (x + half_width, y1), (x - half_width, y1)], mix(colour, snow, 0.08 * i))
        pen.polygon([(x, y0), (x + half_width * 0.5, (y0 + y1) / 2),
            (x + half_width * 0.1, y0 + (y1 - y0) * 0.4), (x - half_width * 0.15, y0 + (y1 - y0) * 0.55),
            (x - half_width * 0.5, (y0 + y1) / 2)], snow)  # fmt: skip


def _cactus(pen: Pen, x: float, base: float, height: float) -> None:
    body, light, r = (150, 168, 144), (170, 186, 162), height * 0.11
    pen.limb((x, base), (x, base - height), r, r * 0.9, body)
    for side, low, high in ((-1, 0.42, 0.75), (1, 0.55, 0.88)):
        elbow = (x + side * r * 2.5, base - height * low)
        pen.limb((x, base - height * low), elbow, r * 0.62, r * 0.62, body)
        pen.limb(elbow, (elbow[0], base - height * high), r * 0.62, r * 0.58, body)
    pen.line([(x - r * 0.35, base - height * 0.04), (x - r * 0.35, base - height * 0.96)], r * 0.28, light)
    pen.line([(x + r * 0.4, base - height * 0.04), (x + r * 0.4, base - height * 0.94)], r * 0.16,
        mix(body, (90, 100, 90), 0.3))  # fmt: skip


def _fern(pen: Pen, x: float, y: float, size: float) -> None:
    for angle in (-1.1, -0.5, 0.0, 0.5, 1.1):
        dx, dy = float(np.sin(angle)) * size, -float(np.cos(angle)) * size * 0.8
        pen.shape([(x, y), (x + dx * 0.5 - dy * 0.12, y + dy * 0.6), (x + dx, y + dy * 0.8),
            (x + dx * 0.5 + dy * 0.12, y + dy * 0.45)], (124, 148, 118))  # fmt: skip


def _shells(pen: Pen, rng: np.random.Generator) -> None:
    for _ in range(3):
        x, y, s = float(rng.uniform(0.04, 0.96)), float(rng.uniform(0.8, 0.98)), float(rng.uniform(0.6, 1.1))
        pen.shape([(x - 0.02 * s, y), (x - 0.012 * s, y - 0.018 * s), (x, y - 0.024 * s),
            (x + 0.012 * s, y - 0.018 * s), (x + 0.02 * s, y), (x, y + 0.006 * s)],
            (242, 226, 214))  # fmt: skip
        for dx in (-0.008, 0.0, 0.008):
            pen.line([(x + dx * s, y - 0.016 * s), (x + dx * 0.3 * s, y)], 0.002, (222, 200, 186))


def _palm(pen: Pen, x: float, base: float, lean: float) -> None:
    top = (x + lean * 0.07, base - 0.42)
    trunk, leaf, shade = (176, 158, 138), (146, 172, 150), (128, 154, 136)
    pen.shape([(x - 0.017, base), (x - 0.01 + lean * 0.02, base - 0.22), (top[0] - 0.008, top[1]),
        (top[0] + 0.008, top[1]), (x + 0.012 + lean * 0.02, base - 0.22), (x + 0.019, base)],
        trunk)  # fmt: skip
    for t in np.linspace(0.1, 0.9, 8):
        y, middle = base - 0.42 * float(t), x + lean * 0.07 * float(t) ** 1.6
        pen.line([(middle - 0.011, y), (middle + 0.011, y - 0.004)], 0.003, (156, 138, 120))
    for i, angle in enumerate((-2.9, -2.3, -1.6, -0.9, -0.3, 0.25, 2.9)):
        dx, dy = float(np.cos(angle)), float(np.sin(angle))
        tip = (top[0] + dx * 0.17, top[1] + dy * 0.10 + 0.05)
        bend = (top[0] + dx * 0.10, top[1] + dy * 0.12 - 0.015)
        pen.shape(
            [top, (bend[0], bend[1] - 0.018), tip, (bend[0], bend[1] + 0.016)], shade if i % 2 else leaf
        )


def _poplar(pen: Pen, x: float, base: float, height: float) -> None:
    w = height * 0.17
    pen.shape([(x, base - height), (x + w, base - height * 0.45), (x + w * 0.6, base), (x - w * 0.6, base),
        (x - w, base - height * 0.45)], (154, 178, 164))  # fmt: skip
    pen.shape([(x - w * 0.1, base - height * 0.9), (x + w * 0.1, base - height * 0.5),
        (x - w * 0.5, base - height * 0.25)], (168, 190, 174))  # fmt: skip


def _bench(pen: Pen, x: float, base: float) -> None:
    wood, iron = (188, 172, 152), (116, 118, 122)
    for side in (-1, 1):
        pen.line([(x + side * 0.07, base), (x + side * 0.07, base - 0.075)], 0.008, iron)
    for dy in (0.072, 0.054):
        pen.rect(x - 0.09, base - dy - 0.012, x + 0.09, base - dy, wood, 0.003)
    pen.rect(x - 0.095, base - 0.034, x + 0.095, base - 0.020, mix(wood, (90, 80, 70), 0.2), 0.003)


def _log(pen: Pen, x: float, y: float) -> None:
    bark, cut = (138, 130, 118), (196, 186, 166)
    pen.limb((x, y), (x + 0.2, y + 0.012), 0.024, 0.026, bark)
    pen.line([(x + 0.02, y - 0.008), (x + 0.15, y)], 0.004, (120, 114, 104))
    pen.ellipse(x + 0.2, y + 0.012, 0.017, 0.026, cut)
    pen.ellipse(x + 0.2, y + 0.012, 0.009, 0.014, mix(cut, bark, 0.4))
    pen.ellipse(x + 0.06, y - 0.022, 0.03, 0.007, (136, 156, 128))


def _corner_grass(pen: Pen, rng: np.random.Generator, colour: RGB) -> None:
    for corner in (0.0, 1.0):
        for _ in range(9):
            x, lean = corner + float(rng.uniform(-0.10, 0.10)), float(rng.uniform(-0.04, 0.04))
            tall = float(rng.uniform(0.04, 0.11))
            tint = mix(colour, (60, 84, 70), float(rng.uniform(0.0, 0.3)))
            pen.shape([(x - 0.012, 1.02), (x + lean * 0.4 - 0.007, 1.0 - tall * 0.6), (x + lean, 1.0 - tall),
                (x + lean * 0.4 + 0.007, 1.0 - tall * 0.55), (x + 0.012, 1.02)], tint)  # fmt: skip
