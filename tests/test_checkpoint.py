"""The checkpoint folder: parts and settings come back as written, half a version is refused, fingerprints notice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssa_me.checkpoint import (
    PARTS,
    SETTINGS,
    VERSIONS,
    Parts,
    Settings,
    fingerprints,
    has_adapter,
    load_parts,
    save_parts,
)
from ssa_me.errors import InputError

WIDTH = 12
SMALL = Settings(floor=0.25, inner=4, hidden=6, composition=5, layers=(0, 2), description="Numbers.")


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    save_parts(tmp_path / "ssa-me", Parts(WIDTH, SMALL), SMALL)
    return tmp_path / "ssa-me"


@pytest.fixture
def checkpoint(trained_checkpoint, tmp_path) -> Path:
    return Path(shutil.copytree(trained_checkpoint, tmp_path / "checkpoint"))


# --- parts -----------------------------------------------------------------------------------------------------------


def test_new_parts_are_neutral():
    parts = Parts(WIDTH, SMALL)
    composition = parts.composition
    assert torch.equal(composition.gates, torch.zeros(2)) and torch.equal(
        composition.shares, torch.zeros(2, 2)
    )
    for network in ("seen", "bind_subject", "bind_phrase", "relate"):
        assert not getattr(composition, network)[-1].weight.any(), network
    assert not composition.trust.weight.any()
    assert parts.regeneration.gate.item() == 0 and parts.regeneration.floor == 0.25


def test_parts_come_back_as_written(tmp_path):
    torch.manual_seed(0)
    parts = Parts(WIDTH, SMALL)
    with torch.no_grad():
        for parameter in parts.parameters():
            parameter.copy_(torch.randn_like(parameter).bfloat16())
    save_parts(tmp_path, parts, SMALL)
    again, settings = load_parts(tmp_path, WIDTH)
    assert settings == SMALL and again.regeneration.floor == 0.25 and not again.training
    for key, value in parts.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert json.loads((tmp_path / SETTINGS).read_text())["layers"] == [0, 2]


def test_settings_have_defaults(folder):
    save_parts(folder, Parts(WIDTH, Settings()), Settings())
    (folder / SETTINGS).write_text("{}")
    assert load_parts(folder, WIDTH)[1] == Settings()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.out.weight"), "missing head.out.weight"),
        (lambda state: state.update(strange=torch.zeros(1)), "unexpected strange"),
        (
            lambda state: state.update({"head.out.weight": torch.zeros(2, 2)}),
            "of another shape head.out.weight",
        ),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_wrong_weights_are_named(change, message, folder):
    state = load_file(folder / PARTS)
    change(state)
    save_file(state, folder / PARTS)
    with pytest.raises(InputError, match=message):
        load_parts(folder, WIDTH)


def test_parts_of_another_width_are_bad_input(folder):
    with pytest.raises(InputError, match=r"of another shape .*composition|of another shape .*head"):
        load_parts(folder, WIDTH + 1)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        "null",
        '{"floor": 0}',
        '{"floor": 1.5}',
        '{"floor": "high"}',
        '{"flor": 0.5}',
        '{"layers": 3}',
        '{"hidden": -1}',
    ],
)
def test_wrong_settings_are_bad_input(text, folder):
    (folder / SETTINGS).write_text(text)
    with pytest.raises(InputError, match="ssa-me") as caught:
        load_parts(folder, WIDTH)
    assert "\n" not in str(caught.value)


def test_a_wrong_setting_is_named(folder):
    (folder / SETTINGS).write_text('{"flor": 0.5}')
    with pytest.raises(InputError, match="flor"):
        load_parts(folder, WIDTH)


def test_truncated_parts_are_bad_input(folder):
    (folder / PARTS).write_bytes((folder / PARTS).read_bytes()[:-10])
    with pytest.raises(InputError, match="ssa-me"):
        load_parts(folder, WIDTH)


# --- which versions there are ----------------------------------------------------------------------------------------


def test_versions_of_a_folder(checkpoint_of, trained_checkpoint):
    assert [has_adapter(trained_checkpoint, version) for version in VERSIONS] == [True, True]
    assert [has_adapter(checkpoint_of("qwen2_vl"), version) for version in VERSIONS] == [False, False]


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("baseline", "adapter_config.json"),
        ("baseline", "adapter_model.safetensors"),
        ("ssa-me", "adapter_config.json"),
        ("ssa-me", "adapter_model.safetensors"),
        ("ssa-me", "regeneration.safetensors"),
        ("ssa-me", "ssa_me.json"),
    ],
)
def test_half_a_version_is_bad_input(version, name, checkpoint):
    (checkpoint / version / name).unlink()
    with pytest.raises(InputError, match=f"{version} is incomplete: it lacks {name}"):
        has_adapter(checkpoint, version)


# --- fingerprints ----------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    """Change one bit of the last weight in a file, or the last blank of its JSON, and nothing else."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".json":
        data += b"\n"
    else:
        data[-1] ^= 1
    path.write_bytes(data)


def test_fingerprints_are_stable(checkpoint, trained_checkpoint):
    prints = fingerprints(checkpoint)
    assert prints == fingerprints(trained_checkpoint), "they must not depend on the folder's place or times"
    assert set(prints) == set(VERSIONS) and prints["baseline"] != prints["ssa-me"]
    assert all(len(p) == 12 and int(p, 16) >= 0 for p in prints.values())


def test_a_card_or_a_note_changes_no_fingerprint(checkpoint):
    before = fingerprints(checkpoint)
    (checkpoint / "README.md").write_text("# Card")
    (checkpoint / "ssa-me" / "README.md").write_text("# Card")
    (checkpoint / "log.jsonl").write_text("{}\n")
    assert fingerprints(checkpoint) == before


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("model.safetensors", {"baseline", "ssa-me"}),
        ("config.json", {"baseline", "ssa-me"}),
        ("tokenizer.json", {"baseline", "ssa-me"}),
        ("preprocessor_config.json", {"baseline", "ssa-me"}),
        ("baseline/adapter_model.safetensors", {"baseline"}),
        ("baseline/adapter_config.json", {"baseline"}),
        ("ssa-me/adapter_model.safetensors", {"ssa-me"}),
        ("ssa-me/regeneration.safetensors", {"ssa-me"}),
        ("ssa-me/ssa_me.json", {"ssa-me"}),
    ],
)
def test_a_changed_weight_or_setting_changes_its_versions_alone(name, changed, checkpoint):
    before = fingerprints(checkpoint)
    flip(checkpoint / name)
    after = fingerprints(checkpoint)
    assert {version for version in VERSIONS if after[version] != before[version]} == changed


def test_a_chat_template_changes_the_fingerprints(checkpoint):
    before = fingerprints(checkpoint)
    (checkpoint / "chat_template.jinja").write_text("{{ messages }}")
    after = fingerprints(checkpoint)
    assert all(after[version] != before[version] for version in VERSIONS)


def test_a_bare_backbone_and_a_trained_one_differ(checkpoint_of, trained_checkpoint):
    bare, trained = fingerprints(checkpoint_of("qwen2_vl")), fingerprints(trained_checkpoint)
    assert len({*bare.values(), *trained.values()}) == 4
