"""What the passes give: boxes by hand, and batches of image tokens picked and joined."""

from __future__ import annotations

import numpy as np
import torch

from ssa_me.outputs import VisualBatch, token_boxes


def test_token_boxes_by_hand():
    boxes = token_boxes((1, 4, 6), merge=2, size=(90, 40))
    expected = [
        [0, 0, 30, 20],
        [30, 0, 60, 20],
        [60, 0, 90, 20],
        [0, 20, 30, 40],
        [30, 20, 60, 40],
        [60, 20, 90, 40],
    ]
    assert boxes.tolist() == expected
    assert boxes.dtype == np.float32


def assert_same(a: VisualBatch, b: VisualBatch) -> None:
    assert a.tokens.shape == b.tokens.shape and a.sizes == b.sizes and len(a.deep) == len(b.deep)
    torch.testing.assert_close(a.tokens, b.tokens, atol=1e-5, rtol=1e-5)
    assert torch.equal(a.valid, b.valid) and torch.equal(a.grid, b.grid)
    for mine, other in zip(a.deep, b.deep, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(a.boxes, b.boxes)


@torch.no_grad()
def test_select_and_join(backbone_of, picture):
    images = [picture(64, 64, 0), picture(40, 90, 1), picture(96, 33, 2)]
    backbone = backbone_of("qwen3_vl")
    visual = backbone.vision_pass(images)
    assert len(visual) == 3 and visual.counts() == [
        len(token_boxes(g, 2, (1, 1))) for g in visual.grid.tolist()
    ]
    assert_same(visual.select([2, 0, 2]), backbone.vision_pass([images[2], images[0], images[2]]))
    assert_same(VisualBatch.join([visual.select([1]), visual.select([2, 0])]), visual.select([1, 2, 0]))
    assert visual.to(torch.bfloat16).deep[0].dtype == torch.bfloat16
