"""Public checkpoints as data: prompts, pooling, hardware; folders that name their own reading; adapters merged."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from ssa_me import cli, hub
from ssa_me.backbone import Backbone, last_positions, pool
from ssa_me.checkpoint import fingerprints
from ssa_me.checkpoints import CHECKPOINTS, Reading, keep_reading, name_of, public, reading_of
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.families import FAMILIES

CPU = torch.device("cpu")
TEXTS = ["a red bird on the left", "tree"]


def copy(checkpoint: Path, to: Path, name: str = "copy", **reading) -> Path:
    folder = Path(shutil.copytree(checkpoint, to / name))
    if reading:
        (folder / "ssa_me.json").write_text(json.dumps(reading))
    return folder


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda c: c.id)
def test_every_row_can_be_used(checkpoint):
    assert checkpoint.family in FAMILIES
    assert public(checkpoint.id) is public(checkpoint.id.rpartition("/")[2].upper()) is checkpoint
    if checkpoint.reading.prompt is not None:
        checkpoint.reading.rendered()
    assert checkpoint.base is None or public(checkpoint.base) is not None


def test_hardware_by_hand():
    """Two bytes a parameter, and 2 GB: 0.5 + 2 on a laptop, 4.3 + 2 in 8 GB, 16.6 + 2 in 24 GB."""
    found = {c.id.rpartition("/")[2]: c.hardware for c in CHECKPOINTS}
    assert found["SmolVLM-256M-Instruct"] == "laptop, CPU"
    assert found["Qwen3-VL-Embedding-2B"] == found["VLM2Vec-V2.0"] == "GPU with 8 GB"
    assert found["Qwen3-VL-Embedding-8B"] == found["Qwen2.5-VL-7B-Instruct"] == "GPU with 24 GB"
    assert public("Qwen2-VL-2B-Instruct").weights_gb == pytest.approx(4.418, abs=1e-3)
    assert public("no/such") is None


def test_prompts_by_hand():
    qwen3 = public("Qwen/Qwen3-VL-Embedding-2B").reading.rendered()
    system = "<|im_start|>system\nRepresent the user's input.<|im_end|>\n<|im_start|>user\n"
    end = "<|im_end|>\n<|im_start|>assistant\n"
    assert qwen3 == ((f"{system}<|vision_start|><|image_pad|><|vision_end|>", end), (system, end))
    (before, after), (alone, same) = public("Alibaba-NLP/gme-Qwen2-VL-2B-Instruct").reading.rendered()
    assert after == same == f"{end}<|endoftext|>"
    assert "You are a helpful assistant." in before and "Find an image that matches" in alone
    assert public("VLM2Vec/VLM2Vec-V2.0").reading.rendered() == (
        ("<|image_pad|> ", ""),
        ("Find me an everyday image that matches the given caption: ", ""),
    )


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("{text}", "once each"),
        ("{image}{text}{text}", "once each"),
        ("{text}{image}", "image after the text"),
    ],
)
def test_a_prompt_of_no_use_is_bad_input(prompt, message):
    with pytest.raises(InputError, match=message):
        Reading(prompt=prompt, image="x").rendered()


# --- pooling ---------------------------------------------------------------------------------------------------------


def test_pooling_by_hand():
    ids = torch.tensor([[5, 9, 7, 0], [9, 8, 9, 6]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    assert last_positions(ids, mask).tolist() == [2, 3]
    assert last_positions(ids, mask, end=9).tolist() == [1, 2]
    assert last_positions(ids, mask, end=4).tolist() == [2, 3]
    states = torch.tensor([[[1.0], [2.0], [6.0], [100.0]], [[0.0], [4.0], [8.0], [12.0]]])
    last = last_positions(ids, mask)
    assert pool(states, mask, last, "last").tolist() == [[6.0], [12.0]]
    assert pool(states, mask, last, "mean").tolist() == [[3.0], [6.0]]


@torch.no_grad()
def test_a_checkpoint_pools_as_its_settings_say(checkpoint_of, tmp_path, picture):
    last = Backbone.load(checkpoint_of("qwen2_vl"), CPU, torch.float32)
    mean = Backbone.load(copy(checkpoint_of("qwen2_vl"), tmp_path, pooling="mean"), CPU, torch.float32)
    visual = last.vision_pass([picture(), picture(96, 33, 1)])
    ids, mask = mean.tokenize(TEXTS, visual.counts())
    states = last._forward(ids, mask, visual, _probe(mask))
    wanted = torch.stack([row[: int(m.sum())].mean(0) for row, m in zip(states, mask, strict=True)])
    torch.testing.assert_close(mean.language_pass(TEXTS, visual).last, wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(last.language_pass(TEXTS, visual).last, wanted, atol=1e-2)


def _probe(mask):
    from ssa_me.attention import AttentionProbe

    return AttentionProbe(last=mask.sum(1) - 1)


# --- how a folder is read --------------------------------------------------------------------------------------------


def test_a_folder_is_known_by_its_settings_its_name_or_its_origin(tmp_path):
    gme = public("Alibaba-NLP/gme-Qwen2-VL-2B-Instruct").reading
    named = tmp_path / "gme-Qwen2-VL-2B-Instruct"
    named.mkdir()
    assert reading_of(named) == gme
    cached = tmp_path / "models--Alibaba-NLP--gme-Qwen2-VL-2B-Instruct" / "snapshots" / "0123abcd"
    cached.mkdir(parents=True)
    assert reading_of(cached) == gme and name_of(cached) == "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct"
    moved = tmp_path / "moved"
    moved.mkdir()
    assert reading_of(moved) == Reading()
    (moved / "config.json").write_text('{"_name_or_path": "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct"}')
    assert reading_of(moved) == gme
    (named / "ssa_me.json").write_text('{"pooling": "eos", "pixels": [4, 9]}')
    assert reading_of(named) == Reading(pooling="eos", pixels=(4, 9))


@pytest.mark.parametrize("known", CHECKPOINTS, ids=lambda c: c.id)
def test_a_descendant_is_read_as_what_it_came_from(known, tmp_path):
    source, to = tmp_path / known.id.rpartition("/")[2], tmp_path / "tuned"
    source.mkdir()
    to.mkdir()
    keep_reading(source, to)
    assert reading_of(to) == known.reading
    assert (to / "ssa_me.json").exists() == (known.reading != Reading())


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
        ({"pooling_mode_lasttoken": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_sentence_transformers_settings(config, pooling, tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(config))
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert reading_of(tmp_path) == Reading(pooling=pooling)
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    with pytest.raises(InputError, match="not supported"):
        reading_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no table"),
        ('{"poolin": "last"}', "unknown poolin"),
        ('{"pooling": "max"}', "one of last, eos, mean"),
        ('{"pixels": 5}', "least, most"),
        ('{"prompt": "{text}"}', "once each"),
    ],
)
def test_settings_that_cannot_be_understood_are_bad_input(text, message, tmp_path):
    (tmp_path / "ssa_me.json").write_text(text)
    with pytest.raises(InputError, match=message):
        reading_of(tmp_path)


# --- the readings at work, on tiny models ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Qwen3-VL-Embedding-2B", "gme-Qwen2-VL-2B-Instruct", "VLM2Vec-V2.0"])
@torch.no_grad()
def test_a_copy_is_read_as_the_public_checkpoint(name, checkpoint_of, tmp_path, picture):
    known = public(name)
    bare = Backbone.load(checkpoint_of(known.family), CPU, torch.float32)
    backbone = Backbone.load(copy(checkpoint_of(known.family), tmp_path, name), CPU, torch.float32)
    assert (backbone.format.with_image, backbone.format.text_only) == known.reading.rendered()
    visual = backbone.vision_pass([picture()])
    assert visual.counts()[0] * 256 >= known.reading.pixels[0], "patches of 8 pixels, merged 2×2"
    text = known.reading.rendered()[0][0].replace("<|image_pad|>", "<|image_pad|>" * visual.counts()[0])
    text += "a red bird" + known.reading.rendered()[0][1]
    ids = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert backbone.tokenize(["a red bird"], visual.counts())[0].tolist() == [ids]
    both = [b.language_pass(["a red bird"], visual).last for b in (bare, backbone)]
    assert both[1].isfinite().all() and not torch.allclose(*both, atol=1e-3)


@torch.no_grad()
def test_flat_positions_are_those_of_text(checkpoint_of, tmp_path, picture):
    """Without <|vision_start|>, the code that VLM2Vec was trained with gave image tokens a text's positions."""
    flat = Backbone.load(copy(checkpoint_of("qwen2_vl"), tmp_path, flat=True), CPU, torch.float32)
    visual = flat.vision_pass([picture(96, 64)])
    ids, mask = flat.tokenize(["tree"], visual.counts())
    embeds = flat.model.get_input_embeddings()(ids)
    embeds[0, ids[0] == flat.image_token_id] = visual.tokens[0]
    as_text = flat.model.model.language_model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(
        flat.language_pass(["tree"], visual).last[0], as_text[0, -1], atol=1e-5, rtol=1e-5
    )


