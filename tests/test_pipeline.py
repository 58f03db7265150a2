"""The full salience: expert and relevance of several images at once as one by one, and both ways through the facade."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me import pipeline
from ssa_me.checkpoint import VERSIONS
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.pipeline import expert_maps, full_salience, fused, relevance_maps
from ssa_me.salience.experts import AnnotatedExpert, OpenCVExpert
from ssa_me.salience.fusion import fuse
from ssa_me.salience.lmm import Listed
from ssa_me.samples import Sample, Subject

PHRASES = ["a red bird", "a blue circle"]


@pytest.fixture(scope="module")
def trained(trained_checkpoint) -> SalientEmbedder:
    return SalientEmbedder.load(trained_checkpoint, "cpu")


@pytest.fixture
def images(picture) -> list[Image.Image]:
    return [picture(64, 64, seed=1), picture(64, 32, seed=2), picture(40, 64, seed=3)]


@pytest.fixture
def visual(trained, images):
    with torch.inference_mode():
        yield trained._passes.backbone.vision_pass(images)


def test_every_image_is_as_if_alone(trained, images, visual, monkeypatch):
    passes, expert = trained._passes, OpenCVExpert()
    found = expert_maps(expert, visual, images, PHRASES), relevance_maps(passes, visual, PHRASES)
    for b, (image, count) in enumerate(zip(images, visual.counts(), strict=True)):
        one = visual.select([b])
        alone = expert_maps(expert, one, [image], PHRASES), relevance_maps(passes, one, PHRASES)
        for together, single in zip(found, alone, strict=True):
            assert together.shape == (3, 2, visual.valid.shape[1])
            np.testing.assert_allclose(together[b, :, :count], single[0], atol=1e-4)
            assert not together[b, :, count:].any()
    monkeypatch.setattr(pipeline, "_READ_AT_ONCE", 1)
    np.testing.assert_allclose(relevance_maps(passes, visual, PHRASES), found[1], atol=1e-4)


def test_relevance_asks_for_each_phrase(trained, visual):
    first, second = relevance_maps(trained._passes, visual, PHRASES)[0]
    assert np.abs(first - second).max() > 1e-3
    assert first.min() > 0 and first.max() < 1


def test_the_fused_map_is_each_subjects_own():
    expert, semantic = np.array([[[0.25, 1.0], [0.0, 0.36]]]), np.array([[[1.0, 0.5], [0.9, 0.25]]])
    np.testing.assert_allclose(fused(expert, semantic), [[[0.5, 0.5**0.5], [0, 0.3]]], rtol=1e-6)


def test_salience_is_the_largest_over_the_subjects(trained, images, visual):
    passes, expert = trained._passes, OpenCVExpert()
    found = full_salience(passes, expert, visual, images, PHRASES)
    maps, semantic = expert_maps(expert, visual, images, PHRASES), relevance_maps(passes, visual, PHRASES)
    for b in range(len(images)):
        np.testing.assert_allclose(found.salience[b].numpy(), fuse(maps[b], semantic[b]), atol=1e-5)
    assert len(found.regions) == 3


# --- through the facade ----------------------------------------------------------------------------------------------


def test_full_is_conditioned_by_the_expert_and_not_by_the_head(trained, picture, monkeypatch):
    image = picture(64, 64, seed=1)
    head, full = (
        trained.explain(image, "a red bird and a blue circle", salience=s) for s in ("head", "full")
    )
    assert set(full.stages) == set(head.stages)
    floor = trained._passes.settings.floor
    for explanation, stage in ((head, "head"), (full, "fused")):
        np.testing.assert_allclose(
            explanation.stages["gain"], floor + (1 - floor) * explanation.stages[stage], atol=1e-5
        )
    np.testing.assert_allclose(
        np.max([a.salience for a in full.alignment], axis=0), full.stages["fused"], atol=1e-6
    )
    np.testing.assert_allclose(full.attention["baseline"], head.attention["baseline"], atol=1e-6)
    assert np.abs(full.attention["ssa-me"] - head.attention["ssa-me"]).max() > 1e-5
    assert full.similarity == pytest.approx(head.similarity, abs=1e-5)
    assert set(full.seconds) >= {"vision", "subjects", "expert", "relevance", "fusion", "head", "attention"}
    assert "subjects" not in head.seconds
    written = json.loads(json.dumps(full.to_json(), allow_nan=False))
    assert (written["salience"], head.to_json()["salience"]) == ("full", "head")


def test_the_language_model_names_the_subjects(trained, picture, monkeypatch):
    asked = []

    def subjects(samples):
        asked.extend(samples)
        return [Listed(("the red bird",), "lmm", "" if s.text else "A red bird.") for s in samples]

    monkeypatch.setattr(trained, "_lmm", subjects)
    image = picture()
    spoken = trained.explain(image, "a red bird", salience="full")
    silent = trained.explain(image, None, salience="full")
    given = trained.explain(image, "a red bird", ["tree"], salience="full")
    assert [a.phrase for a in (*spoken.alignment, *silent.alignment, *given.alignment)] == [
        "the red bird", "the red bird", "tree",
    ]  # fmt: skip
    assert [(s.text, s.image is None) for s in asked] == [("a red bird", True), (None, False)]
    assert [e.subjects.source for e in (spoken, silent, given)] == ["lmm", "lmm", "given"]
    assert silent.subjects.described == "A red bird."
    assert trained.explain(image, "a red bird").subjects.source == "rule"


def test_the_tiny_model_is_really_asked(trained, picture):
    (pair, image) = trained.subjects([Sample("a red bird", picture()), Sample(image=picture())])
    assert pair.phrases and len(image.phrases) <= 6
    assert trained.subjects([Sample("a red bird", picture())]) == [pair]


def test_embedding_again_follows_the_full_salience(trained, images):
    samples = [Sample(image=image) for image in images]
    head, full, free = (
        trained.embed(samples, conditioned_on=text, salience=mode).vectors
        for text, mode in (("a red bird", "head"), ("a red bird", "full"), (None, "full"))
    )
    alone = trained.embed(samples[1:2], conditioned_on="a red bird", salience="full").vectors
    for version in VERSIONS:
        assert np.abs(full[version] - head[version]).max() > 1e-4
        np.testing.assert_allclose(full[version][1:2], alone[version], atol=1e-4)
        np.testing.assert_allclose(free[version], trained.embed(samples).vectors[version], atol=1e-5)


def test_the_chosen_expert_is_the_one_that_is_asked(trained_checkpoint, picture):
    image = picture()
    embedder = SalientEmbedder.load(trained_checkpoint, "cpu")
    embedder._full_expert = AnnotatedExpert((Subject("it", bbox=(0, 0, 32, 64)),))
    full, head = (embedder.explain(image, "it", ["it"], salience=s) for s in ("full", "head"))
    left = full.boxes[:, 2] <= 32
    assert (full.stages["expert"] == left).all() and not (head.stages["expert"] == left).all()


def test_the_maps_of_the_expert_are_kept(trained_checkpoint, picture, tmp_path):
    embedder = SalientEmbedder.load(trained_checkpoint, "cpu", maps=tmp_path / "maps")
    first = embedder.explain(picture(), "a red bird", ["tree", "house"], salience="full")
    assert len(list((tmp_path / "maps").iterdir())) == 2
    again = embedder.explain(picture(), "a red bird", ["tree", "house"], salience="full")
    np.testing.assert_array_equal(first.stages["fused"], again.stages["fused"])


def test_a_checkpoint_without_a_head_works_too(checkpoint_of, picture):
    bare = SalientEmbedder.load(checkpoint_of("qwen3_vl-chat"), "cpu")
    explanation = bare.explain(picture(), "a red bird", salience="full")
    assert set(explanation.stages) == {"semantic", "expert", "fused", "gain"}


def test_another_salience_is_refused(trained, picture):
    with pytest.raises(InputError, match="no salience 'heavy'"):
        trained.explain(picture(), "a bird", salience="heavy")
    with pytest.raises(InputError, match="head, full"):
        trained.embed([Sample("a bird")], salience="")
    with pytest.raises(InputError, match="no expert 'magic'"):
        SalientEmbedder.load(None, "cpu", expert="magic")
