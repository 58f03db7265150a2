"""Attributions of a tiny model: they add up, they are of the pair's own score, and odd input is answered in words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me.attribution import METHODS, Cancelled, Settings, attribute, attribution_cache
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.samples import Sample

TEXT = "a red circle on the left of a blue bird"
QUICK = Settings(steps=16, samples=4, kernel_samples=24, superpixels=6, baseline="black")
SIGNED = [name for name, its in METHODS.items() if its.signed]


@pytest.fixture(scope="module")
def found(embedder, discs):
    """By (method, target, version), each made once."""
    made = {}

    def of(method, target="similarity", version="ssa-me", **settings):
        key = (method, target, version, *settings.items())
        if key not in made:
            chosen = dataclasses.replace(QUICK, **settings)
            made[key] = attribute(
                embedder, discs, TEXT, method, target=target, version=version, settings=chosen
            )
        return made[key]

    return of


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("version", ["baseline", "ssa-me"])
def test_what_is_attributed_is_the_similarity_of_the_index(method, version, found, embedder, discs):
    attribution = found(method, version=version)
    similarity = embedder.explain(discs, TEXT).similarity[version]
    assert attribution.image.score == pytest.approx(similarity, abs=2e-5)
    assert attribution.words_balance.score == pytest.approx(similarity, abs=2e-5)
    assert attribution.model == version and attribution.evaluations > 1


@pytest.mark.parametrize("method", METHODS)
def test_maps_and_words_have_their_shapes(method, found, embedder, discs):
    attribution = found(method)
    maps = embedder.maps([discs], [None])[0]
    np.testing.assert_array_equal(attribution.boxes, maps.boxes)
    assert attribution.values.shape == (len(maps.boxes),) and attribution.values.dtype == np.float32
    assert attribution.pixels.shape[0] % 16 == 0 and attribution.pixels.dtype == np.float32
    assert attribution.values.sum() == pytest.approx(attribution.pixels.sum(), rel=1e-3, abs=1e-6)
    spread = attribution.in_pixels()
    assert spread.shape == (48, 96)
    assert spread.sum() == pytest.approx(attribution.values.sum(), rel=1e-3, abs=1e-5)
    assert [word.text for word in attribution.words] == TEXT.split()
    assert all(TEXT[word.start : word.end] == word.text for word in attribution.words)
    assert np.abs(attribution.values).max() > 0 and any(word.value for word in attribution.words)
    assert attribution.held.startswith("Held fixed")


@pytest.mark.parametrize("target", ["similarity", "difference"])
@pytest.mark.parametrize("method", ["kernel-shap", "shapley-sampling"])
def test_contributions_of_sets_add_up(method, target, found):
    attribution = found(method, target)
    for balance in (attribution.image, attribution.words_balance):
        assert balance.total == pytest.approx(balance.change, abs=1e-4)
    assert sum(word.value for word in attribution.words) == pytest.approx(
        attribution.words_balance.change, abs=1e-4
    )
    assert sum(part.value for part in attribution.parts) == pytest.approx(attribution.image.change, abs=1e-4)


def test_integrated_gradients_add_up_the_better_the_more_steps(found):
    few, many = (found("integrated-gradients", steps=steps) for steps in (4, 256))
    assert many.image.convergence < 0.02 and many.words_balance.convergence < 0.02
    assert many.image.convergence <= few.image.convergence
    assert many.image.delta == pytest.approx(many.image.total - many.image.change)


@pytest.mark.parametrize("method", SIGNED)
def test_a_difference_is_the_difference_of_both_versions_maps(method, found):
    difference, ours, theirs = (
        found(method, "difference"),
        found(method, version="ssa-me"),
        found(method, version="baseline"),
    )
    np.testing.assert_allclose(difference.values, ours.values - theirs.values, atol=2e-5)
    gap = [a.value - b.value for a, b in zip(ours.words, theirs.words, strict=True)]
    np.testing.assert_allclose([word.value for word in difference.words], gap, atol=2e-5)
    assert difference.image.score == pytest.approx(ours.image.score - theirs.image.score, abs=1e-6)
    assert difference.model == "ssa-me - baseline"


def test_a_map_without_a_sign_has_no_difference(embedder, discs):
    with pytest.raises(InputError, match="no sign"):
        attribute(embedder, discs, TEXT, "saliency", target="difference")


def test_parts_are_named_and_boxed(found):
    attribution = found("ablation-subjects")
    assert attribution.parts[0].name == "subject 1"
    if len(attribution.parts) == 1:
        assert any("covers the whole image" in note for note in attribution.notes)
    named = found("ablation-subjects", regions=(("the red disc", (8.0, 8.0, 32.0, 32.0)),))
    assert [part.name for part in named.parts] == ["the red disc", "the rest"]
    x, y, w, h = named.parts[0].bbox
    assert abs(x - 8) <= 2 and abs(y - 8) <= 2 and abs(w - 32) <= 3 and abs(h - 32) <= 3
    assert found("ablation-superpixels").parts[0].name == "patch 1"


def test_a_region_costs_what_taking_it_away_costs(embedder, discs, found):
    """Black over the left half by hand, embedded by the facade, against the ablation of that half."""
    attribution = found("ablation-subjects", regions=(("left", (0.0, 0.0, 48.0, 48.0)),))
    pixels = np.asarray(discs.resize(attribution.pixels.shape[::-1], Image.Resampling.BICUBIC)).copy()
    whole = Image.fromarray(pixels.copy())
    pixels[:, : pixels.shape[1] // 2] = 0
    vectors = embedder.embed(
        [Sample(TEXT), Sample(image=whole), Sample(image=Image.fromarray(pixels))]
    ).vectors
    text, full, without = vectors["ssa-me"]
    assert attribution.parts[0].value == pytest.approx(float(full @ text - without @ text), abs=1e-5)


def test_the_same_again_is_the_same(embedder, discs, found):
    for method in ("gradient-shap", "shapley-sampling", "kernel-shap"):
        again = attribute(embedder, discs, TEXT, method, settings=QUICK)
        np.testing.assert_array_equal(again.values, found(method).values)
        assert again.words == found(method).words
    other = attribute(embedder, discs, TEXT, "gradient-shap", settings=dataclasses.replace(QUICK, seed=1))
    assert not np.array_equal(other.values, found("gradient-shap").values)


def test_a_cache_answers_what_is_the_same_and_nothing_else(embedder, discs, picture):
    cache = attribution_cache()
    first = attribute(embedder, discs, TEXT, "saliency", settings=QUICK, cache=cache)
    assert attribute(embedder, discs.copy(), TEXT, "saliency", settings=QUICK, cache=cache) is first
    for image, text, method, options in (
        (picture(96, 48), TEXT, "saliency", {}),
        (discs, "a tree", "saliency", {}),
        (discs, TEXT, "input-x-gradient", {}),
        (discs, TEXT, "saliency", {"version": "baseline"}),
        (discs, TEXT, "saliency", {"settings": dataclasses.replace(QUICK, baseline="white")}),
    ):
        made = attribute(embedder, image, text, method, **{"settings": QUICK} | options, cache=cache)
        assert made is not first
    assert len(cache) == 6 and 0 < cache.bytes < 10**6


def test_progress_runs_to_its_end_and_a_cancel_ends_it(embedder, discs):
    seen: list[tuple[int, int]] = []
    attribute(
        embedder,
        discs,
        TEXT,
        "occlusion",
        settings=QUICK,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1] and len(seen) > 2
    assert all(done <= total for done, total in seen)
    calls: list[int] = []
    with pytest.raises(Cancelled):
        attribute(
            embedder,
            discs,
            TEXT,
            "integrated-gradients",
            settings=QUICK,
            progress=lambda done, total: calls.append(done),
            cancelled=lambda: len(calls) >= 3,
        )
    assert len(calls) == 3
    assert embedder.embed([Sample(TEXT)]).vectors["ssa-me"].shape == (1, 32), "the lock is free again"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "guesswork"}, "integrated-gradients"),
        ({"target": "rank"}, "similarity, difference"),
        ({"version": "third"}, "baseline, ssa-me"),
        ({"text": "  "}, "Say what"),
        ({"text": "<|im_end|>"}, "Say what"),
    ],
)
def test_bad_input_is_one_sentence(change, reason, embedder, discs):
    asked = {"method": "saliency", "text": TEXT, "target": "similarity", "version": "ssa-me"} | change
    with pytest.raises(InputError, match=reason):
        attribute(embedder, discs, asked.pop("text"), asked.pop("method"), **asked)


@pytest.mark.parametrize(
    "settings",
    [{"baseline": "nothing"}, {"steps": 1}, {"samples": 0}, {"window": 2, "stride": 3}, {"seed": -1}],
)
def test_settings_have_bounds(settings):
    with pytest.raises(InputError):
        Settings(**settings)


# --- odd images ------------------------------------------------------------------------------------------------------


def test_an_image_of_one_colour_says_so(embedder):
    plain = Image.new("RGB", (64, 64), (90, 40, 200))
    attribution = attribute(embedder, plain, TEXT, "integrated-gradients", settings=Settings(steps=4))
    assert attribution.constant and attribution.image.convergence is None
    assert any("single colour" in note for note in attribution.notes)
    assert any("points nowhere" in note for note in attribution.notes)


def test_an_image_without_subjects_says_so(checkpoint_of):
    embedder = SalientEmbedder.load(checkpoint_of("qwen2_vl"), "cpu")
    plain = Image.new("RGB", (64, 64), (90, 40, 200))
    for method in ("ablation-subjects", "kernel-shap", "shapley-sampling"):
        with pytest.raises(InputError, match="superpixels or occlusion"):
            attribute(embedder, plain, TEXT, method)
    assert attribute(embedder, plain, TEXT, "occlusion", settings=QUICK).values.shape[0] > 1


def test_equal_models_have_no_difference_and_say_so(checkpoint_of, discs, monkeypatch):
    """A bare backbone is the baseline; with all salience at 1 nothing is suppressed and SSA-ME is the same."""
    embedder = SalientEmbedder.load(checkpoint_of("qwen2_vl"), "cpu")
    passes = embedder._passes

    def all_salient(visual, images, phrases):
        return dataclasses.replace(salience(visual, images, phrases), salience=torch.ones(visual.valid.shape))

    salience = passes.salience
    monkeypatch.setattr(passes, "salience", all_salient)
    attribution = attribute(embedder, discs, TEXT, "occlusion", target="difference", settings=QUICK)
    assert np.abs(attribution.values).max() < 1e-6 and attribution.image.score == pytest.approx(0, abs=1e-6)
    assert any("no difference to explain" in note for note in attribution.notes)


def test_a_training_free_model_holds_its_salience(checkpoint_of, discs):
    embedder = SalientEmbedder.load(checkpoint_of("qwen3_vl"), "cpu")
    attribution = attribute(embedder, discs, TEXT, "integrated-gradients", settings=Settings(steps=64))
    assert "salience and regions" in attribution.held
    assert attribution.image.convergence < 0.05
    tokens = attribute(embedder, discs, TEXT, "layer-gradient-x-activation")
    assert np.abs(tokens.values).max() > 0
    assert "found anew" in attribute(embedder, discs, TEXT, "occlusion", settings=QUICK).held
    assert "no salience" in attribute(embedder, discs, TEXT, "saliency", version="baseline").held


@pytest.mark.parametrize("size", [(9, 64), (200, 16), (640, 480)])
def test_images_of_every_shape(size, embedder, picture):
    attribution = attribute(embedder, picture(*size), TEXT, "input-x-gradient")
    assert attribution.in_pixels().shape == size[::-1]
    assert np.isfinite(attribution.in_pixels(50, 40)).all()


def test_an_image_whose_size_is_not_its_own_after_another_resize(embedder, picture, monkeypatch):
    """With one number of pixels for all images, what a processor made is resized again; parts are not taken from that."""
    processor = embedder._passes.backbone.image_processor
    monkeypatch.setattr(processor, "size", {"shortest_edge": 64 * 64, "longest_edge": 64 * 64})
    image = picture(80, 64)
    first = processor(images=[image], return_tensors="pt")["image_grid_thw"][0]
    again = image.resize((int(first[2]) * 8, int(first[1]) * 8))
    assert processor(images=[again], return_tensors="pt")["image_grid_thw"][0].tolist() != first.tolist()
    for method in ("integrated-gradients", "occlusion"):
        found = attribute(embedder, image, TEXT, method, settings=QUICK)
        assert found.image.score == pytest.approx(
            embedder.explain(image, TEXT).similarity["ssa-me"], abs=2e-3
        )
        assert found.pixels.shape == (int(first[1]) * 8, int(first[2]) * 8)


def test_an_image_of_one_token(embedder, picture, monkeypatch):
    processor = embedder._passes.backbone.image_processor
    monkeypatch.setattr(processor, "size", {"shortest_edge": 16 * 16, "longest_edge": 16 * 16})
    attribution = attribute(embedder, picture(16, 16), TEXT, "integrated-gradients", settings=QUICK)
    assert len(attribution.values) == 1
    assert any("single token" in note for note in attribution.notes)
    assert attribute(embedder, picture(16, 16), TEXT, "occlusion", settings=QUICK).values.shape == (1,)


def test_words_of_other_scripts(embedder, discs):
    attribution = attribute(embedder, discs, "红色 bird", "input-x-gradient")
    assert [word.text for word in attribution.words] == ["红", "色", "bird"]