def test_an_image_alone_is_read_with_its_instruction(checkpoint_of, tmp_path):
    backbone = Backbone.load(copy(checkpoint_of("qwen2_vl"), tmp_path, alone="a bird ."), CPU, torch.float32)
    alone, spoken = (backbone.tokenize([text], [4])[0].tolist() for text in ("", "a bird ."))
    assert alone == spoken
    assert backbone.tokenize([""])[0].tolist() != backbone.tokenize(["a bird ."])[0].tolist()


def test_a_headless_checkpoint_may_lack_its_language_head_and_nothing_else(checkpoint_of, tmp_path):
    def beheaded(name: str, **reading) -> Path:
        folder = copy(checkpoint_of("qwen3_vl"), tmp_path, name, **reading)
        state = load_file(folder / "model.safetensors")
        del state["lm_head.weight"]
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    with pytest.raises(InputError, match="missing lm_head"):
        Backbone.load(beheaded("plain"), CPU, torch.float32)
    embedder = SalientEmbedder.load(beheaded("Qwen3-VL-Embedding-8B"), "cpu")
    assert embedder.info.dimension == 32


def test_the_fingerprint_follows_the_reading(checkpoint_of, tmp_path):
    plain = fingerprints(copy(checkpoint_of("qwen2_vl"), tmp_path, "plain"))
    known = fingerprints(copy(checkpoint_of("qwen2_vl"), tmp_path, "VLM2Vec-V2.0"))
    assert plain == fingerprints(checkpoint_of("qwen2_vl")) and not set(plain.values()) & set(known.values())


