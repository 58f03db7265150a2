"""The ways in which an attribution goes wrong without a word, each of them shut."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me.attribution import BASELINES, Settings, attribute
from ssa_me.attribution.attributing import attribute_with
from ssa_me.attribution.scores import ImageScores
from ssa_me.attribution.watching import Watch
from ssa_me.attribution.word_scores import WordScores, words_of
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.samples import Sample

TEXT = "a red circle on the left of a blue bird"
BOTH = {"ssa-me": 1.0, "baseline": -1.0}


@pytest.fixture
def image_scores(embedder, discs) -> ImageScores:
    return ImageScores(embedder.exact, discs, TEXT, BOTH, Watch(1))


@pytest.fixture
def text_scores(embedder, discs) -> WordScores:
    return WordScores(embedder.exact, discs, TEXT, BOTH, Watch(1))


def test_what_both_sides_share_does_not_cancel_the_words(text_scores):
    """Both sides read by the same layers in one pass would give zeros: here a step along the gradient moves the score."""
    states = text_scores.states.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(text_scores.of_states(states).sum(), states)
    gradient = gradient.detach()
    direction = gradient / gradient.norm()
    step = 1e-3
    with torch.no_grad():
        ends = [float(text_scores.of_states(text_scores.states + s * step * direction)) for s in (1, -1)]
    assert float(gradient.norm()) > 1e-3
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradient.norm()), rel=0.05)


def test_the_gradient_of_the_image_is_that_of_the_score(image_scores):
    patches = image_scores.patches.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(image_scores.of_patches(patches).sum(), patches)
    gradient = gradient.detach()
    direction, step = gradient / gradient.norm(), 1e-2
    with torch.no_grad():
        ends = [float(image_scores.of_patches(image_scores.patches + s * step * direction)) for s in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradient.norm()), rel=0.05)


def test_the_token_map_is_gradient_times_activation_summed_over_channels(embedder, discs):
    """By hand at the merger's output; a class activation map would sum over the tokens instead."""
    scores = ImageScores(embedder.exact, discs, TEXT, {"baseline": 1.0}, Watch(1))
    with embedder.exact() as passes:
        visual = scores._encode(passes, scores.patches)
        tokens = visual.tokens.detach().requires_grad_()
        cosine = scores._read(passes, visual.with_tokens(tokens, visual.deep))
        (gradient,) = torch.autograd.grad(cosine.sum(), tokens)
    wanted = (gradient * tokens).detach().sum(-1)[0].numpy()
    found = attribute(embedder, discs, TEXT, "layer-gradient-x-activation", version="baseline")
    np.testing.assert_allclose(found.values, wanted, atol=1e-5)
    assert np.abs(wanted).max() > 1e-4


def test_the_last_layer_says_nothing_of_image_tokens_and_is_not_asked(embedder, discs):
    """Of the baseline the last layer's output at image tokens has no part in the score; the tokens before it have."""
    with embedder.exact() as passes:
        visual = passes.backbone.vision_pass([discs])
        visual = visual.with_tokens(visual.tokens.detach().requires_grad_(), visual.deep)
        output = passes.read([""], visual, None, ("baseline",))["baseline"]
        last, first = torch.autograd.grad(
            output.embedding().sum(), (output.hidden, visual.tokens), allow_unused=True
        )
    assert last is None and first.abs().max() > 0
    for method in ("saliency", "layer-gradient-x-activation"):
        assert np.abs(attribute(embedder, discs, TEXT, method, version="baseline").values).max() > 0


def test_patches_of_one_image_are_one_example(image_scores):
    """Qwen-VL's patches have no axis of examples: several images at once score as each alone."""
    many = torch.cat([image_scores.patches * scale for scale in (1.0, 0.5, -0.2)])
    together = image_scores.of_patches(many)
    alone = torch.cat([image_scores.of_patches(one[None]) for one in many])
    assert together.shape == (3,)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert together.std() > 1e-4


def test_zero_is_no_baseline(embedder):
    with pytest.raises(InputError, match="zeros is refused"):
        Settings(baseline="zero")
    mean = np.round(np.array(embedder._passes.backbone.image_processor.image_mean) * 255)
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[:32], pixels[32:] = mean + 30, mean - 30
    stripes = Image.fromarray(pixels)
    with pytest.raises(InputError, match="reads as zero"):
        attribute(embedder, stripes, TEXT, "integrated-gradients", settings=Settings(baseline="mean"))
    assert attribute(embedder, stripes, TEXT, "occlusion", settings=Settings(baseline="mean")).values.any()


