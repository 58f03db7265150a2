import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from ssa_me import figures

BOXES = np.array([[0, 0, 4, 8], [4, 0, 8, 8.0]])
GREY = np.full((8, 8, 3), 100, dtype=np.uint8)


def test_paint_fills_boxes_and_leaves_the_rest_without_a_value():
    painted = figures.paint(np.array([[0, 0, 2, 1], [1, 0, 3, 1.0]]), np.array([1.0, 3.0]), width=4, height=2)
    assert painted[0, :3].tolist() == [1.0, 2.0, 3.0]  # the middle pixel lies in both boxes
    assert np.isnan(painted[0, 3])
    assert np.isnan(painted[1]).all()


def test_smoothing_keeps_a_constant_map_and_its_edges():
    painted = figures.paint(BOXES[:1], np.array([0.7]), 8, 8)
    smoothed = figures.smooth(painted, 2.0)
    assert smoothed[:, :4] == pytest.approx(np.full((8, 4), 0.7))
    assert np.isnan(smoothed[:, 4:]).all()


def test_scale_is_shared_and_never_empty():
    assert figures.shared_scale([np.array([0.1, 0.4]), np.array([0.3])]) == (0.0, 0.4)
    assert figures.shared_scale([np.zeros(3), np.zeros(0)]) == (0.0, 1.0)


def test_overlay_shows_the_colour_of_the_value_on_the_given_scale():
    drawn = figures.overlay(GREY, BOXES, np.array([0.0, 0.5]), (0.0, 0.5), opacity=1.0, grid=True)
    assert (drawn[:, :4] == 55).all()  # no attention: the dimmed image
    top = (np.array(mpl.colormaps["inferno"](1.0)[:3]) * 255).round()
    assert np.abs(drawn[:, 4:] - top).max() <= 1
    half = figures.overlay(GREY, BOXES, np.array([0.0, 0.5]), (0.0, 1.0), opacity=1.0, grid=True)
    assert not np.array_equal(
        half, drawn
    )  # the same map on another scale looks different: nothing is stretched


def test_difference_is_neutral_at_zero():
    drawn = figures.overlay(
        GREY, BOXES, np.array([0.0, -1.0]), (-1.0, 1.0), opacity=1.0, grid=True, colours=figures.DIVERGING
    )
    assert (drawn[:, :4] == 55).all()
    assert drawn[0, 6, 2] > drawn[0, 6, 0]  # below zero is blue


def test_canvas_scales_boxes_with_the_image():
    picture, boxes = figures.canvas(Image.new("RGB", (8, 4)), np.array([[0, 0, 4, 4.0]]), longest=16)
    assert picture.shape == (8, 16, 3)
    assert boxes.tolist() == [[0, 0, 8, 8]]


def test_outline_draws_on_a_copy():
    drawn = figures.outline(GREY, (1, 2, 4, 5), (255, 0, 0), thickness=1)
    assert drawn[2, 1].tolist() == drawn[6, 4].tolist() == [255, 0, 0]
    assert drawn[3, 2].tolist() == [100, 100, 100]
    assert (GREY == 100).all()


def test_sheet_holds_panels_and_legend():
    bar = figures.legend((0, 0.25), figures.sheet_width([GREY, GREY]), "share")
    page = figures.sheet([("one", GREY), ("two", GREY)], bar)
    assert page.shape[1] == figures.sheet_width([GREY, GREY])
    assert page.shape[0] > 8 + bar.shape[0]
    assert page.dtype == np.uint8
