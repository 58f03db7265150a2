"""Figures of attributions: a row each, maps of versions on one scale, the same file for the same input."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from ssa_me.attribution import Attribution, Balance, Curve, Quality, Settings, Verdict, Word
from ssa_me.attribution.drawing import FORMATS, draw, scale_of, write


def made(version: str, target: str = "similarity", top: float = 0.2) -> tuple[Attribution, Quality]:
    values = np.array([top, -0.1, 0.0, 0.05], dtype=np.float32)
    balance = Balance(0.4, 0.1, 0.3, True)
    attribution = Attribution(
        method="integrated-gradients",
        target=target,
        version=version,
        text="costs 5$ 红",
        settings=Settings(),
        image_size=(32, 32),
        pixels=np.repeat(np.repeat(values.reshape(2, 2), 8, 0), 8, 1) / 64,
        boxes=np.array([[0, 0, 16, 16], [16, 0, 32, 16], [0, 16, 16, 32], [16, 16, 32, 32]], np.float32),
        values=values,
        words=(Word("costs", 0, 5, 0.2), Word("5$", 6, 8, -0.1), Word("红", 9, 10, 0.05)),
        parts=(),
        image=balance,
        words_balance=balance,
        held="Held fixed: nothing.",
        text_baseline="the padding token",
        notes=(),
        evaluations=1,
        seconds=0.1,
    )
    curve = Curve((0.0, 0.5, 1.0), (0.4, 0.2, 0.1))
    quality = Quality(0.0, 0.0, curve, None, curve, 0.1, 0.5, None, None, Verdict("medium", "By hand."))
    return attribution, quality


def test_a_map_keeps_its_sum_at_any_size():
    attribution, _ = made("ssa-me")
    for size in ((32, 32), (7, 5), (100, 33), (1, 1)):
        found = attribution.in_pixels(*size)
        assert found.shape == size[::-1] and found.sum() == pytest.approx(attribution.values.sum(), rel=1e-4)
    quarter = attribution.in_pixels(2, 2)
    np.testing.assert_allclose(quarter.ravel(), attribution.values, rtol=1e-5)


def test_versions_share_a_scale_and_the_difference_has_its_own():
    found = [made("baseline", top=0.5), made("ssa-me"), made("ssa-me", "difference", top=0.03)]
    assert scale_of(found[0][0], found) == scale_of(found[1][0], found) == (-0.5, 0.5)
    assert scale_of(found[2][0], found) == pytest.approx((-0.1, 0.1))
    unsigned = dataclasses.replace(found[0][0], method="saliency")
    assert scale_of(unsigned, [(unsigned, found[0][1])]) == (0.0, 0.5)


def test_a_figure_is_written_the_same_each_time(tmp_path):
    assert FORMATS == ("png", "svg")
    image = Image.new("RGB", (32, 32), (90, 120, 30))
    first = write(draw(image, [made("ssa-me")]), tmp_path / "a.svg").read_text(encoding="utf-8")
    again = write(draw(image, [made("ssa-me")], grid=False), tmp_path / "b.svg").read_text(encoding="utf-8")
    assert first == again and "<svg" in first