@pytest.mark.parametrize("baseline", BASELINES)
def test_from_every_other_baseline_gradients_add_up(baseline, embedder, discs):
    found = attribute(
        embedder, discs, TEXT, "integrated-gradients", settings=Settings(baseline=baseline, steps=128)
    )
    assert abs(found.image.delta) < 0.02


def test_an_absent_text_keeps_the_prompt_and_its_end(embedder, text_scores):
    own = text_scores.labels >= 0
    with embedder.exact() as passes:
        ids, mask = passes.backbone.tokenize(text_scores.readings)
        for row, reading in enumerate(text_scores.readings):
            _, start, spans = passes.backbone.text_spans(reading)
            assert own[row].sum() == len(spans) and own[row, start] and not own[row, :start].any()
            last = int(mask[row].sum()) - 1
            assert int(ids[row, last]) == passes.backbone.tokenizer.eos_token_id and not own[row, last]
    assert torch.equal(text_scores.absent[:, ~own], text_scores.states[:, ~own])
    assert not torch.equal(text_scores.absent[:, own], text_scores.states[:, own])
    assert text_scores.absent[:, own].norm(dim=-1).min() > 0, "zero is no baseline for words either"


def test_a_word_is_followed_into_every_reading_of_it(text_scores):
    """SSA-ME reads the text and each subject that it names; a subject's words are those of the text."""
    assert text_scores.readings == [TEXT, "a red circle", "a blue bird"]
    words = [TEXT[a:b] for a, b in text_scores.words]
    for reading, labels in zip(text_scores.readings, text_scores.labels, strict=True):
        followed = list(dict.fromkeys(labels[labels >= 0].tolist()))
        assert [words[i] for i in followed] == reading.split()
    assert set(text_scores.labels[2][text_scores.labels[2] >= 0]) == {7, 8, 9}, "the second a, blue, bird"


def test_words_are_read_as_the_model_reads_them(embedder, text_scores):
    spoken = text_scores.of_states(text_scores.states)
    assert float(spoken) == pytest.approx(text_scores.of_kept(np.ones((1, len(text_scores.words)), bool))[0])
    two = text_scores.of_states(text_scores.states.repeat(2, 1, 1, 1))
    torch.testing.assert_close(two, spoken.expand(2), atol=1e-6, rtol=0)
    before = embedder.embed([Sample("a tree")]).vectors["ssa-me"]
    text_scores.of_states(text_scores.absent)
    assert np.array_equal(embedder.embed([Sample("a tree")]).vectors["ssa-me"], before), (
        "no hook stays behind"
    )


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_patches_come_back_in_raster_order(family, backbone_of, discs):
    """Qwen-VL orders patches in blocks of a token's; on the image each is where its pixels are."""
    backbone = backbone_of(family)
    patches, grid = backbone.pixels([discs])
    pixels = backbone.to_pixels(patches, grid[0])
    processor = backbone.image_processor
    small = discs.resize((pixels.shape[2], pixels.shape[1]), Image.Resampling.BICUBIC)
    wanted = (np.asarray(small) / 255 - processor.image_mean) / processor.image_std
    times = backbone.traits.frames(backbone.model.config)
    np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy() / times, wanted, atol=0.03)


def test_a_contribution_lands_where_its_patch_is(image_scores):
    """Only the patches of the last token count: the map is dark but for its cell."""
    contributions = torch.zeros_like(image_scores.patches[0])
    contributions[-4:] = 1.0
    pixels = image_scores.on_pixels(contributions)
    rows, columns = image_scores.tokens
    assert pixels[-16:, -16:].min() > 0
    assert (
        pixels.sum() == pytest.approx(float(contributions.sum())) == pytest.approx(pixels[-16:, -16:].sum())
    )
    assert pixels.shape == (rows * 16, columns * 16)


