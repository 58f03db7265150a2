"""LLaVA-OneVision, InternVL and SmolVLM: tiny random models of transformers' classes against the split passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn

from ssa_me.adapters import TARGETS, Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import VERSIONS
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.families import FAMILIES, SquarePatches, family_of, to_squares
from ssa_me.samples import Sample

NEW = ("llava_onevision", "internvl", "smolvlm", "idefics3")
CHECKPOINTS = (*NEW, "smolvlm-chat", "internvl-chat")
TEXTS = ["a red bird on the left", "", "tree"]
SIZES = [(64, 64), (40, 90), (96, 33)]
CPU = torch.device("cpu")
WIDTH, LAYERS = 32, 3

WORDS = (
    "a an the red blue green square circle person house bird tree in on of and left right User Assistant : ."
)
SPECIALS = (
    "<|endoftext|>", "<|im_end|>", "<image>", "<video>", "<img>", "</img>", "<fake_token_around_image>", "<global-img>",
    "<unk>",
)  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}User : {% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %} Assistant :{% endif %}"
)


def tokenizer_of(chat: bool) -> transformers.PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate((*SPECIALS, *WORDS.split()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(SPECIALS[2:8]),
    )
    if chat:
        made.chat_template = CHAT_TEMPLATE
    return made


def text_config(kind: str, size: int) -> dict[str, Any]:
    return {
        "model_type": kind,
        "vocab_size": size,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }


def llava_onevision(size: int) -> tuple[Any, Any]:
    """Of its 30 pixels, four patches of 7 see 28."""
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 30, "patch_size": 7, "vision_use_head": False,
    }  # fmt: skip
    config = transformers.LlavaOnevisionConfig(
        text_config=text_config("qwen2", size), vision_config=vision, image_token_index=2, video_token_index=3,
        image_grid_pinpoints=[[30, 30], [30, 60]],
    )  # fmt: skip
    processor = transformers.LlavaOnevisionImageProcessorPil(
        size={"height": 30, "width": 30}, image_grid_pinpoints=[[30, 30], [30, 60]]
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config), processor


def internvl(size: int) -> tuple[Any, Any]:
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": [32, 32], "patch_size": [4, 4], "layer_scale_init_value": 1.0,
    }  # fmt: skip
    config = transformers.InternVLConfig(
        text_config=text_config("qwen2", size), vision_config=vision, image_token_id=2, image_seq_length=16
    )
    processor = transformers.GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, crop_to_patches=True)
    return transformers.InternVLForConditionalGeneration(config), processor


def smolvlm(size: int, name: str = "SmolVLM") -> tuple[Any, Any]:
    kinds: dict[str, tuple[Any, Any, Any]] = {
        "SmolVLM": (
            transformers.SmolVLMConfig,
            transformers.SmolVLMForConditionalGeneration,
            transformers.SmolVLMImageProcessorPil,
        ),
        "Idefics3": (
            transformers.Idefics3Config,
            transformers.Idefics3ForConditionalGeneration,
            transformers.Idefics3ImageProcessorPil,
        ),
    }
    make_config, make_model, make_processor = kinds[name]
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
        "patch_size": 4,
    }  # fmt: skip
    config = make_config(
        text_config=text_config("llama", size), vision_config=vision, image_token_id=2, scale_factor=2
    )
    processor = make_processor(size={"longest_edge": 128}, max_image_size={"longest_edge": 32})
    return make_model(config), processor


BUILDERS: dict[str, Callable[[int], tuple[Any, Any]]] = {
    "llava_onevision": llava_onevision,
    "internvl": internvl,
    "smolvlm": smolvlm,
    "idefics3": lambda size: smolvlm(size, "Idefics3"),
}


@pytest.fixture(scope="module")
def checkpoint_of(tmp_path_factory) -> Callable[[str], Path]:
    folders: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in folders:
            family, _, chat = name.partition("-")
            folders[name] = tmp_path_factory.mktemp("families") / name
            tokenizer = tokenizer_of(chat == "chat")
            torch.manual_seed(0)
            model, processor = BUILDERS[family](len(tokenizer))
            with torch.no_grad():
                for parameter in model.parameters():
                    fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
                    if parameter.ndim > 1 and parameter.shape[0] > 1:
                        parameter.normal_(0, 1.2 * fan_in**-0.5)
            for part in (model, tokenizer, processor):
                part.save_pretrained(folders[name])
        return folders[name]

    return of


@pytest.fixture
def images(picture) -> list[Image.Image]:
    return [picture(*size, seed) for seed, size in enumerate(SIZES)]


def plain_inputs(family: str, pixels: torch.Tensor) -> dict[str, Any]:
    """What transformers' own model takes for some squares (B, 3, height, width), one a sample."""
    sizes = torch.tensor([pixels.shape[2:]] * len(pixels))
    return {
        "llava_onevision": {"pixel_values": pixels, "image_sizes": sizes, "batch_num_images": [len(pixels)]},
        "internvl": {"pixel_values": pixels},
        "smolvlm": {
            "pixel_values": pixels[:, None],
            "pixel_attention_mask": torch.ones(len(pixels), 1, *pixels.shape[2:], dtype=torch.long),
        },
    }[family.replace("idefics3", "smolvlm")]


