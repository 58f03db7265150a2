"""A whole study on a model of a few thousand weights: what it makes, that it goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

from ssa_me import cli
from ssa_me.ablation import StudyRequest, run_study, scores
from ssa_me.ablation.scores import draw_sets
from ssa_me.ablation.study import _pace, slug
from ssa_me.errors import InputError
from ssa_me.mini import build_mini, train_tokenizer
from ssa_me.scenes import write_binding, write_scenes
from ssa_me.scenes.neglect import write_neglect

WORDS = ["a person in red on the beach", "a blue dog left of a green car", "a scene of a tree and a house"]
RECIPE = """
seed = 3
precision = "fp32"

[scenes]
count = 2
size = 64

[adapters]
steps = 5
batch = 4
rank = 2
alpha = 4
warmup = 1
"""
VARIANTS = ("ssa-me", "without L_attn", "training-free")
WRITERS = {"write_scenes": write_scenes, "write_binding": write_binding, "write_neglect": write_neglect}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    torch.manual_seed(0)
    backbone = build_mini(
        train_tokenizer(WORDS, 300),
        width=48,
        layers=2,
        heads=3,
        mlp=64,
        vision_width=32,
        vision_layers=1,
        side=64,
    )
    for part in (backbone.model, backbone.tokenizer, backbone.image_processor):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def request_of(checkpoint: Path, recipe: Path):
    def of(out: Path, **changes: Any) -> StudyRequest:
        asked = {"checkpoint": checkpoint, "device": "cpu", "n": 4, "steps": 2, "variants": VARIANTS}
        return StudyRequest(recipe, (), out, **asked | changes)

    return of


@pytest.fixture(scope="module")
def study(request_of, tmp_path_factory) -> tuple[Path, dict[str, Any], list[str]]:
    """A finished study: its folder, what it answered, what it said."""
    AcceleratorState._reset_state()
    out, said = tmp_path_factory.mktemp("study") / "out", []
    with pytest.MonkeyPatch.context() as patch:
        for name, write in WRITERS.items():
            patch.setattr(scores, name, partial(write, size=64))
        return out, run_study(request_of(out), said.append), said


def silent(_: str) -> None:
    pass


def states(out: Path) -> dict[Path, tuple[int, bytes]]:
    """Everything that is trained, drawn or measured: when it was written, and what it holds."""
    kept = (p for p in out.rglob("*") if p.is_file() and "cache" not in p.parts)
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept}


def test_every_variant_has_a_row_and_a_checkpoint(study):
    out, found, said = study
    assert [row["name"] for row in found["rows"]] == ["baseline", *VARIANTS]
    assert (found["finished"], found["steps"]) == (True, 2)
    for name in ("baseline", *VARIANTS):
        assert (out / slug(name) / "scores.json").is_file() and (out / slug(name) / "config.json").is_file()
        assert (out / slug(name) / "baseline" / "adapter_model.safetensors").is_file()
        assert f"| **{name}**: " in found["table"]
    assert not (out / "training-free" / "ssa-me").exists()
    assert [line for line in said if line.endswith("2 steps")] == [
        f"{name}: 2 steps" for name in ("baseline", "ssa-me", "without L_attn")
    ]
    json.dumps(found, allow_nan=False)


def test_rows_hold_measures_with_their_difference_from_the_studys_own_baseline(study):
    out, found, _ = study
    plain, *ours = found["rows"]
    baseline = (out / "baseline" / "baseline" / "adapter_model.safetensors").read_bytes()
    for row in ours:
        assert (out / slug(row["name"]) / "baseline" / "adapter_model.safetensors").read_bytes() == baseline
        binding = row["measures"]["binding hit@1"]
        gap = binding["value"] - plain["measures"]["binding hit@1"]["value"]
        assert binding["difference"]["value"] == pytest.approx(gap)
        for title in ("scenes recall@10", "joint queries hit@1", "imbalance"):
            assert row["measures"][title]["difference"] is not None, title
    assert all(measure["difference"] is None for measure in plain["measures"].values())
    times = {row["name"]: row["seconds_a_step"] for row in found["rows"]}
    assert times["training-free"] is None and times["ssa-me"] > 0


def test_the_whole_method_says_what_rankings_and_full_salience_cost(study):
    _, found, _ = study
    rankings, salience = found["costs"]["rankings"], found["costs"]["salience"]
    assert rankings["ssa-me"]["bytes"] == rankings["ssa-me+rerank"]["bytes"] == 48 * 4
    assert rankings["ssa-me+subjects"]["bytes"] >= rankings["ssa-me"]["bytes"]
    assert all(cost["milliseconds"] > 0 for cost in rankings.values())
    assert salience["full"]["milliseconds"] > 0 and salience["head"]["milliseconds"] > 0
    gap = salience["head"]["pointing_game"] - salience["full"]["pointing_game"]
    assert salience["difference"]["value"] == pytest.approx(gap)
    assert "| ssa-me+rerank |" in found["table"] and "| full: expert × relevance |" in found["table"]


def test_the_same_call_again_trains_and_measures_nothing(study, request_of):
    out, found, _ = study
    before = states(out)
    said: list[str] = []
    assert run_study(request_of(out), said.append) == found
    assert states(out) == before and said == []


def test_a_study_goes_on_with_what_is_missing(study, request_of):
    out, found, _ = study
    lost = out / slug("without L_attn")
    before = states(out)
    shutil.rmtree(lost)
    said: list[str] = []
    AcceleratorState._reset_state()
    again = run_study(request_of(out), said.append)
    assert [line for line in said if line.endswith(" steps")] == ["without L_attn: 2 steps"]
    assert [line for line in said if line.startswith("measuring")] == ["measuring without L_attn"]
    after = states(out)
    untouched = [path for path in before if lost not in path.parents]
    assert {path: after[path] for path in untouched} == {path: before[path] for path in untouched}
    adapter = lost / "ssa-me" / "adapter_model.safetensors"
    assert after[adapter][1] == before[adapter][1]  # trained again, from the same seed
    for old, new in zip(found["rows"], again["rows"], strict=True):
        assert new["measures"] == old["measures"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 5}, "holds a study with another n"),
        ({"steps": 3}, "holds a study with another recipe"),
        ({"seed": 8}, "holds a study with another seed"),
    ],
)
def test_a_folder_holds_one_study(study, request_of, changes, message):
    with pytest.raises(InputError, match=message):
        run_study(request_of(study[0], **changes), silent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": ("with luck",)}, "no variant 'with luck'. Choose from: baseline; "),
        ({"steps": 0}, "--steps must be at least 1, not 0"),
        ({"n": 3}, "--n must be at least 4, not 3"),
        ({"seed": -1}, "--seed must be at least 0, not -1"),
        ({"photographs": (Path("no/where"),)}, "no/where"),
        ({"photographs": (Path("my/scenes"),)}, "Two evaluation sets are called 'scenes'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(request_of, tmp_path, changes, message):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=message):
        run_study(request_of(out, **changes), silent)
    assert not out.exists()


def test_half_drawn_sets_are_drawn_anew(tmp_path):
    half = tmp_path / "binding.partial"
    half.mkdir()
    (half / "binding_colour.jsonl").touch()
    sets = draw_sets(tmp_path, 1, 7, (), silent)
    assert {path.name for path in tmp_path.iterdir()} == {"scenes", "binding", "neglect"}
    assert len((sets.binding / "binding_colour.jsonl").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--variants", "with luck"], "no variant"), (["--steps", "0"], "--steps must be")],
)
def test_bad_input_is_exit_code_2_on_the_command_line(recipe, tmp_path, capsys, options, message):
    assert cli.main(["ablate", str(recipe), "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err


def test_the_command_writes_the_table(study, request_of, checkpoint, recipe, capsys):
    out, _, _ = study
    found = run_study(request_of(out), silent)
    options = ["--steps", "2", "--n", "4", "--variants", ";".join(VARIANTS), "--json"]
    common = ["--checkpoint", str(checkpoint), "--device", "cpu", "--out", str(out)]
    assert cli.main(["ablate", str(recipe), *options, *common]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert (out / "table.md").read_text(encoding="utf-8") == found["table"]


def test_the_time_of_a_step_is_the_adapter_s_alone(tmp_path):
    """What is trained behind an adapter is many times as fast, and has more lines in the log."""
    rates = [("ssa-me", 60.0), ("ssa-me", 50.0), ("ssa-me", 70.0), *[("composition", 900.0)] * 9]
    lines = [{"stage": stage, "step": 1, "samples_per_s": rate} for stage, rate in rates]
    lines.append({"stage": "ssa-me", "step": 1, "held_out": {}})
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert _pace(tmp_path) == 60.0
    assert _pace(tmp_path / "nothing") is None
