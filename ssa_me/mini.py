"""The mini model's shape: Qwen2-VL's architecture, small, with a tokenizer of its own. It knows nothing of training.

At 112×112 pixels an image is a grid of 14×14 patches, read as 7×7 image tokens. Images keep their aspect ratio.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl import Qwen2VLImageProcessorPil

from ssa_me.backbone import Backbone

SPECIALS = ("<|pad|>", "<|end|>", "<|vision_start|>", "<|vision_end|>", "<|image|>", "<|video|>")
SIDE = 112
PATCH = 8
MERGE = 2


def train_tokenizer(texts: Iterable[str], vocabulary: int = 4000) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, lower-casing, so that any script can be read. Deterministic in `texts`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=list(SPECIALS[2:]),
    )


def build_mini(
    tokenizer: PreTrainedTokenizerFast,
    *,
    width: int = 192,
    layers: int = 4,
    heads: int = 6,
    mlp: int = 384,
    vision_width: int = 128,
    vision_layers: int = 4,
    side: int = SIDE,
) -> Backbone:
    """A randomly initialised mini model (seed with `torch.manual_seed`). `side`: pixels of a square image's side."""
    ids: dict[str, Any] = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIALS}
    half = width // heads // 2
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": mlp,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": max(1, heads // 3),
            "max_position_embeddings": 2048,
            "bos_token_id": ids["<|end|>"],
            "eos_token_id": ids["<|end|>"],
            "pad_token_id": ids["<|pad|>"],
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8],
                "rope_theta": 10000.0,
            },
        },
        vision_config={
            "depth": vision_layers,
            "embed_dim": vision_width,
            "hidden_size": width,
            "num_heads": max(1, vision_width // 64),
            "mlp_ratio": 3,
            "hidden_act": "gelu",
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
        },
        image_token_id=ids["<|image|>"],
        video_token_id=ids["<|video|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    processor = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        size={"shortest_edge": side * side, "longest_edge": side * side},
    )
    return Backbone(Qwen2VLForConditionalGeneration(config).eval(), tokenizer, processor)
