"""Both adapters of a backbone, trained alike: what is saved, what is gone on with, and how a batch is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import load_parts
from ssa_me.training.adapter_stages import SalientStage, TokenCache
from ssa_me.training.composition_stage import CompositionStage
from ssa_me.training.data import Corpus
from ssa_me.training.loop import Run
from ssa_me.training.recipe import Composition, Lora, Recipe, Regeneration, Scenes, Trust
from ssa_me.training.sources import FolderSource
from ssa_me.training.trust_stage import TrustStage
from ssa_me.training.versions import Versions, describe_batch, mark, unfinished

LORA = Lora(steps=1, batch=4, rank=2, warmup=0)
COMPOSITION = Composition(steps=2, batch=4, warmup=0, learning_rate=2e-2)
TRUST = Trust(steps=1, batch=4, warmup=0, share=0.75, emphasis=2.0)
RECIPE = Recipe(
    "tiny", adapters=LORA, composition=COMPOSITION, trust=TRUST, regeneration=Regeneration(floor=0.7)
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


def composition(folder: Path) -> dict[str, torch.Tensor]:
    parts, _ = load_parts(folder / "ssa-me", 48)
    return dict(parts.composition.named_parameters())


def stages(versions: Versions) -> list[tuple[str, int]]:
    lines = (versions.context.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [(line["stage"], line["step"]) for line in map(json.loads, lines)]


def test_subjects_are_composed_after_the_adapter(make_versions, tmp_path):
    versions = make_versions()
    assert versions.train("ssa-me", RECIPE, tmp_path / "composed")
    assert stages(versions) == [("ssa-me", 1), ("composition", 2), ("trust", 1)]
    plain = make_versions("plain")
    without = replace(RECIPE, composition=replace(COMPOSITION, steps=0), trust=replace(TRUST, steps=0))
    assert plain.train("ssa-me", without, tmp_path / "plain")
    assert stages(plain) == [("ssa-me", 1)]
    composed, alone = composition(tmp_path / "composed"), composition(tmp_path / "plain")
    assert not alone["gates"].any() and not alone["shares"].any()  # then no subject is in any vector
    assert (composed["gates"] - 0.75).abs().max() < 0.1 and (composed["gates"] != 0.75).any()
    for name in ("bind_subject.2.weight", "bind_phrase.2.weight", "relate.2.weight"):
        assert composed[name].any() and not alone[name].any(), name
    # what the adapter stage taught is what it would have been without
    assert all(torch.equal(composed[name], alone[name]) for name in composed if name.startswith("seen."))
    one, other = adapter(tmp_path / "composed" / "ssa-me"), adapter(tmp_path / "plain" / "ssa-me")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_weights_that_are_trained_on_are_emphasised_once(make_versions, tmp_path):
    still = replace(RECIPE, trust=replace(TRUST, learning_rate=0.0))
    assert make_versions().train("ssa-me", still, tmp_path / "start")
    assert composition(tmp_path / "start")["gates"].tolist() == [0.75, 0.75]
    assert make_versions("on").train("ssa-me", still, tmp_path / "on", start=tmp_path / "start")
    assert composition(tmp_path / "on")["gates"].tolist() == [0.75, 0.75]


def test_without_regions_there_are_no_codes_and_subjects_count_all_the_same(make_versions, tmp_path):
    versions = make_versions()
    (group,) = versions.corpus.groups
    bare = [replace(one, phrases=(), coverage=one.coverage[:0]) for one in group]
    corpus = Corpus([FolderSource((), "captions")], [bare])
    assert replace(versions, corpus=corpus).train("ssa-me", RECIPE, tmp_path)
    assert stages(versions) == [("ssa-me", 1), ("trust", 1)]
    found = composition(tmp_path)
    assert found["gates"].all() and not found["bind_subject.2.weight"].any()


def test_scenes_that_no_adapter_saw_are_composed_where_the_recipe_wants_some(
    make_versions, tmp_path, monkeypatch
):
    learned_from: list[Corpus] = []

    class Watched(CompositionStage):
        def __init__(self, stage: SalientStage, *rest: object) -> None:
            learned_from.append(stage.material.corpus)
            super().__init__(stage, *rest)

    class WatchedTrust(TrustStage):
        def __init__(self, stage: SalientStage, *rest: object) -> None:
            learned_from.append(stage.material.corpus)
            super().__init__(stage, *rest)

    monkeypatch.setattr("ssa_me.training.versions.CompositionStage", Watched)
    monkeypatch.setattr("ssa_me.training.versions.TrustStage", WatchedTrust)
    scenes = Scenes(count=2, first=1, size=64)
    further = replace(
        RECIPE, scenes=scenes, composition=replace(COMPOSITION, scenes=1), trust=replace(TRUST, scenes=2)
    )
    assert make_versions().train("ssa-me", further, tmp_path / "further")
    (codes,), (worth,) = (corpus.sources for corpus in learned_from)
    assert (codes.first, codes.count, codes.size) == (3, 1, 64)  # the adapters had seeds 1 and 2
    assert (worth.first, worth.count, worth.size) == (4, 2, 64)
    own = make_versions("own")
    assert own.train("ssa-me", replace(RECIPE, scenes=scenes), tmp_path / "own")
    assert learned_from[2].sources == learned_from[3].sources == own.corpus.sources


def test_a_run_stopped_while_it_composes_goes_on_from_there(make_versions, tmp_path, monkeypatch):
    recipe = replace(RECIPE, composition=replace(COMPOSITION, steps=3), trust=replace(TRUST, steps=0))
    versions = make_versions()
    batch = CompositionStage.batch

    def told_to_stop(stage: CompositionStage, step: int):
        versions.context.stop.set()
        read = stage.memory.texts(("a red dog",))
        versions.adapters.use("ssa-me")
        with torch.no_grad():
            assert torch.equal(read, stage.material.backbone.speak(("a red dog",), 1))  # by the adapter
            versions.adapters.use(None)
            assert not torch.equal(read, stage.material.backbone.speak(("a red dog",), 1))
        versions.adapters.use("ssa-me")
        return batch(stage, step)

    with monkeypatch.context() as patch:
        patch.setattr(CompositionStage, "batch", told_to_stop)
        assert not versions.train("ssa-me", recipe, tmp_path / "out")
    assert unfinished(tmp_path / "out") == ("ssa-me",)
    stopped = composition(tmp_path / "out")
    assert stopped["bind_subject.2.weight"].any(), "one step was made"

    again = make_versions()  # in the same folder of states
    assert again.train("ssa-me", recipe, tmp_path / "out", resume=True) and unfinished(tmp_path / "out") == ()
    assert make_versions("straight").train("ssa-me", recipe, tmp_path / "straight")
    resumed, straight = composition(tmp_path / "out"), composition(tmp_path / "straight")
    for name, value in straight.items():
        torch.testing.assert_close(resumed[name], value, atol=1e-6, rtol=1e-2, msg=name)
    assert (resumed["relate.2.weight"] - stopped["relate.2.weight"]).abs().max() > 1e-2
    one, other = adapter(tmp_path / "out" / "ssa-me"), adapter(tmp_path / "straight" / "ssa-me")
    assert all(torch.equal(one[key], other[key]) for key in one)


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
    longer = Recipe("tiny", adapters=replace(LORA, steps=3), composition=COMPOSITION, trust=TRUST)
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
