"""A whole run: from nothing and from a checkpoint, stopped and resumed, and what it refuses before it writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ssa_me.checkpoint import fingerprints
from ssa_me.checkpoints import Reading, reading_of
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.samples import Record, Sample, write_metadata
from ssa_me.training import TrainRequest, run
from ssa_me.training.data import Corpus, Draw
from ssa_me.training.recipe import load_recipe
from ssa_me.training.run import copy_backbone, sources_of
from ssa_me.training.versions import unfinished

FINE_TUNE = """
seed = 5
precision = "fp32"

[adapters]
steps = 2
batch = 2
rank = 4
warmup = 1

[composition]
steps = 2
batch = 2
warmup = 1
"""


@dataclass(frozen=True)
class Finished:
    """A run from scratch that was never interrupted, and the draws that it made, in order."""

    out: Path
    recipe: Path
    summary: dict[str, Any]
    said: list[str]
    draws: list[tuple[int, int, int, Draw]]

    def request(self, out: Path, **changes: Any) -> TrainRequest:
        return TrainRequest(**{"data": (), "out": out, "recipe": self.recipe, "device": "cpu"} | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, recipe_text) -> Finished:
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "tiny.toml"
    recipe.write_text(recipe_text, encoding="utf-8")
    draws, said, draw = [], [], Corpus.draw

    def recording(self: Corpus, seed: int, step: int, batch: int) -> Draw:
        drawn = draw(self, seed, step, batch)
        draws.append((seed, step, batch, drawn))
        return drawn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Corpus, "draw", recording)
        out = folder / "out"
        summary = run(TrainRequest((), out, recipe, device="cpu"), said.append)
    return Finished(out, recipe, summary, said, draws)


@pytest.fixture
def fine_tune(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(FINE_TUNE, encoding="utf-8")
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]


def silent(_: str) -> None:
    pass


# --- from scratch ----------------------------------------------------------------------------------------------------


def test_a_run_makes_a_checkpoint_that_embeds(finished):
    names = set(files_of(finished.out))
    assert {"config.json", "tokenizer.json", "preprocessor_config.json", "training/log.jsonl"} <= names
    for version in ("baseline", "ssa-me"):
        assert {f"{version}/adapter_config.json", f"{version}/adapter_model.safetensors"} <= names
    assert {"ssa-me/regeneration.safetensors", "ssa-me/ssa_me.json"} <= names
    embedder = SalientEmbedder.load(finished.out, device="cpu")
    assert embedder.info.trained == {"baseline": True, "ssa-me": True}
    assert "8 generated scenes" in embedder.info.knows
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    vectors = embedder.embed([Sample("a person in red"), Sample(image=image)]).vectors
    for rows in vectors.values():
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert not np.allclose(vectors["baseline"], vectors["ssa-me"])


def test_the_summary_says_what_was_made(finished):
    assert finished.summary == {
        "out": str(finished.out),
        "recipe": "tiny",
        "finished": True,
        "log": str(finished.out / "training" / "log.jsonl"),
        "fingerprints": fingerprints(finished.out),
        "next": "",
    }
    json.dumps(finished.summary)
    assert finished.said[0] == "preparing images" and "computing image tokens" in finished.said


def test_the_log_holds_all_stages_and_no_state_is_left(finished):
    lines = log_of(finished.out)
    stages = ["base", "baseline", "ssa-me", "composition", "trust"]
    assert [(line["stage"], line["step"]) for line in lines] == [(stage, 2) for stage in stages]
    assert all(np.isfinite(line["loss"]) and line["samples_per_s"] > 0 for line in lines)
    left = {path.name for path in (finished.out / "training").iterdir()}
    assert left == {"log.jsonl", "recipe.json", "finished"}
    assert json.loads((finished.out / "training" / "recipe.json").read_text())["seed"] == 3


def test_both_adapters_see_the_same_draws_in_the_same_order(finished):
    assert len(finished.draws) == 10
    baseline, salient = finished.draws[2:4], finished.draws[4:6]
    assert baseline == salient
    assert [(seed, step, batch) for seed, step, batch, _ in baseline] == [(3, 0, 4), (3, 1, 4)]


def test_weights_are_kept_in_sixteen_bits(finished):
    for path in finished.out.rglob("*.safetensors"):
        assert {str(tensor.dtype) for tensor in load_file(path).values()} == {"torch.bfloat16"}, path.name


# --- stop and resume -------------------------------------------------------------------------------------------------


def test_a_run_stopped_in_every_stage_ends_with_the_same_checkpoint(finished, tmp_path):
    out = tmp_path / "out"

    def stop_at(line: str) -> dict[str, Any]:
        def progress(said: str) -> None:
            if said == line:
                os.kill(os.getpid(), signal.SIGTERM)

        return run(finished.request(out, resume=True), progress)

    summary = stop_at("preparing images")  # the base stage ends after its first step
    assert (summary["finished"], summary["fingerprints"]) == (False, {}) and "--resume goes on" in summary[
        "next"
    ]
    assert (out / "training" / "base.safetensors").is_file() and not (out / "config.json").exists()
    summary = stop_at("computing image tokens")  # the rest of the base stage, then the baseline's first step
    assert summary["finished"] is False
    assert (out / "config.json").is_file() and (out / "training" / "baseline.safetensors").is_file()
    assert unfinished(out) == ("baseline",)
    assert SalientEmbedder.load(out, device="cpu").info.trained == {"baseline": True, "ssa-me": False}
    assert stop_at("")["finished"] is True
    assert fingerprints(out) == fingerprints(finished.out)
    assert not list((out / "training").glob("*.safetensors"))


def test_resume_with_nothing_saved_starts_anew(finished, tmp_path):
    summary = run(finished.request(tmp_path / "out", resume=True), silent)
    assert summary["finished"] and summary["fingerprints"] == finished.summary["fingerprints"]


def test_resume_of_a_finished_run_returns_at_once(finished):
    before, said = files_of(finished.out), []
    assert run(finished.request(finished.out, resume=True), said.append) == finished.summary
    assert said == [f"{finished.out} is finished already."]
    assert files_of(finished.out) == before


# --- from a checkpoint -----------------------------------------------------------------------------------------------


def test_fine_tuning_keeps_the_backbone_and_goes_on_with_the_adapters(
    finished, photographs, fine_tune, tmp_path
):
    out = tmp_path / "out"
    request = TrainRequest((photographs,), out, fine_tune, checkpoint=finished.out, device="cpu")
    summary = run(request, silent)
    assert summary["finished"] and summary["recipe"] == "mine"
    before, after = files_of(finished.out), files_of(out)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"):
        assert after[name] == before[name]
    for version in ("baseline", "ssa-me"):
        name = f"{version}/adapter_model.safetensors"
        assert after[name] != before[name]
        config = json.loads(after[f"{version}/adapter_config.json"])
        assert config["r"] == 2  # the start's rank, not the recipe's
        moved = load_file(out / name)
        assert all(moved[key].shape == value.shape for key, value in load_file(finished.out / name).items())
    assert SalientEmbedder.load(out, device="cpu").info.knows == "Fine-tuned on 2 images of photographs."


def test_fine_tuning_keeps_the_floor_and_widths_of_its_start(
    trained_checkpoint, photographs, fine_tune, tmp_path
):
    out = tmp_path / "out"
    request = TrainRequest(
        (photographs,), out, fine_tune, checkpoint=trained_checkpoint, device="cpu", max_steps=1
    )
    assert run(request, silent)["finished"]
    start, end = (json.loads((f / "ssa-me" / "ssa_me.json").read_text()) for f in (trained_checkpoint, out))
    assert end == start | {"claims": True, "description": "Fine-tuned on 2 images of photographs."}
    assert SalientEmbedder.load(out, device="cpu").info.trained == {"baseline": True, "ssa-me": True}


def test_full_fine_tuning_writes_a_new_backbone_with_both_adapters(
    finished, photographs, fine_tune, tmp_path
):
    fine_tune.write_text(fine_tune.read_text() + "\n[base]\nsteps = 2\nbatch = 2\nwarmup = 1\n")
    out = tmp_path / "full"
    summary = run(TrainRequest((photographs,), out, fine_tune, finished.out, "cpu"), silent)
    before, after = (weights_of(folder) for folder in (finished.out, out))
    assert before.keys() == after.keys()
    changed = [key for key, value in before.items() if not torch.equal(value, after[key])]
    assert any("visual." in key for key in changed) and any(".layers." in key for key in changed)
    names = {"baseline", "ssa-me"}
    assert not set(summary["fingerprints"].values()) & set(fingerprints(finished.out).values())
    embedded = SalientEmbedder.load(out, "cpu").embed([Sample("a red box")])
    assert set(embedded.vectors) >= names and all(np.isfinite(v).all() for v in embedded.vectors.values())


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return {key: value for path in folder.glob("*.safetensors") for key, value in load_file(path).items()}


def test_a_bare_checkpoint_gets_new_adapters(checkpoint_of, photographs, fine_tune, tmp_path):
    out = tmp_path / "out"
    request = TrainRequest((photographs,), out, fine_tune, checkpoint=checkpoint_of("qwen3_vl"), device="cpu")
    assert run(request, silent)["finished"]
    info = SalientEmbedder.load(out, device="cpu").info
    assert info.trained == {"baseline": True, "ssa-me": True} and info.family == "qwen3_vl"
    assert json.loads((out / "baseline" / "adapter_config.json").read_text())["r"] == 4


def test_max_steps_counts_per_adapter(finished, photographs, fine_tune, tmp_path):
    request = TrainRequest(
        (photographs,), tmp_path / "out", fine_tune, checkpoint=finished.out, device="cpu", max_steps=1
    )
    assert run(request, silent)["finished"]
    steps = [(line["stage"], line["step"], line["steps"]) for line in log_of(tmp_path / "out")]
    assert steps == [("baseline", 1, 1), ("ssa-me", 1, 1), ("composition", 1, 1), ("trust", 1, 1)]


def test_runs_of_one_process_may_differ_in_precision(finished, photographs, fine_tune, tmp_path):
    fine_tune.write_text(FINE_TUNE.replace("fp32", "bf16"), encoding="utf-8")
    for name in ("first", "second"):
        request = TrainRequest(
            (photographs,), tmp_path / name, fine_tune, checkpoint=finished.out, device="cpu", max_steps=1
        )
        assert run(request, silent)["finished"]
        fine_tune.write_text(FINE_TUNE, encoding="utf-8")
    assert fingerprints(tmp_path / "first") != fingerprints(tmp_path / "second")


# --- dry runs and refusals -------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(finished, photographs, tmp_path):
    out = tmp_path / "out"
    plan = run(finished.request(out, data=(photographs,), dry_run=True, max_steps=1), silent)
    assert plan["dry_run"] is True and plan["starts_from"] == "scratch"
    assert plan["stages"] == ["base", "baseline", "ssa-me", "composition", "trust"]
    assert plan["data"] == [{"name": "scenes", "images": 8}, {"name": "photographs", "images": 2}]
    assert plan["recipe"]["adapters"]["steps"] == 1 and plan["recipe"]["scratch"]["width"] == 48
    json.dumps(plan)
    assert not out.exists()


def test_a_dry_run_says_what_fits_without_weights_or_data(tmp_path):
    plan = run(TrainRequest((), tmp_path / "out", "qwen2-vl-2b-mmeb", dry_run=True), silent)
    model = plan["model"]
    assert model["model"] == "qwen2_vl" and 2.2e9 < model["parameters"] < 2.3e9
    assert model["targets"] == dict.fromkeys(plan["recipe"]["adapters"]["targets"], 28)
    baseline, salient = (model["versions"][version] for version in ("baseline", "ssa-me"))
    assert baseline["memory_gb"]["total"] < salient["memory_gb"]["total"] < 80
    assert plan["data"] == [] and not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="nothing to train on"):
        run(TrainRequest((), tmp_path / "out", "qwen2-vl-2b-mmeb"), silent)


def test_a_dry_run_looks_at_a_full_folder_without_touching_it(finished):
    before = files_of(finished.out)
    assert run(finished.request(finished.out, dry_run=True), silent)["out"] == str(finished.out)
    assert files_of(finished.out) == before


def test_views_multiply_photographs_and_only_training_ones_count(finished, photographs, tmp_path):
    recipe = tmp_path / "views.toml"
    recipe.write_text("views = 3\n")
    plan = run(TrainRequest((photographs,), tmp_path / "out", recipe, dry_run=True), silent)
    # neither the validation split nor what says nothing
    assert plan["data"] == [{"name": "photographs", "images": 6}]


def test_sets_of_recipe_and_command_line_come_together_with_their_weights(photographs, tmp_path, monkeypatch):
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(f"[[data]]\npath = '{photographs}'\nweight = 3\n")
    other = tmp_path / "others"
    shutil.copytree(photographs, other)
    request = TrainRequest((other,), tmp_path / "out", recipe, weights={other: 0.5})
    sources = sources_of(request, load_recipe(recipe))
    assert [(s.name, s.weight) for s in sources] == [("photographs", 3), ("others", 0.5)]


def test_a_loss_that_is_not_finite_names_the_photographs(
    photographs, finished, fine_tune, tmp_path, monkeypatch
):
    monkeypatch.setattr("ssa_me.objectives.info_nce", lambda q, *_: q.sum() * float("nan"))
    request = TrainRequest((photographs,), tmp_path / "out", fine_tune, finished.out, device="cpu")
    with pytest.raises(
        ArithmeticError, match=r"stage baseline: the loss is nan at step 0.*photographs: [ab]\.png, "
    ):
        run(request, silent)


def test_gradient_checkpointing_changes_memory_alone(photographs, finished, fine_tune, tmp_path):
    logs = []
    for name in ("plain", "checkpointed"):
        request = TrainRequest((photographs,), tmp_path / name, fine_tune, finished.out, device="cpu")
        run(request, silent)
        logs.append([line["loss"] for line in log_of(tmp_path / name)])
        fine_tune.write_text("gradient_checkpointing = true\n" + FINE_TUNE, encoding="utf-8")
    np.testing.assert_allclose(*logs, rtol=1e-4)


def test_an_adapter_changes_the_layers_that_the_recipe_names(photographs, checkpoint_of, fine_tune, tmp_path):
    fine_tune.write_text(FINE_TUNE.replace("rank = 4", "targets = ['q_proj']"), encoding="utf-8")
    request = TrainRequest(
        (photographs,), tmp_path / "out", fine_tune, checkpoint_of("qwen2_vl"), device="cpu"
    )
    assert run(request, silent)["finished"]
    keys = load_file(tmp_path / "out" / "baseline" / "adapter_model.safetensors")
    assert keys and all(".q_proj." in key for key in keys)
    fine_tune.write_text(FINE_TUNE.replace("rank = 4", "targets = ['q_proj', 'w_proj']"), encoding="utf-8")
    request = TrainRequest(
        (photographs,), tmp_path / "no", fine_tune, checkpoint_of("qwen2_vl"), device="cpu"
    )
    with pytest.raises(InputError, match="no layer called w_proj"):
        run(request, silent)


def test_a_folder_that_is_not_empty_is_not_trained_into(finished, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty.*--resume"):
        run(finished.request(out), silent)
    assert files_of(out) == {"mine.txt": b"mine"}
    with pytest.raises(InputError, match="is a file"):
        run(finished.request(out / "mine.txt"), silent)


def folder_of(tmp_path: Path, *records: Record) -> Path:
    for record in records:
        record.path.parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (32, 32)).save(record.path)
    write_metadata(records[0].path.parent, records)
    return records[0].path.parent


@pytest.mark.parametrize("split", ["val", "test", None])
def test_data_without_texts_or_training_split_is_refused(fine_tune, finished, tmp_path, split):
    path = tmp_path / "data" / "x.png"
    data = folder_of(tmp_path, Record(path, "x.png", ("a dog",) if split else (), split=split))
    request = TrainRequest((data,), tmp_path / "out", fine_tune, checkpoint=finished.out, device="cpu")
    with pytest.raises(InputError, match=r"data holds no image to train on.*captions or subjects.*split"):
        run(request, silent)
    assert not (tmp_path / "out").exists()


def test_nothing_to_train_on(fine_tune, tmp_path):
    with pytest.raises(InputError, match="nothing to train on"):
        run(TrainRequest((), tmp_path / "out", fine_tune), silent)
    with pytest.raises(InputError, match="is not a folder"):
        run(TrainRequest((tmp_path / "nowhere",), tmp_path / "out", fine_tune), silent)


def test_bad_input_leaves_nothing_behind(fine_tune, finished, photographs, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"holds no config\.json"):
        run(TrainRequest((photographs,), out, fine_tune, checkpoint=tmp_path / "nowhere"), silent)
    broken = tmp_path / "broken"
    shutil.copytree(photographs, broken)
    (broken / "a.png").write_bytes(b"no image")
    (broken / "b.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"No image of broken can be read.*a\.png"):
        run(TrainRequest((broken,), out, fine_tune, checkpoint=finished.out, device="cpu"), silent)
    assert not out.exists()


def test_one_corrupt_photograph_is_named_and_left_out(fine_tune, finished, photographs, tmp_path):
    shutil.copy(photographs / "b.png", photographs / "e.png")
    with (photographs / "metadata.jsonl").open("a") as lines:
        lines.write(json.dumps({"file_name": "e.png", "captions": ["one more"]}) + "\n")
    (photographs / "b.png").write_bytes(b"no image")
    said: list[str] = []
    request = TrainRequest((photographs,), tmp_path / "out", fine_tune, finished.out, device="cpu")
    assert run(request, said.append)["finished"]
    (line,) = [line for line in said if line.startswith("skipped: ")]
    assert "b.png" in line
    assert (
        SalientEmbedder.load(tmp_path / "out", device="cpu").info.knows
        == "Fine-tuned on 2 images of photographs."
    )


def test_on_the_fly_a_run_learns_the_same(finished, recipe_text, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(recipe_text.replace("count = 2", "count = 2\non_the_fly = true"), encoding="utf-8")
    run(TrainRequest((), tmp_path / "out", recipe, device="cpu"), silent)
    for here, there in zip(log_of(tmp_path / "out"), log_of(finished.out), strict=True):
        assert here["stage"] == there["stage"]
        # image tokens of other batches round otherwise in their last place
        assert here["loss"] == pytest.approx(there["loss"], rel=1e-2)


def test_what_contradicts_itself_is_refused(finished, tmp_path):
    with pytest.raises(InputError, match="starts from scratch; leave --checkpoint out"):
        run(finished.request(tmp_path / "out", checkpoint=finished.out), silent)
    with pytest.raises(InputError, match="--max-steps must be at least 1, not 0"):
        run(finished.request(tmp_path / "out", max_steps=0), silent)
    with pytest.raises(InputError, match="no recipe 'nope'"):
        run(finished.request(tmp_path / "out", recipe="nope"), silent)
    assert not (tmp_path / "out").exists()


def test_evaluation_seeds_are_refused_in_a_recipe(finished, tmp_path):
    recipe = tmp_path / "late.toml"
    recipe.write_text(finished.recipe.read_text().replace("count = 2", "count = 2\nfirst = 999_999"))
    with pytest.raises(InputError, match="for evaluation"):
        run(finished.request(tmp_path / "out", recipe=recipe), silent)


def test_a_copy_is_read_as_what_it_came_from(finished, tmp_path):
    start = tmp_path / "gme-Qwen2-VL-2B-Instruct"
    shutil.copytree(finished.out, start)
    out = tmp_path / "out"
    out.mkdir()
    copy_backbone(start, out)
    assert reading_of(out) == reading_of(start) != Reading()