def test_a_chat_template_in_a_file_of_its_own(checkpoint_of, tmp_path):
    folder = copy(checkpoint_of("qwen2_vl"), tmp_path)
    template = (checkpoint_of("qwen3_vl-chat") / "chat_template.jinja").read_text()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert Backbone.load(folder, CPU, torch.float32).format.text_only[0] == "<|im_start|>user\n"


# --- a LoRA adapter alone --------------------------------------------------------------------------------------------


def adapter_of(base: Path, folder: Path, rename=lambda key: key, dora: bool = False) -> torch.nn.Module:
    """A random adapter on language and vision layers, saved as PEFT saves it; the model with it, for comparison."""
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=2, lora_alpha=4, use_dora=dora, target_modules=["q_proj", "down_proj", "qkv"])
    wrapped = get_peft_model(model, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for key, parameter in wrapped.named_parameters():
            if "lora_A" in key or "lora_B" in key:
                parameter.normal_(0, 0.2)
    wrapped.save_pretrained(folder)
    weights = folder / "adapter_model.safetensors"
    save_file({rename(key): value for key, value in load_file(weights).items()}, weights)
    table = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(table | {"base_model_name_or_path": str(base)}))
    return wrapped.eval()


def old_names(key: str) -> str:
    """As transformers named the layers of Qwen2-VL when VLM2Vec was trained."""
    key = key.replace("base_model.model.model.language_model.", "base_model.model.model.")
    return key.replace("base_model.model.model.visual.", "base_model.model.visual.")


