"""The mini model's shape: its own tokenizer, its grid, and a checkpoint that the ordinary loader reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me.backbone import Backbone
from ssa_me.mini import SIDE, SPECIALS, build_mini, train_tokenizer

CAPTIONS = ["a person in red left of a blue house", "two yellow birds in front of a tree"] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CAPTIONS, 300)


@pytest.fixture(scope="module")
def mini(tokenizer) -> Backbone:
    torch.manual_seed(0)
    return build_mini(tokenizer, width=48, layers=2, heads=3, mlp=64, vision_width=32, vision_layers=1)


def test_tokenizer_is_deterministic_and_ignores_case(tokenizer):
    again = train_tokenizer(list(CAPTIONS), 300)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert tokenizer("A Person IN RED")["input_ids"] == tokenizer("a person in red")["input_ids"]
    assert tokenizer.convert_tokens_to_ids(list(SPECIALS)) == list(range(len(SPECIALS)))
    assert len(tokenizer) == 300


@pytest.mark.parametrize("text", ["красная птица", "红色的鸟", "🦜 é"])
def test_tokenizer_keeps_every_script(text, tokenizer):
    assert tokenizer.decode(tokenizer(text)["input_ids"]).strip() == text


@pytest.mark.parametrize("text", ["<|image|>", "<|IMAGE|>", "＜|image|＞"])
def test_an_image_token_in_a_text_is_no_image(text, mini):
    assert mini.image_token_id not in mini.text_ids(f"a {text} bird")


def test_a_square_of_the_stated_side_is_seven_by_seven_tokens(mini):
    with torch.no_grad():
        visual = mini.vision_pass([Image.new("RGB", (SIDE, SIDE)), Image.new("RGB", (600, 300))])
    assert visual.grid.tolist()[0] == [1, 14, 14] and visual.counts()[0] == 49
    _, rows, columns = visual.grid.tolist()[1]
    assert rows * columns == 4 * visual.counts()[1] <= 196
    assert columns == pytest.approx(2 * rows, abs=2), "the aspect ratio is kept, to a token of two patches"


def test_a_box_is_where_its_token_looks(tokenizer):
    """With the vision attention silenced, the pixels under a box change its own token and no other."""
    deaf = build_mini(
        tokenizer, width=48, layers=1, heads=3, mlp=32, vision_width=32, vision_layers=1, side=64
    )
    for block in deaf.model.model.visual.blocks:
        torch.nn.init.zeros_(block.attn.proj.weight)
    pixels = np.random.default_rng(0).integers(100, 150, (32, 128, 3)).astype(np.uint8)
    with torch.no_grad():
        plain = deaf.vision_pass([Image.fromarray(pixels)])
        painted = []
        for x0, y0, x1, y1 in np.rint(plain.boxes[0]).astype(int):
            painted.append(pixels.copy())
            painted[-1][y0:y1, x0:x1] = 255
        moved = (deaf.vision_pass([Image.fromarray(p) for p in painted]).tokens - plain.tokens).norm(dim=2)
    assert plain.grid.tolist() == [[1, 4, 16]]
    assert moved.argmax(1).tolist() == list(range(16))


def test_the_ordinary_loader_reads_what_it_saves(mini, picture, tmp_path):
    for part in (mini.model, mini.tokenizer, mini.image_processor):
        part.save_pretrained(tmp_path)
    again = Backbone.load(tmp_path, torch.device("cpu"), torch.float32)
    with torch.no_grad():
        first, second = (
            b.language_pass(["a red bird"], b.vision_pass([picture()])).last for b in (mini, again)
        )
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    assert again.family == "qwen2_vl" and again.width == 48 and again.layers == 2


@pytest.mark.parametrize(("width", "heads"), [(192, 6), (96, 3), (64, 2), (48, 3)])
def test_rotary_sections_fill_half_a_head(width, heads, tokenizer):
    built = build_mini(
        tokenizer, width=width, heads=heads, layers=1, mlp=32, vision_width=32, vision_layers=1
    )
    config = built.model.config.get_text_config()
    assert sum(config.rope_parameters["mrope_section"]) == width // heads // 2
    with torch.no_grad():
        assert built.language_pass(["a bird"]).last.isfinite().all()
