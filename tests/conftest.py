"""Tiny random checkpoints of every family, written to disk once a session, and pictures to show them.

All models are 32 wide with grouped-query attention. Weights are drawn large enough for attention to be uneven, so that
a wrong mask or a lost bias shows. Each tokenizer is the checkpoint's own: WordLevel, or byte-level BPE.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from ssa_me.backbone import Backbone

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<unk>",
)
WORDS = (
    "a an the red blue green square circle person house bird tree in on of and left right user assistant ."
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WIDTH, LAYERS, PATCH, MERGE, SIDE = 32, 3, 8, 2, 64


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take a minute or more, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: give --slow"))


def _word_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*SPECIALS, *WORDS.split()))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(SPECIALS[1:7]),
    )


def _byte_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(SPECIALS[:7]), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([WORDS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(SPECIALS[1:7]),
    )


def _model(family: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    import torch
    import transformers

    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIALS}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0},
    }
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "patch_size": PATCH, "spatial_merge_size": MERGE}
    if family == "qwen2_vl":
        kind, config = transformers.Qwen2VLForConditionalGeneration, transformers.Qwen2VLConfig
        vision |= {"embed_dim": WIDTH, "hidden_size": WIDTH, "mlp_ratio": 2}
    elif family == "qwen2_5_vl":
        kind, config = transformers.Qwen2_5_VLForConditionalGeneration, transformers.Qwen2_5_VLConfig
        vision |= {"hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 48}
        vision |= {"window_size": 32, "fullatt_block_indexes": [1]}
    else:
        kind, config = transformers.Qwen3VLForConditionalGeneration, transformers.Qwen3VLConfig
        vision |= {"hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 48}
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    torch.manual_seed(0)
    model = kind(
        config(
            text_config=text,
            vision_config=vision,
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
            tie_word_embeddings=family == "qwen2_vl",
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 1.2 * parameter[0].numel() ** -0.5)
    return model


def _write_checkpoint(folder: Path, family: str, chat: bool) -> Path:
    from transformers import Qwen2VLImageProcessorPil

    tokenizer = _byte_tokenizer() if family == "qwen2_vl" else _word_tokenizer()
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    size = {"shortest_edge": 32 * 32, "longest_edge": SIDE * SIDE}
    processor = Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=MERGE, temporal_patch_size=2, size=size)
    for part in (_model(family, tokenizer), tokenizer, processor):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory) -> Callable[[str], Path]:
    """A bare checkpoint folder by family: qwen2_vl, qwen2_5_vl or qwen3_vl, with `-chat` for a chat template.

    Shared by all tests: copy it before you change it.
    """
    folders: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in folders:
            family, _, chat = name.partition("-")
            folders[name] = _write_checkpoint(
                tmp_path_factory.mktemp("checkpoints") / name, family, chat == "chat"
            )
        return folders[name]

    return of


@pytest.fixture(scope="module")
def backbone_of(checkpoint_of) -> Callable[[str], Backbone]:
    """The loaded backbone by the name that `checkpoint_of` takes, on the CPU; a module's tests share it."""
    import torch

    from ssa_me.backbone import Backbone

    loaded: dict[str, Backbone] = {}

    def of(name: str) -> Backbone:
        if name not in loaded:
            loaded[name] = Backbone.load(checkpoint_of(name), torch.device("cpu"), torch.float32)
        return loaded[name]

    return of


@pytest.fixture(scope="session")
def trained_checkpoint(checkpoint_of, tmp_path_factory) -> Path:
    """The Qwen2-VL checkpoint with both adapters and SSA-ME's parts, all random and none the identity."""
    import shutil

    import torch

    from ssa_me.adapters import Adapters
    from ssa_me.backbone import Backbone
    from ssa_me.checkpoint import Parts, Settings, save_parts

    folder = tmp_path_factory.mktemp("trained") / "tiny"
    shutil.copytree(checkpoint_of("qwen2_vl"), folder)
    backbone = Backbone.load(folder, torch.device("cpu"), torch.float32)
    adapters = Adapters(backbone)
    torch.manual_seed(2)
    with torch.no_grad():
        for version in ("baseline", "ssa-me"):
            for parameter in adapters.attach(version, rank=2, alpha=4):
                parameter.normal_(0, 0.15)
            adapters.save(version, folder / version)
        settings = Settings(floor=0.3, inner=8, hidden=16, description="Random numbers; expect nothing.")
        parts = Parts(WIDTH, settings)
        for parameter in parts.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        save_parts(folder / "ssa-me", parts, settings)
    return folder


@pytest.fixture(scope="session")
def processes() -> Iterator[Any]:
    """Where processes are forked from that are killed: what they work with is loaded already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.gallery.crashing", "tests.app.crashing"])
        yield context


@pytest.fixture
def kill(processes: Any) -> Callable[..., int]:
    """`kill(work, *args, last=n)`: do it in another process that dies at event n; 0 lets it live, and gives their number."""
    from tests.gallery import crashing

    def _kill(work: Callable[..., None], *args: object, last: int = 0) -> int:
        mine, other = processes.Pipe(duplex=False)
        process = processes.Process(target=crashing.run, args=(work, args, last, other))
        process.start()
        other.close()
        process.join(60)
        assert process.exitcode == 0 or (last and process.exitcode == -9)  # threads differ by an event or two
        return mine.recv() if not last else 0

    return _kill


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image.Image]:
    """A noisy ground with one bright disc: `picture(width, height, seed)`."""

    def paint(width: int = 64, height: int = 64, seed: int = 0) -> Image.Image:
        random = np.random.default_rng(seed)
        pixels = random.integers(60, 120, (height, width, 3))
        y, x = np.mgrid[:height, :width]
        centre, radius = random.uniform(0.3, 0.7, 2) * (width, height), 0.2 * min(width, height)
        pixels[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2] = random.integers(0, 256, 3)
        return Image.fromarray(pixels.astype(np.uint8))

    return paint