@pytest.mark.parametrize("dora", [False, True])
@torch.no_grad()
def test_an_adapter_alone_is_merged_into_its_model(dora, checkpoint_of, tmp_path, picture):
    folder = tmp_path / "adapter"
    model = adapter_of(checkpoint_of("qwen2_vl"), folder, old_names, dora)
    merged = Backbone.load(folder, CPU, torch.float32)
    pixels, grid = merged.pixels([picture()])
    visual = merged.vision_pass([picture()])
    ids, mask = merged.tokenize(TEXTS[:1], visual.counts())
    whole = model.base_model.model.model(
        input_ids=ids,
        attention_mask=mask,
        pixel_values=pixels,
        image_grid_thw=grid,
        mm_token_type_ids=(ids == merged.image_token_id).int(),
    ).last_hidden_state
    torch.testing.assert_close(
        merged.language_pass(TEXTS[:1], visual).last, whole[:, -1], atol=1e-4, rtol=1e-4
    )
    plain = Backbone.load(checkpoint_of("qwen2_vl"), CPU, torch.float32)
    assert not torch.allclose(plain.language_pass(TEXTS[:1], visual).last, whole[:, -1], atol=1e-2)
    assert merged.model.state_dict().keys() == plain.model.state_dict().keys()


def test_the_embedder_takes_an_adapter_alone(checkpoint_of, tmp_path):
    folder = tmp_path / "VLM2Vec-V2.0"
    adapter_of(checkpoint_of("qwen2_vl"), folder)
    embedder = SalientEmbedder.load(folder, "cpu")
    assert embedder.info.name == "VLM2Vec-V2.0"
    bare = SalientEmbedder.load(checkpoint_of("qwen2_vl"), "cpu")
    assert not set(embedder.info.fingerprints.values()) & set(bare.info.fingerprints.values())


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (
            lambda key: key.replace(".layers.1.", ".layers.9."),
            "layer .*layers.9.* that its model does not have",
        ),
        (lambda key: key.replace("lora_A.weight", "lora_C.weight"), "does not fit"),
    ],
)
def test_an_adapter_that_does_not_fit_is_bad_input(rename, message, checkpoint_of, tmp_path):
    adapter_of(checkpoint_of("qwen2_vl"), tmp_path / "adapter", rename)
    with pytest.raises(InputError, match=message):
        Backbone.load(tmp_path / "adapter", CPU, torch.float32)


def test_an_adapter_of_nothing_is_bad_input(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="does not say which model"):
        Backbone.load(tmp_path, CPU, torch.float32)


# --- from an id to a folder ------------------------------------------------------------------------------------------


def test_an_id_is_downloaded_without_code_or_pickles(monkeypatch, tmp_path):
    asked = {}

    def download(name: str, allow_patterns: list[str]) -> str:
        asked[name] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert hub.locate("Qwen/Qwen3-VL-Embedding-2B") == tmp_path
    assert asked == {"Qwen/Qwen3-VL-Embedding-2B": ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model"]}
    assert hub.locate(tmp_path) == tmp_path and len(asked) == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (hub.LocalEntryNotFoundError("no"), "not on this machine, and there is no network .* Offline, the embedded mini"),
        (TimeoutError("The read\ntimed out"), "cannot be downloaded: The read. Offline"),
    ],
)  # fmt: skip
def test_without_a_network_one_sentence_says_what_is_missing(error, message, monkeypatch):
    def download(name: str, **_: object) -> str:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(InputError, match=message) as caught:
        SalientEmbedder.load("Qwen/Qwen3-VL-Embedding-2B", "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "./here/mini", "/no/such/folder"])
def test_a_folder_that_is_not_there_is_bad_input(name):
    with pytest.raises(InputError, match="no checkpoint folder"):
        hub.locate(name)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_lists_them_by_hardware(capsys):
    assert cli.main(["checkpoints"]) == 0
    text = capsys.readouterr().out
    headings = [line for line in text.splitlines() if line.startswith(("laptop", "GPU"))]
    assert headings == ["laptop, CPU", "GPU with 8 GB", "GPU with 24 GB"]
    assert all(c.id in text for c in CHECKPOINTS)
    assert cli.main(["checkpoints", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["checkpoints"]
    assert [c["id"] for c in listed] == [c.id for c in CHECKPOINTS]
    assert listed[1]["instruction"] == "Represent the user's input."


def test_the_folder_of_an_adapter_may_fetch_its_model(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    (tmp_path / "adapter_config.json").write_text("{}")
    cli.stay_offline(str(tmp_path))
    assert "HF_HUB_OFFLINE" not in os.environ
