"""Both adapters of a backbone, trained alike: what is saved, what is gone on with, and how a batch is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import load_parts
from ssa_me.training.adapter_stages import TokenCache
from ssa_me.training.data import Corpus
from ssa_me.training.loop import Run
from ssa_me.training.recipe import Lora, Recipe, Regeneration
from ssa_me.training.versions import Versions, describe_batch, mark, unfinished

RECIPE = Recipe(
    "tiny", adapters=Lora(steps=1, batch=4, rank=2, warmup=0), regeneration=Regeneration(floor=0.7)
)


@pytest.fixture
def make_versions(make_backbone: Callable[[], Backbone], corpus: Corpus, make_run: Callable[..., Run]):
    def make(name: str = "run") -> Versions:
        backbone = make_backbone()
        cache = TokenCache.of(corpus, backbone)
        return Versions(Adapters(backbone), corpus, cache, make_run(name), "It knows scenes.")

    return make


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_a_version_is_saved_with_what_it_was_trained_by(make_versions, tmp_path):
    versions = make_versions()
    assert versions.train("baseline", RECIPE, tmp_path) and versions.train("ssa-me", RECIPE, tmp_path)
    one, other = adapter(tmp_path / "baseline"), adapter(tmp_path / "ssa-me")
    assert one.keys() == other.keys() and any(not torch.equal(one[key], other[key]) for key in one)
    _, settings = load_parts(tmp_path / "ssa-me", versions.adapters.backbone.width)
    assert settings.floor == 0.7 and settings.description == "It knows scenes."


def test_the_adapter_of_a_start_is_trained_on(make_versions, tmp_path):
    make_versions().train("baseline", RECIPE, tmp_path / "start")
    make_versions("on").train("baseline", RECIPE, tmp_path / "on", start=tmp_path / "start")
    make_versions("anew").train("baseline", RECIPE, tmp_path / "anew", start=tmp_path / "nowhere")
    start, on, anew = (adapter(tmp_path / name / "baseline") for name in ("start", "on", "anew"))
    assert all(torch.equal(start[key], anew[key]) for key in start)  # the same seed, step and data
    assert any(not torch.equal(start[key], on[key]) for key in start)


def test_a_stopped_run_leaves_a_checkpoint_that_can_be_used(make_versions, tmp_path):
    start, out = tmp_path / "start", tmp_path / "out"
    assert make_versions("start").train_all(RECIPE, start, None, False) and unfinished(start) == ()
    longer = Recipe("tiny", adapters=Lora(steps=3, batch=4, rank=2, warmup=0))
    versions = make_versions()
    versions.context.stop.set()
    assert not versions.train_all(longer, out, start, resume=True)
    assert unfinished(out) == ("baseline", "ssa-me")
    stopped, before = adapter(out / "baseline"), adapter(start / "baseline")
    assert any(not torch.equal(stopped[key], before[key]) for key in before), "one step was made"
    lent = adapter(out / "ssa-me")
    assert all(torch.equal(lent[key], value) for key, value in adapter(start / "ssa-me").items())
    load_parts(out / "ssa-me", versions.adapters.backbone.width)

    again = make_versions()  # in the same folder of states
    assert again.train_all(longer, out, start, resume=True) and unfinished(out) == ()
    straight = make_versions("straight")
    assert straight.train_all(longer, tmp_path / "straight", start, resume=False)
    for version in ("baseline", "ssa-me"):
        once = adapter(tmp_path / "straight" / version)
        assert all(torch.equal(once[key], value) for key, value in adapter(out / version).items())


def test_a_run_that_died_while_it_wrote_a_version_is_not_taken_for_finished(make_versions, tmp_path):
    mark(tmp_path, "baseline", finished=False)
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "adapter_config.json").write_text("{}")
    assert make_versions().train_all(RECIPE, tmp_path, None, resume=True)
    assert unfinished(tmp_path) == () and adapter(tmp_path / "baseline")


def test_a_batch_is_named_by_the_seeds_of_its_scenes(corpus):
    said = describe_batch(corpus, 7, 4)(0)
    assert said.startswith("scenes: seed ") and said.count("twin") == 3
