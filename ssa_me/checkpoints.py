"""Public checkpoints that one would start from, and how each is read as an embedding model: data, nothing else.

Where a fact comes from stands beside it; what could not be established is left at its default. A local folder is read
by its own `ssa_me.json`, else as the public checkpoint that it is a copy of, else by its sentence-transformers files.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ssa_me.errors import InputError

Pooling = Literal["last", "eos", "mean"]
POOLINGS: tuple[str, ...] = get_args(Pooling)
SETTINGS = "ssa_me.json"


@dataclass(frozen=True)
class Reading:
    """How a checkpoint is read.

    pooling: whose last hidden state is the embedding: the last token's, that of the last end-of-sequence token, or the
    mean of all. prompt: with `{image}`, `{instruction}` and `{text}` in this order or without some; None for the
    checkpoint's chat template. image: what stands for an image in it. instruction: for what is searched in, images
    with or without text. query_instruction: for texts alone; None for the same. alone: the text beside an image that
    comes without one. pixels: least and most of an image, where the image processor takes that; None for its own.
    flat: rotary positions of image tokens are those of text. headless: there are no weights of a language head, so it
    can embed but not speak.
    """

    pooling: Pooling = "last"
    prompt: str | None = None
    image: str = ""
    instruction: str = ""
    query_instruction: str | None = None
    alone: str = ""
    pixels: tuple[int, int] | None = None
    flat: bool = False
    headless: bool = False

    def rendered(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """What stands (before, after) a text beside an image, and a text alone. InputError for a prompt of no use."""
        prompt = self.prompt or ""
        if prompt.count("{text}") != 1 or prompt.count("{image}") != 1:
            raise InputError(f"The prompt {prompt!r} needs {{image}} and {{text}}, once each.")
        if prompt.index("{image}") > prompt.index("{text}"):
            raise InputError(
                f"The prompt {prompt!r} has the image after the text; only images before it are read."
            )
        query = self.instruction if self.query_instruction is None else self.query_instruction

        def fill(image: str, instruction: str) -> tuple[str, str]:
            filled = prompt.replace("{image}", image).replace("{instruction}", instruction)
            before, _, after = filled.partition("{text}")
            return before, after

        return fill(self.image, self.instruction), fill("", query)


@dataclass(frozen=True)
class PublicCheckpoint:
    """A checkpoint on the hub. family: its model type. parameters: all of them, those of `base` included. base: what a
    LoRA adapter is merged into. embeds: trained to embed; others are language models to start from. licence: None
    where it was not established."""

    id: str
    family: str
    parameters: int
    embeds: bool
    licence: str | None
    reading: Reading = field(default_factory=Reading)
    base: str | None = None

    @property
    def weights_gb(self) -> float:
        """Its weights in 16 bits, in 10⁹ bytes."""
        return 2 * self.parameters / 1e9

    @property
    def memory_gb(self) -> float:
        """An estimate of the GPU memory for embedding: the weights and 2 GB for activations and the driver."""
        return self.weights_gb + 2

    @property
    def hardware(self) -> str:
        """The least hardware that it runs on in comfort."""
        if self.parameters < 0.6e9:
            return "laptop, CPU"
        sizes = [size for size in (8, 16, 24, 48, 80) if self.memory_gb <= size]
        return f"GPU with {sizes[0]} GB" if sizes else "several GPUs"


_QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
_QWEN_CHAT = "<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{image}{text}<|im_end|>\n<|im_start|>assistant\n"

# QwenLM/Qwen3-VL-Embedding, src/models/qwen3_vl_embedding.py: the instruction is the system turn, the image stands
# before the text, 4 to 1,800 tokens of 32×32 pixels an image, the last token is pooled. The 8B checkpoint holds
# 8,144,793,840 weights (mteb's model card), 0.62 billion fewer than Qwen3-VL-8B: those of its untied language head.
_QWEN3_VL_EMBEDDING = Reading(
    prompt=_QWEN_CHAT,
    image=_QWEN_IMAGE,
    instruction="Represent the user's input.",
    pixels=(4 * 32 * 32, 1800 * 32 * 32),
)

# gme_inference.py beside the weights: Qwen2-VL's chat with `<|endoftext|>` after it, whose state is pooled; 256 to 1,280
# tokens of 28×28 pixels an image; targets keep the default instruction, a query may bring its own.
_GME = Reading(
    prompt=f"{_QWEN_CHAT}<|endoftext|>",
    image=_QWEN_IMAGE,
    instruction="You are a helpful assistant.",
    query_instruction="Find an image that matches the given text.",
    pixels=(256 * 28 * 28, 1280 * 28 * 28),
)

# No chat: the bare image token, a space, the instruction, the text; the last token is pooled. vllm's
# template_vlm2vec_qwen2vl.jinja (beside which it says that the chat template of the checkpoint is not the right one) and
# mteb's vlm2vec_models.py; the instructions are MMEB's for everyday images. Without <|vision_start|> the Qwen2-VL code
# that it was trained with gave image tokens the positions of text (inferred from its get_rope_index).
_VLM2VEC = Reading(
    prompt="{image}{instruction}{text}",
    image="<|image_pad|> ",
    query_instruction="Find me an everyday image that matches the given caption: ",
    alone="Represent the given image.",
    pixels=(4 * 28 * 28, 1280 * 28 * 28),
    flat=True,
)

# The cards of Qwen2-VL and Qwen2.5-VL: 256 to 1,280 tokens an image balance cost and quality.
_QWEN_LANGUAGE_MODEL = Reading(pixels=(256 * 28 * 28, 1280 * 28 * 28))

CHECKPOINTS: tuple[PublicCheckpoint, ...] = (
    # Its card: 256 million parameters, 64 tokens for an image of 512×512 pixels, Idefics3's architecture.
    PublicCheckpoint("HuggingFaceTB/SmolVLM-256M-Instruct", "idefics3", 256_000_000, False, "apache-2.0"),
    # Parameters and licences of the embedding models: mteb's model metadata.
    PublicCheckpoint(
        "Qwen/Qwen3-VL-Embedding-2B", "qwen3_vl", 2_127_532_032, True, "apache-2.0", _QWEN3_VL_EMBEDDING
    ),
    PublicCheckpoint(
        "Qwen/Qwen2-VL-2B-Instruct", "qwen2_vl", 2_208_985_600, False, "apache-2.0", _QWEN_LANGUAGE_MODEL
    ),
    PublicCheckpoint(
        "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct", "qwen2_vl", 2_208_985_600, True, "apache-2.0", _GME
    ),
    PublicCheckpoint(
        "VLM2Vec/VLM2Vec-V2.0",
        "qwen2_vl",
        2_208_985_600,
        True,
        "apache-2.0",
        _VLM2VEC,
        base="Qwen/Qwen2-VL-2B-Instruct",
    ),
    PublicCheckpoint(
        "TIGER-Lab/VLM2Vec-Qwen2VL-2B",
        "qwen2_vl",
        2_208_985_600,
        True,
        None,
        _VLM2VEC,
        base="Qwen/Qwen2-VL-2B-Instruct",
    ),
    PublicCheckpoint(
        "Qwen/Qwen3-VL-Embedding-8B",
        "qwen3_vl",
        8_144_793_840,
        True,
        "apache-2.0",
        dataclasses.replace(_QWEN3_VL_EMBEDDING, headless=True),
    ),
    PublicCheckpoint(
        "Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl", 8_292_166_656, False, "apache-2.0", _QWEN_LANGUAGE_MODEL
    ),
)
"""From the smallest to the largest."""


def public(name: str) -> PublicCheckpoint | None:
    """The public checkpoint of a hub id, or of the last part of one, whatever its case."""
    wanted = name.rstrip("/").lower()
    for checkpoint in CHECKPOINTS:
        if wanted in (checkpoint.id.lower(), checkpoint.id.rpartition("/")[2].lower()):
            return checkpoint
    return None


def reading_of(folder: Path) -> Reading:
    """How the checkpoint in `folder` is read. InputError where its `ssa_me.json` cannot be understood."""
    own = folder / SETTINGS
    if own.is_file():
        return _own_reading(own)
    for name in _names(folder):
        known = public(name)
        if known is not None:
            return known.reading
    return _sentence_transformers(folder)


def keep_reading(source: Path, to: Path) -> None:
    """Write down how `source` is read beside its copy or descendant in `to`, whose name says nothing of it any more."""
    reading = reading_of(source)
    if reading != Reading():
        text = json.dumps(dataclasses.asdict(reading), indent=2)
        (to / SETTINGS).write_text(f"{text}\n", encoding="utf-8")


def _own_reading(path: Path) -> Reading:
    table = _json(path)
    fields = [f.name for f in dataclasses.fields(Reading)]
    unknown = sorted(set(table) - set(fields))
    if unknown:
        raise InputError(f"{path}: unknown {', '.join(unknown)}. Known: {', '.join(fields)}.")
    if table.get("pooling", "last") not in POOLINGS:
        raise InputError(f"{path}: pooling is one of {', '.join(POOLINGS)}, not {table['pooling']!r}.")
    pixels = table.get("pixels")
    if pixels is not None and not (isinstance(pixels, list) and len(pixels) == 2 and pixels[0] <= pixels[1]):
        raise InputError(f"{path}: pixels are [least, most] of an image, not {pixels!r}.")
    reading = Reading(**table | {"pixels": tuple(pixels) if pixels else None})
    if reading.prompt is not None:
        reading.rendered()
    return reading


def name_of(folder: Path) -> str:
    """A folder's name for people; of the hub's cache (models--OWNER--NAME/snapshots/REVISION) OWNER/NAME."""
    resolved = folder.resolve()
    if resolved.parent.name == "snapshots":
        return resolved.parent.parent.name.removeprefix("models--").replace("--", "/")
    return resolved.name


def _names(folder: Path) -> list[str]:
    """Names that a folder may be known by: what its config was loaded from, and its own."""
    names = [name_of(folder)]
    with suppress(
        OSError, ValueError, AttributeError
    ):  # a damaged config is named by whoever loads the model
        origin = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_name_or_path")
        names = [origin, *names] if isinstance(origin, str) else names
    return names


def _sentence_transformers(folder: Path) -> Reading:
    """The pooling that `modules.json` points to, where there is one; else the default."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return Reading()
    listed = json.loads(modules.read_text(encoding="utf-8"))
    pooled = [
        folder / m.get("path", "") / "config.json" for m in listed if m.get("type", "").endswith("Pooling")
    ]
    for path in pooled:
        config = _json(path) if path.is_file() else {}
        for pooling, key in (("last", "pooling_mode_lasttoken"), ("mean", "pooling_mode_mean_tokens")):
            if (
                config.get(key)
                or config.get("pooling_mode") == key.removeprefix("pooling_mode_").partition("_")[0]
            ):
                return Reading(pooling=pooling)  # type: ignore[arg-type]
        if config:
            raise InputError(
                f"{path} asks for a pooling that is not supported. Supported: {', '.join(POOLINGS)}."
            )
    return Reading()


def _json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(table, dict):
        raise InputError(f"{path} holds no table of settings.")
    return table
