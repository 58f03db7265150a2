"""Tiny random experts of the hub's classes, saved as transformers saves them, once a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

WORDS = "a an the red blue green person house bird dog square circle in ."


def _loud(model: Any) -> Any:
    """Weights large enough that maps are uneven and texts matter."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 1.2 * parameter[0].numel() ** -0.5)
    return model


def _save_processor(processor: Any, folder: Path) -> None:
    """As public checkpoints name it: by the class that needs torchvision, whose twin without it has to be found."""
    processor.save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    file.write_text(file.read_text(encoding="utf-8").replace("ProcessorPil", "Processor"), encoding="utf-8")


def _bert_tokenizer(folder: Path) -> Any:
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    return BertTokenizerFast(vocab={name: i for i, name in enumerate(names)})


@pytest.fixture(scope="session")
def clipseg_folder(tmp_path_factory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        CLIPSegConfig,
        CLIPSegForImageSegmentation,
        PreTrainedTokenizerFast,
        ViTImageProcessorPil,
    )

    folder = tmp_path_factory.mktemp("clipseg")
    names = ["<pad>", "<start>", "<end>", "<unk>", *WORDS.split()]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<start>", eos_token="<end>", unk_token="<unk>"
    )
    small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config=small
        | {
            "vocab_size": len(names),
            "max_position_embeddings": 12,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        },
        vision_config=small | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
        extract_layers=[0, 1, 2],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    _loud(CLIPSegForImageSegmentation(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _save_processor(ViTImageProcessorPil(size={"height": 32, "width": 32}), folder)
    return folder


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory) -> Path:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessorPil,
        SwinConfig,
    )

    folder = tmp_path_factory.mktemp("dino")
    tokenizer = _bert_tokenizer(folder)
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ),
        d_model=32, num_queries=12, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2, disable_custom_kernels=True, max_text_len=16,
    )  # fmt: skip
    _loud(GroundingDinoForObjectDetection(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _save_processor(GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}), folder)
    return folder


@pytest.fixture(scope="session")
def sam_folder(tmp_path_factory) -> Path:
    from transformers import SamConfig, SamImageProcessorPil, SamModel

    folder = tmp_path_factory.mktemp("sam")
    torch.manual_seed(0)
    config = SamConfig(
        vision_config={
            "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64,
            "patch_size": 8, "window_size": 2, "global_attn_indexes": [0], "num_pos_feats": 8, "mlp_dim": 16,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 8,
        },
    )  # fmt: skip
    _loud(SamModel(config)).save_pretrained(folder)
    _save_processor(
        SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}), folder
    )
    return folder