def test_half_precision_is_attributed_in_full(trained_checkpoint, discs):
    """A model that runs in bf16 is attributed by an fp32 copy of it, which shares no weight and is made once."""
    half = SalientEmbedder.load(trained_checkpoint, "cpu")
    half._passes.backbone.model.to(torch.bfloat16)
    for part in (half._passes.parts, half._passes.fresh):
        part.to(torch.bfloat16)
    with half.exact() as passes:
        assert passes.backbone.dtype == torch.float32 and half._passes.backbone.dtype == torch.bfloat16
        copied = passes
    found = attribute(
        half, discs, TEXT, "integrated-gradients", settings=Settings(steps=256, baseline="black")
    )
    assert found.image.convergence < 0.05
    with half.exact() as passes:
        assert passes is copied
    whole = SalientEmbedder.load(trained_checkpoint, "cpu")
    with whole.exact() as passes:
        assert passes is whole._passes, "a model in fp32 needs no copy"


def test_a_copy_that_does_not_fit_is_refused(embedder, monkeypatch):
    monkeypatch.setattr("ssa_me.passes.free_bytes", lambda device: 1000)
    with pytest.raises(InputError, match="more memory"):
        embedder._passes.copied()


def test_a_copy_gives_the_same_and_switches_its_own_adapters(embedder, discs):
    copied = embedder._passes.copied()
    assert copied.adapters is not embedder._passes.adapters
    assert copied.adapters.backbone is copied.backbone
    settings = Settings(steps=4)
    asked = (discs, TEXT, "integrated-gradients", "difference", "ssa-me", settings)
    mine = attribute_with(lambda: nullcontext(copied), *asked, Watch(1))
    theirs = attribute_with(embedder.exact, *asked, Watch(1))
    np.testing.assert_allclose(mine.values, theirs.values, atol=1e-6)
    with torch.no_grad():
        for parameter in copied.backbone.model.parameters():
            parameter.zero_()
    again = attribute_with(embedder.exact, *asked, Watch(1))
    np.testing.assert_array_equal(again.values, theirs.values)


@pytest.mark.parametrize(
    ("text", "spans", "words", "of_tokens"),
    [
        ("a red bird", [(0, 1), (1, 5), (5, 8), (8, 10)], ["a", "red", "bird"], [0, 1, 2, 2]),
        ("  two  ", [(0, 3), (3, 5)], ["two"], [0, 0]),
        ("红鸟", [(0, 1), (0, 1), (1, 2)], ["红", "鸟"], [0, 0, 1]),
        ("cut off", [(0, 3)], ["cut"], [0]),
        ("a b", [(0, 0), (0, 1), (1, 2), (2, 3)], ["a", "b"], [0, 0, 0, 1]),
    ],
)
def test_words_and_their_tokens(text, spans, words, of_tokens):
    found, owners = words_of(text, spans)
    assert [text[a:b] for a, b in found] == words and owners == of_tokens


# --- threads ---------------------------------------------------------------------------------------------------------


def test_attributions_and_searches_at_once_give_what_they_give_alone(embedder, discs, picture):
    """Switched adapters, replaced embeddings and drawn numbers are shared by all threads; none of it may show."""
    settings = Settings(steps=4, samples=2, kernel_samples=8)

    def attributed(method: str, **options: str) -> np.ndarray:
        found = attribute(embedder, discs, TEXT, method, settings=settings, **options)
        return np.concatenate([found.values, [word.value for word in found.words]])

    work = [
        lambda: embedder.embed([Sample(TEXT), Sample(image=picture()), Sample("a tree")]).vectors["ssa-me"],
        lambda: embedder.embed_query("a red bird", discs, 0.3)["baseline"],
        lambda: attributed("integrated-gradients", target="difference"),
        lambda: attributed("gradient-shap", version="baseline"),
        lambda: attributed("layer-gradient-x-activation"),
        lambda: attributed("kernel-shap"),
        lambda: attributed("shapley-sampling", target="difference"),
        lambda: embedder.explain(discs, TEXT).attention["ssa-me"],
        lambda: embedder.control_maps([discs], [TEXT])[0].gradient["baseline"],
    ]
    serial = [task() for task in work]
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(work)), 2)).tolist()
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda i: work[i](), order))
    for i, numbers in zip(order, parallel, strict=True):
        np.testing.assert_allclose(numbers, serial[i], atol=2e-5, rtol=0, err_msg=f"task {i}")