@pytest.mark.parametrize("name", CHECKPOINTS)
@torch.no_grad()
def test_split_equals_whole_and_rows_equal_eager(name, backbone_of, checkpoint_of, images):
    backbone = backbone_of(name)
    eager = transformers.AutoModelForImageTextToText.from_pretrained(
        checkpoint_of(name), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    visual = backbone.vision_pass(images)
    split = backbone.language_pass(TEXTS, visual, collect_rows=True)
    ids, mask = backbone.tokenize(TEXTS, visual.counts())
    pixels = to_squares(*backbone.pixels(images))
    whole = eager.model(
        input_ids=ids,
        attention_mask=mask,
        output_attentions=True,
        **plain_inputs(backbone.family, pixels),
    )
    states, last = whole.last_hidden_state, mask.sum(1) - 1
    torch.testing.assert_close(split.last, states[torch.arange(3), last], atol=1e-5, rtol=1e-5)
    for b, count in enumerate(visual.counts()):
        assert count == 16
        places = torch.nonzero(ids[b] == backbone.image_token_id).flatten()
        assert len(places) == count + backbone.trailing
        torch.testing.assert_close(split.hidden[b], states[b, places[:count]], atol=1e-5, rtol=1e-5)
        whole_rows = torch.stack([layer[b, :, last[b]].mean(0) for layer in whole.attentions])
        torch.testing.assert_close(split.rows[b], whole_rows[:, places[:count]], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(whole_rows.sum(1), torch.ones(LAYERS))
    assert split.rows.std(2).min() > 1e-4, "rows are too even to tell a right one from a wrong one"
    assert split.rows.shape == (3, LAYERS, 16) and (split.rows.sum(2) < 1).all()


@pytest.mark.parametrize("name", NEW)
@torch.no_grad()
def test_an_attention_row_sums_to_one(name, backbone_of, images, monkeypatch):
    """Over all tokens: the image's share and the rest."""
    import ssa_me.attention as attention

    rows = []
    original = attention.last_row
    monkeypatch.setattr(attention, "last_row", lambda *args: rows.append(original(*args)) or rows[-1])
    backbone = backbone_of(name)
    backbone.language_pass(TEXTS, backbone.vision_pass(images), collect_rows=True)
    assert len(rows) == LAYERS
    for row in rows:
        torch.testing.assert_close(row.sum(1), torch.ones(3))


@pytest.mark.parametrize("name", NEW)
@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch(name, backbone_of, images):
    backbone = backbone_of(name)
    visual = backbone.vision_pass(images)
    together = backbone.language_pass(TEXTS, visual, collect_rows=True)
    for b, (text, image) in enumerate(zip(TEXTS, images, strict=True)):
        one = backbone.vision_pass([image])
        alone = backbone.language_pass([text], one, collect_rows=True)
        torch.testing.assert_close(visual.tokens[b], one.tokens[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(together.last[b], alone.last[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(together.rows[b], alone.rows[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NEW)
@torch.no_grad()
def test_key_bias_lowers_attention_where_it_is_negative(name, backbone_of, images):
    backbone = backbone_of(name)
    visual = backbone.vision_pass(images)
    half = (torch.arange(16) % 2 == 0).expand(3, 16)
    plain = backbone.language_pass(TEXTS, visual, collect_rows=True)
    zero = backbone.language_pass(TEXTS, visual, torch.zeros(3, 16), collect_rows=True)
    biased = backbone.language_pass(TEXTS, visual, half * -3.0, collect_rows=True)
    torch.testing.assert_close(zero.last, plain.last, atol=1e-5, rtol=1e-5)
    assert ((biased.rows * half[:, None]).sum(2) < 0.5 * (plain.rows * half[:, None]).sum(2)).all()


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("size", SIZES)
def test_boxes_tile_the_image(name, size, backbone_of, picture):
    with torch.no_grad():
        visual = backbone_of(name).vision_pass([picture(*size)])
    covered = np.zeros((size[1] * 4, size[0] * 4), dtype=int)
    for x0, y0, x1, y1 in np.rint(visual.boxes[0] * 4).astype(int):
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()


def silence(model: nn.Module) -> None:
    """Turn off what mixes the patches of an image."""
    for name, module in model.named_modules():
        if ("vision" in name) and name.endswith(("out_proj", "projection_layer")):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


@pytest.mark.parametrize("name", NEW)
@torch.no_grad()
def test_a_box_is_where_its_token_looks(name, checkpoint_of):
    backbone = Backbone.load(checkpoint_of(name), CPU, torch.float32)
    silence(backbone.model)
    random = np.random.default_rng(0)
    side = backbone.image_processor.side
    pixels = random.integers(100, 150, (side, side, 3)).astype(np.uint8)
    plain = backbone.vision_pass([Image.fromarray(pixels)])
    changed = []
    for x0, y0, x1, y1 in np.rint(plain.boxes[0]).astype(int):
        painted = pixels.copy()
        painted[y0:y1, x0:x1] = random.integers(0, 256, painted[y0:y1, x0:x1].shape)
        changed.append(Image.fromarray(painted))
    moved = (backbone.vision_pass(changed).tokens - plain.tokens).norm(dim=2)
    assert torch.equal(moved > 1e-3, torch.eye(16, dtype=torch.bool))


@pytest.mark.parametrize("name", ["internvl", "smolvlm"])
def test_pixels_are_the_checkpoints_own(name, backbone_of, picture):
    """Of a square of the encoder's size: what its own processor makes of it, without tiles."""
    backbone = backbone_of(name)
    image = picture(32, 32)
    own = backbone.image_processor.processor(
        images=[image], return_tensors="pt", **backbone.image_processor.settings
    )["pixel_values"]
    assert torch.equal(to_squares(*backbone.pixels([image])), own.reshape(1, 3, 32, 32))


def test_squares_come_back_from_patches():
    class Same:
        resample = Image.Resampling.NEAREST

        def __call__(self, images, return_tensors):
            return {
                "pixel_values": torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) for i in images])
            }

    made = SquarePatches(Same(), side=7, patch=2, settings={})
    pixels = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)
    out = made([Image.fromarray(pixels)] * 2)
    assert made.side == 6 and out["pixel_values"].shape == (18, 12)
    assert out["image_grid_thw"].tolist() == [[1, 3, 3]] * 2
    assert out["pixel_values"][1].tolist() == pixels[0:2, 2:4].transpose(2, 0, 1).ravel().tolist()
    assert torch.equal(
        to_squares(out["pixel_values"], out["image_grid_thw"])[1].permute(1, 2, 0), torch.from_numpy(pixels)
    )


@pytest.mark.parametrize(
    ("name", "with_image", "text_only"),
    [
        ("llava_onevision", ("<image>\n", "<|im_end|>"), ("", "<|im_end|>")),
        ("internvl", ("<img><image></img>", "<|im_end|>"), ("", "<|im_end|>")),
        (
            "smolvlm-chat",
            ("User : <fake_token_around_image><global-img><image><fake_token_around_image>", "<|im_end|> Assistant :"),
            ("User : ", "<|im_end|> Assistant :"),
        ),
    ],
)  # fmt: skip
def test_prompts(name, with_image, text_only, backbone_of):
    backbone = backbone_of(name)
    assert backbone.format.with_image == with_image
    assert backbone.format.text_only == text_only


@pytest.mark.parametrize("name", ["internvl", "smolvlm"])
def test_a_tokenizer_without_the_tokens_around_an_image_is_bad_input(name):
    tokenizer = tokenizer_of(chat=False)
    with pytest.raises(InputError, match="tokens around an image"):
        FAMILIES[name].around(transformers.PreTrainedTokenizerFast(tokenizer_object=bare(tokenizer)), None)


def bare(tokenizer):
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))


def test_an_unknown_type_is_bad_input():
    with pytest.raises(
        InputError, match=r"'bert'\. Supported: qwen2_vl, .*llava_onevision, internvl, smolvlm"
    ):
        family_of("bert")


@pytest.mark.parametrize("name", NEW)
def test_adapters_attach_to_the_language_layers_alone(name, checkpoint_of, images):
    backbone = Backbone.load(checkpoint_of(name), CPU, torch.float32)
    adapters = Adapters(backbone)
    with torch.no_grad():
        visual = backbone.vision_pass(images)
        before = backbone.language_pass(TEXTS, visual).last
    parameters = adapters.attach("one", rank=2)
    keys = {key for key, _ in backbone.model.named_parameters() if ".one." in key}
    assert len(parameters) == len(keys) == 2 * len(TARGETS) * LAYERS
    assert all(f".{backbone.traits.language}." in key for key in keys)
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_(0, 0.3)
        adapters.use("one")
        assert not torch.allclose(backbone.language_pass(TEXTS, visual).last, before, atol=1e-3)
        adapters.use(None)
        torch.testing.assert_close(backbone.language_pass(TEXTS, visual).last, before)


@pytest.mark.parametrize("name", [*NEW, "smolvlm-chat"])
@torch.inference_mode()
def test_it_answers_in_a_batch_as_alone(name, backbone_of, images):
    from ssa_me.generation import answers

    backbone = backbone_of(name)
    prompts = ["the red bird", "a house in the tree", "a person"]
    asked = [images[0], None, images[1]]
    together = answers(backbone, prompts, asked, most=6)
    assert together == [answers(backbone, [p], [i], most=6)[0] for p, i in zip(prompts, asked, strict=True)]
    visual = backbone.vision_pass(images[:1])
    ids, mask = backbone.tokenize(prompts[:1], visual.counts())
    if ids[0, -1] == backbone.tokenizer.eos_token_id:  # it comes after the answer
        ids, mask = ids[:, :-1], mask[:, :-1]
    logits = backbone.model(**backbone.inputs(ids, mask, visual)).logits
    first = backbone.tokenizer.decode(logits[0, -1].argmax(), skip_special_tokens=True).strip()
    assert together[0].startswith(first)


@pytest.mark.parametrize("name", [*NEW, "smolvlm-chat"])
def test_the_embedder_takes_it(name, checkpoint_of, images):
    embedder = SalientEmbedder.load(checkpoint_of(name), "cpu")
    samples = [Sample("a red bird"), *(Sample(image=image) for image in images), Sample("tree", images[0])]
    embedded = embedder.embed(samples, subjects=True)
    again = embedder.embed(samples[2:3])
    for version in VERSIONS:
        vectors = embedded.vectors[version]
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(again.vectors[version][0], vectors[2], atol=1e-4)
        distinct = np.abs(vectors[:, None] - vectors[None]).max(-1)
        assert distinct[~np.eye(len(samples), dtype=bool)].min() > 1e-3
    assert embedder.info.family == name.partition("-")[0]
    (maps,) = embedder.maps([images[1]], ["a red bird"])
    assert maps.boxes.shape == (16, 4)
