"""The split model against the whole one, for every family: features, attention rows, boxes, prompts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import AutoModelForImageTextToText

from ssa_me.backbone import MAX_TEXT_TOKENS, Backbone
from ssa_me.errors import InputError
from ssa_me.families import PatchProjection

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
CHECKPOINTS = (*FAMILIES, "qwen3_vl-chat")
TEXTS = ["a red bird on the left", "", "tree"]
SIZES = [(64, 64), (40, 90), (96, 33)]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def eager_of(checkpoint_of):
    """transformers' own model with eager attention: nothing of ours."""
    loaded = {}

    def of(name: str) -> nn.Module:
        if name not in loaded:
            loaded[name] = AutoModelForImageTextToText.from_pretrained(
                checkpoint_of(name), dtype=torch.float32, attn_implementation="eager"
            ).eval()
        return loaded[name]

    return of


@pytest.fixture
def images(picture) -> list[Image.Image]:
    return [picture(*size, seed) for seed, size in enumerate(SIZES)]


def whole_pass(eager, backbone: Backbone, texts, images, bias=None):
    """One call of `model.model(pixel_values=…)` on a batch: last token's states, states and rows at image tokens.

    bias: (B, N) is put into a causal mask (B, 1, T, T) made by hand, in place of transformers' own.
    """
    pixels, grid = backbone.pixels(images)
    counts = [int(n) for n in grid.prod(1) // backbone.merge**2]
    ids, mask = backbone.tokenize(texts, counts)
    places = [torch.nonzero(row == backbone.image_token_id).flatten() for row in ids]
    handle = None
    if bias is not None:
        length = ids.shape[1]
        allowed = torch.ones(length, length, dtype=torch.bool).tril() & mask[:, None].bool()
        full = torch.zeros(len(texts), length, length)
        for b, place in enumerate(places):
            full[b, :, place] = bias[b, : counts[b]]
        full = full.masked_fill(~allowed, torch.finfo(torch.float32).min)[:, None]
        handle = eager.model.language_model.register_forward_pre_hook(
            lambda _, args, kwargs: (args, kwargs | {"attention_mask": full}), with_kwargs=True
        )
    with torch.no_grad():
        output = eager.model(
            input_ids=ids,
            attention_mask=mask,
            pixel_values=pixels,
            image_grid_thw=grid,
            mm_token_type_ids=(ids == backbone.image_token_id).int(),
            output_attentions=True,
        )
    if handle is not None:
        handle.remove()
    states, last = output.last_hidden_state, mask.sum(1) - 1
    rows = [
        torch.stack([layer[b, :, last[b], place].mean(0) for layer in output.attentions])
        for b, place in enumerate(places)
    ]
    hidden = [states[b, place] for b, place in enumerate(places)]
    return states[torch.arange(len(texts)), last], hidden, rows


# --- the split pass --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_split_equals_whole_and_rows_equal_eager(name, backbone_of, eager_of, images):
    backbone = backbone_of(name)
    with torch.no_grad():
        visual = backbone.vision_pass(images)
        split = backbone.language_pass(TEXTS, visual, collect_rows=True)
    last, hidden, rows = whole_pass(eager_of(name), backbone, TEXTS, images)
    torch.testing.assert_close(split.last, last, atol=1e-5, rtol=1e-5)
    for b, count in enumerate(visual.counts()):
        torch.testing.assert_close(split.hidden[b, :count], hidden[b], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(split.rows[b, :, :count], rows[b], atol=1e-6, rtol=1e-5)
        assert not split.hidden[b, count:].any() and not split.rows[b, :, count:].any()
    assert split.rows.shape == (3, backbone.layers, visual.tokens.shape[1])
    assert (split.rows.sum(2) < 1).all()
    assert split.rows.std(2).min() > 1e-4, "rows are too even to tell a right one from a wrong one"
    assert len(visual.deep) == (2 if name.startswith("qwen3") else 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_text_alone_equals_the_whole_model(name, backbone_of, eager_of):
    backbone = backbone_of(name)
    texts = ["a red bird", "tree on the left of a house ."]
    ids, mask = backbone.tokenize(texts)
    with torch.no_grad():
        got = backbone.language_pass(texts)
        states = eager_of(name).model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(got.last, states[[0, 1], mask.sum(1) - 1], atol=1e-5, rtol=1e-5)
    assert got.hidden is None and got.rows is None


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("together", [True, False], ids=["padded", "alone"])
def test_key_bias_equals_a_mask_made_by_hand(name, together, backbone_of, eager_of, images):
    backbone = backbone_of(name)
    pictures, texts = (images, TEXTS) if together else (images[1:2], TEXTS[:1])
    torch.manual_seed(3)
    with torch.no_grad():
        visual = backbone.vision_pass(pictures)
        bias = -4 * torch.rand(visual.valid.shape)
        split = backbone.language_pass(texts, visual, bias, collect_rows=True)
    last, hidden, rows = whole_pass(eager_of(name), backbone, texts, pictures, bias)
    torch.testing.assert_close(split.last, last, atol=1e-5, rtol=1e-5)
    for b, count in enumerate(visual.counts()):
        torch.testing.assert_close(split.hidden[b, :count], hidden[b], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(split.rows[b, :, :count], rows[b], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_key_bias_lowers_attention_where_it_is_negative(name, backbone_of, images):
    backbone = backbone_of(name)
    with torch.no_grad():
        visual = backbone.vision_pass(images)
        half = (torch.arange(visual.tokens.shape[1]) % 2 == 0) & visual.valid
        plain = backbone.language_pass(TEXTS, visual, collect_rows=True)
        zero = backbone.language_pass(TEXTS, visual, torch.zeros(half.shape), collect_rows=True)
        biased = backbone.language_pass(TEXTS, visual, half * -3.0, collect_rows=True)
    torch.testing.assert_close(zero.last, plain.last, atol=1e-5, rtol=1e-5)
    before = (plain.rows * half[:, None]).sum(2)
    after = (biased.rows * half[:, None]).sum(2)
    assert (after < 0.5 * before).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_flows_from_the_rows_to_the_image_tokens(name, backbone_of, images):
    backbone = backbone_of(name)
    with torch.no_grad():
        visual = backbone.vision_pass(images)

    def mass(tokens: torch.Tensor) -> torch.Tensor:
        moved = visual.with_tokens(tokens, visual.deep)
        return backbone.language_pass(TEXTS, moved, collect_rows=True).rows[:, :, 0].sum()

    tokens = visual.tokens.clone().requires_grad_()
    mass(tokens).backward()
    assert not tokens.grad[~visual.valid].any()
    torch.manual_seed(0)
    step = torch.randn_like(tokens) * 1e-3 * visual.valid[..., None]
    with torch.no_grad():
        slope = mass(visual.tokens + step) - mass(visual.tokens - step)
    torch.testing.assert_close(slope / 2, (tokens.grad * step).sum(), rtol=0.05, atol=2e-6)
    assert slope.abs() > 1e-5


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_sample_does_not_depend_on_its_batch(name, backbone_of, images):
    backbone = backbone_of(name)
    with torch.no_grad():
        visual = backbone.vision_pass(images)
        together = backbone.language_pass(TEXTS, visual, collect_rows=True)
        texts = backbone.language_pass(["bird", "a red bird on the left of the tree ."])
        for b, (text, image) in enumerate(zip(TEXTS, images, strict=True)):
            one = backbone.vision_pass([image])
            count = one.tokens.shape[1]
            alone = backbone.language_pass([text], one, collect_rows=True)
            torch.testing.assert_close(visual.tokens[b, :count], one.tokens[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(together.last[b], alone.last[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(together.rows[b, :, :count], alone.rows[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(backbone.language_pass(["bird"]).last[0], texts.last[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_vision_pass_is_the_same_while_it_is_trained(name, checkpoint_of, images):
    backbone = Backbone.load(checkpoint_of(name), CPU, torch.float32)
    with torch.no_grad():
        still = backbone.vision_pass(images)
    moving = backbone.vision_pass(images)
    assert moving.tokens.requires_grad
    torch.testing.assert_close(moving.tokens.detach(), still.tokens, atol=1e-5, rtol=1e-5)
    moving.tokens.sum().backward()
    gradients = [p.grad for p in backbone.model.model.visual.blocks.parameters()]
    assert all(g is not None and g.isfinite().all() and g.any() for g in gradients)


def test_image_states_do_not_depend_on_the_text(backbone_of, images):
    backbone = backbone_of("qwen2_vl")
    with torch.no_grad():
        visual = backbone.vision_pass(images)
        named, silent = (backbone.language_pass(t, visual).hidden for t in (TEXTS, [""] * 3))
    torch.testing.assert_close(named, silent, atol=1e-5, rtol=1e-5)


PROMPTS = ["a bird", "", "the house on the right of"]


def answer_losses(backbone, eager, images, prompts, spoken_from) -> list[torch.Tensor]:
    """By transformers alone and one sample at a time, without padding: the cross-entropy of every token from the one
    that `spoken_from(prompt ids, end)` counts back from the last."""
    losses = []
    end = backbone.tokenizer(backbone.format.with_image[1], add_special_tokens=False)["input_ids"]
    for prompt, answer, image in zip(prompts, TEXTS, images, strict=True):
        pixels, grid = backbone.pixels([image])
        asked, _ = backbone.tokenize([prompt], [int(grid.prod() // 4)])
        said = [*backbone.text_ids(answer), *end]
        ids = torch.cat([asked[0, : asked.shape[1] - len(end)], torch.tensor(said, dtype=torch.long)])[None]
        logits = eager(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=pixels,
            image_grid_thw=grid,
            mm_token_type_ids=(ids == backbone.image_token_id).int(),
        ).logits.log_softmax(-1)
        length, spoken = ids.shape[1], len(said) + spoken_from(backbone.text_ids(prompt))
        losses += [-logits[0, t - 1, ids[0, t]] for t in range(length - spoken, length)]
    return losses


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl-chat"])
@pytest.mark.parametrize("prompts", [PROMPTS, ["", "", ""]], ids=["asked", "unasked"])
def test_answer_loss_by_hand(name, prompts, backbone_of, eager_of, images):
    backbone, eager = backbone_of(name), eager_of(name)
    with torch.no_grad():
        got = backbone.answer_loss(prompts, TEXTS, backbone.vision_pass(images))
        losses = answer_losses(backbone, eager, images, prompts, lambda asked: 0)
        with_prompts = torch.stack(answer_losses(backbone, eager, images, prompts, len)).mean()
    torch.testing.assert_close(got, torch.stack(losses).mean(), atol=1e-5, rtol=1e-5)
    assert len(losses) == backbone.answer_tokens(TEXTS)
    if any(prompts):
        assert abs(with_prompts - got) > 1e-3, "the prompts' own tokens must weigh for this to mean anything"


def test_an_answer_is_the_continuation_of_its_prompt(backbone_of, images):
    """The prompt is read: the same answers after other prompts are as likely no more."""
    backbone = backbone_of("qwen2_vl")
    with torch.no_grad():
        visual = backbone.vision_pass(images)
        asked, unasked = (backbone.answer_loss(p, TEXTS, visual) for p in (PROMPTS, [""] * 3))
    assert abs(asked - unasked) > 1e-3


def test_texts_read_in_buckets_keep_their_order(backbone_of):
    backbone = backbone_of("qwen2_vl")
    texts = [
        "a red bird on the left of the tree .",
        "tree",
        "",
        "a blue house",
        "tree",
        "the red red person in on",
    ]
    with torch.no_grad():
        spoken = backbone.speak(texts, bucket=2)
        alone = torch.cat([backbone.language_pass([text]).embedding() for text in texts])
        assert backbone.speak(texts[:1], bucket=2).shape == (1, backbone.width)
    torch.testing.assert_close(spoken, alone, atol=1e-5, rtol=0)
    assert (spoken[0] - spoken[3]).abs().max() > 1e-2


# --- the patch embedding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_patch_projection_equals_a_convolution(bias):
    torch.manual_seed(0)
    convolution = nn.Conv3d(3, 10, kernel_size=(2, 4, 4), stride=(2, 4, 4), bias=bias)
    product = PatchProjection(3, 10, kernel_size=(2, 4, 4), stride=(2, 4, 4), bias=bias)
    product.load_state_dict(convolution.state_dict())
    patches = torch.randn(7, 3, 2, 4, 4)
    torch.testing.assert_close(product(patches), convolution(patches))
    assert product(patches).shape == (7, 10, 1, 1, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_patch_embedding_is_replaced_under_the_same_keys(name, backbone_of, eager_of):
    assert type(backbone_of(name).model.model.visual.patch_embed.proj) is PatchProjection
    assert type(eager_of(name).model.visual.patch_embed.proj) is nn.Conv3d
    assert backbone_of(name).model.state_dict().keys() == eager_of(name).state_dict().keys()


# --- boxes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_boxes_tile_the_image(size, backbone_of, picture):
    visual = backbone_of("qwen2_vl").vision_pass([picture(*size)])
    covered = np.zeros((size[1] * 4, size[0] * 4), dtype=int)
    for x0, y0, x1, y1 in np.rint(visual.boxes[0] * 4).astype(int):
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()
    assert visual.sizes == (size,)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [(64, 64), (96, 32), (32, 96)])
def test_a_box_is_where_its_token_looks(name, size, checkpoint_of):
    """With the vision attention silenced, the pixels under a box change its own token and no other, in every family
    (patches come in merge blocks, and Qwen2.5-VL reorders them by windows)."""
    backbone = Backbone.load(checkpoint_of(name), CPU, torch.float32)
    for block in backbone.model.model.visual.blocks:
        nn.init.zeros_(block.attn.proj.weight)
    random = np.random.default_rng(0)
    pixels = random.integers(100, 150, (size[1], size[0], 3)).astype(np.uint8)
    with torch.no_grad():
        plain = backbone.vision_pass([Image.fromarray(pixels)])
        changed, boxes = [], plain.boxes[0]
        for x0, y0, x1, y1 in np.rint(boxes).astype(int):
            painted = pixels.copy()
            painted[y0:y1, x0:x1] = random.integers(0, 256, painted[y0:y1, x0:x1].shape)
            changed.append(Image.fromarray(painted))
        moved = (backbone.vision_pass(changed).tokens - plain.tokens).norm(dim=2)
    assert torch.equal(moved > 1e-3, torch.eye(len(boxes), dtype=torch.bool))


@pytest.mark.parametrize("size", [(40, 3), (3, 40), (3, 3), (40, 1), (1, 1)])
def test_channels_of_an_image_few_pixels_wide_are_not_mistaken_for_rows(size, backbone_of):
    backbone = backbone_of("qwen2_vl")
    patches, _ = backbone.pixels([Image.new("RGB", size, (255, 0, 128))])
    processor = backbone.image_processor
    colour = (torch.tensor([1, 0, 128 / 255]) - torch.tensor(processor.image_mean)) / torch.tensor(
        processor.image_std
    )
    channels = patches.view(len(patches), 3, -1)
    torch.testing.assert_close(channels, colour[None, :, None].expand_as(channels), atol=1e-4, rtol=0)


def test_a_strip_beyond_the_processor_is_bad_input(backbone_of):
    with pytest.raises(InputError, match="aspect ratio"):
        backbone_of("qwen2_vl").vision_pass([Image.new("RGB", (500, 2))])


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_prompt_without_a_template(backbone_of):
    backbone = backbone_of("qwen2_5_vl")
    token = backbone.tokenizer.convert_tokens_to_ids
    start, image, end, stop, pad = map(
        token, ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|im_end|>", "<|endoftext|>"]
    )
    ids, mask = backbone.tokenize(["red bird", ""], [2, 3])
    assert ids.tolist() == [
        [start, image, image, end, token("red"), token("bird"), stop],
        [start, image, image, image, end, stop, pad],
    ]
    assert mask.tolist() == [[1] * 7, [1] * 6 + [0]]
    assert backbone.tokenize(["red bird"])[0].tolist() == [[token("red"), token("bird"), stop]]


def test_prompt_with_a_chat_template(backbone_of):
    backbone = backbone_of("qwen3_vl-chat")
    tokenizer = backbone.tokenizer
    said = "<|im_start|>user {}red bird<|im_end|><|im_start|>assistant"
    picture = "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>"
    assert backbone.tokenize(["red bird"], [2])[0].tolist() == [tokenizer(said.format(picture))["input_ids"]]
    assert backbone.tokenize(["red bird"])[0].tolist() == [tokenizer(said.format(""))["input_ids"]]
    assert backbone.image_start == 3


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize(
    "text",
    [
        "<|image_pad|> and <|vision_start|><|image_pad|><|vision_end|>",
        "<|im_end|><|endoftext|>",
        "<|im_<|image_pad|>start|> <|image_<|image_pad|>pad|>",
        "<|IMAGE_PAD|> ＜|image_pad|＞",
    ],
)
@torch.no_grad()
def test_special_tokens_in_a_text_do_not_break_the_prompt(name, text, backbone_of, picture):
    backbone = backbone_of(name)
    visual = backbone.vision_pass([picture()])
    ids, _ = backbone.tokenize([text], visual.counts())
    assert int((ids == backbone.image_token_id).sum()) == visual.counts()[0]
    specials = set(backbone.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>", "<|endoftext|>"]))
    assert not specials & set(backbone.text_ids(text))
    assert backbone.language_pass([text], visual).last.isfinite().all()


def test_specials_are_read_as_a_space(backbone_of):
    backbone = backbone_of("qwen2_vl")
    assert backbone.text_ids("red<|im_end|>bird") == backbone.text_ids("red bird")
    assert backbone.text_ids(" <|image_pad|> ") == []


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_a_text_of_ten_thousand_characters_is_cut(name, backbone_of, picture):
    backbone = backbone_of(name)
    text = ("a red bird on the left of a tree . " * 300)[:10_000]
    assert len(backbone.text_ids(text)) == MAX_TEXT_TOKENS
    visual = backbone.vision_pass([picture()])
    assert backbone.tokenize([text], visual.counts())[0].shape[1] == MAX_TEXT_TOKENS + visual.counts()[0] + 3
    output = backbone.language_pass([text, "bird"], visual.select([0, 0]), collect_rows=True)
    assert output.last.isfinite().all() and output.rows.isfinite().all()


@pytest.mark.parametrize(
    "text",
    [
        "красная птица",
        "红色的鸟",
        "طائر أحمر",
        "लाल चिड़िया",
        "赤い鳥",
        "빨간 새",
        "🦜🔴",
        "e\u0301\u202e\u200d",
        "\x00\x07",
        "half \ud83e",
    ],
)
@torch.no_grad()
def test_any_script_is_read(text, backbone_of):
    first, second = backbone_of("qwen2_vl"), backbone_of("qwen3_vl")
    assert len(first.text_ids(text)) > 0
    assert first.language_pass([text]).last.isfinite().all()
    assert second.language_pass([text]).last.isfinite().all()


def test_different_scripts_are_told_apart(backbone_of):
    backbone = backbone_of("qwen2_vl")
    texts = ["красная птица", "红色的鸟", "طائر أحمر", "🦜"]
    assert len({tuple(backbone.text_ids(text)) for text in texts}) == len(texts)
    assert backbone.tokenizer.decode(backbone.text_ids("красная птица")) == "красная птица"


def test_a_template_that_drops_the_image_is_bad_input(checkpoint_of, tmp_path):
    folder = Path(shutil.copytree(checkpoint_of("qwen2_vl"), tmp_path / "copy"))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}"
    )
    with pytest.raises(InputError, match="no single image token"):
        Backbone.load(folder, CPU, torch.float32)


# --- what it says of itself -------------------------------------------------------------------------------------------


@torch.no_grad()
def test_sixteen_bits_are_near_thirty_two(checkpoint_of, backbone_of, images):
    """The precision of a GPU, on the CPU: nothing is left behind in another type."""
    half = Backbone.load(checkpoint_of("qwen3_vl"), CPU, torch.bfloat16)
    full = backbone_of("qwen3_vl")
    assert half.dtype == torch.bfloat16
    got, wanted = (b.language_pass(TEXTS, b.vision_pass(images), collect_rows=True) for b in (half, full))
    assert nn.functional.cosine_similarity(got.last.float(), wanted.last).min() > 0.98
    assert got.rows.dtype == torch.float32


def test_what_a_backbone_says_of_itself(backbone_of, checkpoint_of):
    for family in FAMILIES:
        backbone = backbone_of(family)
        config = json.loads((checkpoint_of(family) / "config.json").read_text())
        assert (backbone.family, backbone.width, backbone.layers) == (family, 32, 3)
        assert backbone.merge == config["vision_config"]["spatial_merge_size"] == 2
