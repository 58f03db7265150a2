"""Feature regeneration: pooling, suppression and enhancement by hand, and what they do to a real model's attention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from ssa_me.backbone import Backbone
from ssa_me.mini import build_mini, train_tokenizer
from ssa_me.outputs import VisualBatch
from ssa_me.regeneration import FeatureRegeneration, aggregate, salience_weights, suppress


def batch_of(tokens: torch.Tensor, valid: torch.Tensor, deep: tuple[torch.Tensor, ...] = ()) -> VisualBatch:
    count, length = valid.shape
    boxes = np.zeros((count, length, 4), np.float32)
    return VisualBatch(tokens, valid, deep, torch.ones(count, 3, dtype=torch.long), boxes, ((8, 8),) * count)


def ramp(batch: int = 1, length: int = 4, width: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(seed))


EVERY = torch.ones(1, 4, dtype=torch.bool)
ASKED = [True]
NO_REGIONS = torch.zeros(1, 0, 4)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a red dog on the beach"], 280)
    return build_mini(
        tokenizer, width=48, layers=2, heads=3, mlp=64, vision_width=32, vision_layers=1, side=64
    )


@pytest.fixture(scope="module")
def visual(backbone: Backbone) -> VisualBatch:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (64, w, 3), dtype=np.uint8)) for w in (64, 96)]
    with torch.no_grad():
        return backbone.vision_pass(images)


# --- the pieces ------------------------------------------------------------------------------------------------------


def test_weights_run_from_the_floor_to_one():
    salience = torch.tensor([[0.0, 0.5, 1.0]])
    torch.testing.assert_close(salience_weights(salience, 0.2), torch.tensor([[0.2, 0.6, 1.0]]))
    assert torch.equal(salience_weights(salience, 1.0), torch.ones(1, 3))


def test_aggregation_is_the_weighted_mean():
    tokens = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [5.0, 8.0]]])
    regions = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.25, 0.75], [0.0, 0.0, 0.0]]])
    expected = torch.tensor([[[2.0, 2.0], [4.5, 7.0], [0.0, 0.0]]])
    torch.testing.assert_close(aggregate(tokens, regions), expected)


def test_aggregation_does_not_depend_on_a_regions_scale():
    regions = torch.tensor([[[1.0, 0.5, 0.0, 0.25]]])
    torch.testing.assert_close(aggregate(ramp(), regions), aggregate(ramp(), regions * 0.01))


def test_suppression_draws_tokens_to_the_mean_of_the_real_ones():
    tokens = torch.tensor([[[0.0, 2.0], [4.0, 6.0], [100.0, 100.0]]])
    valid = torch.tensor([[True, True, False]])
    weights = torch.tensor([[1.0, 0.25, 1.0]])
    # the mean is (2, 4): the first stays, the second keeps a quarter of itself, padding is nothing
    expected = torch.tensor([[[0.0, 2.0], [2.5, 4.5], [0.0, 0.0]]])
    torch.testing.assert_close(suppress(tokens, valid, weights), expected)


@pytest.mark.parametrize("floor", [0.0, -0.1, 1.01])
def test_the_floor_lies_above_zero_and_up_to_one(floor):
    with pytest.raises(ValueError, match="floor"):
        FeatureRegeneration(6, floor)
    with pytest.raises(ValueError, match="floors must lie in"):
        FeatureRegeneration(6, 0.5, free_floor=floor)


# --- the module ------------------------------------------------------------------------------------------------------


def test_floor_one_and_gate_zero_are_exactly_the_identity():
    deep = ramp(seed=1)
    before = batch_of(ramp(), EVERY, (deep,))
    after = FeatureRegeneration(6, floor=1.0)(before, torch.rand(1, 4), torch.rand(1, 2, 4), ASKED)
    assert torch.equal(after.visual.tokens, before.tokens)
    assert torch.equal(after.visual.deep[0], deep)
    assert torch.equal(after.key_bias, torch.zeros(1, 4))
    assert torch.equal(after.gain, torch.ones(1, 4))
    assert after.visual.boxes is before.boxes and after.visual.sizes == before.sizes


def test_key_bias_is_the_logarithm_of_the_weights_and_zero_on_padding():
    valid = torch.tensor([[True, True, True, False]])
    after = FeatureRegeneration(6, floor=0.2)(
        batch_of(ramp(), valid), torch.tensor([[0.0, 0.5, 1.0, 0.0]]), NO_REGIONS, ASKED
    )
    torch.testing.assert_close(after.key_bias, torch.tensor([[math.log(0.2), math.log(0.6), 0.0, 0.0]]))
    torch.testing.assert_close(after.gain, torch.tensor([[0.2, 0.6, 1.0, 0.0]]))


def test_what_was_asked_for_and_what_was_not_have_floors_of_their_own():
    valid, salience = torch.ones(3, 4, dtype=torch.bool), torch.tensor([[0.0, 0.5, 1.0, 0.25]]).expand(3, -1)
    module = FeatureRegeneration(6, floor=0.2, free_floor=0.6)
    after = module(batch_of(ramp(batch=3), valid), salience, torch.zeros(3, 0, 4), [True, False, True])
    asked, free = torch.tensor([0.2, 0.6, 1.0, 0.4]), torch.tensor([0.6, 0.8, 1.0, 0.7])
    torch.testing.assert_close(after.gain, torch.stack([asked, free, asked]))
    torch.testing.assert_close(after.key_bias, torch.stack([asked, free, asked]).log())


def test_a_new_module_only_suppresses():
    tokens, salience = ramp(), torch.tensor([[0.0, 0.2, 0.7, 1.0]])
    after = FeatureRegeneration(6, floor=0.3)(batch_of(tokens, EVERY), salience, torch.rand(1, 3, 4), ASKED)
    assert torch.equal(after.visual.tokens, suppress(tokens, EVERY, salience_weights(salience, 0.3)))


def opened(gate: float = 0.5) -> FeatureRegeneration:
    torch.manual_seed(0)
    module = FeatureRegeneration(6, floor=1.0, inner=4)
    module.gate.data.fill_(gate)
    module.subject_norm.bias.data.fill_(0.3)  # as training leaves it: an empty slot is not zero by itself
    return module


def test_enhancement_with_one_subject_adds_its_value_everywhere():
    module, tokens = opened(), ramp()
    regions = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    after = module(batch_of(tokens, EVERY), torch.ones(1, 4), regions, ASKED).visual.tokens
    subject = module.subject_norm(tokens[:, :2].mean(1, keepdim=True))
    expected = tokens + 0.5 * module.out(module.value(subject))  # attention on the only subject is 1
    torch.testing.assert_close(after, expected)
    assert (after - tokens).abs().max() > 1e-3


def test_enhancement_attends_to_subjects_by_query_and_key():
    module, tokens = opened(), ramp()
    regions = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]])
    subjects = module.subject_norm(torch.stack([tokens[0, 0], tokens[0, 2:].mean(0)]))
    query, keys = module.query(module.query_norm(tokens[0])), module.key(subjects)
    first = ((query @ keys[0] - query @ keys[1]) / 2).sigmoid()[:, None]  # softmax of two, √inner = 2
    values = module.out(module.value(subjects))
    expected = tokens[0] + 0.5 * (first * values[0] + (1 - first) * values[1])
    after = module(batch_of(tokens, EVERY), torch.ones(1, 4), regions, ASKED).visual.tokens
    torch.testing.assert_close(after[0], expected)


def test_empty_regions_are_not_attended_to():
    module, tokens = opened(), ramp(batch=2)
    one = torch.tensor([1.0, 1.0, 0.0, 0.0])
    regions = torch.stack([torch.stack([one, torch.zeros(4)]), torch.zeros(2, 4)])
    valid = torch.ones(2, 4, dtype=torch.bool)
    after = module(batch_of(tokens, valid), torch.ones(2, 4), regions, ASKED * 2).visual.tokens
    alone = module(batch_of(tokens[:1], EVERY), torch.ones(1, 4), one[None, None], ASKED).visual.tokens
    torch.testing.assert_close(after[0], alone[0])  # the empty slot beside a region changes nothing
    assert torch.equal(after[1], tokens[1])  # an image with empty slots alone is left as it is


def test_without_regions_an_open_gate_changes_nothing():
    tokens = ramp()
    after = opened()(batch_of(tokens, EVERY), torch.ones(1, 4), NO_REGIONS, ASKED)
    assert torch.equal(after.visual.tokens, tokens)


def test_padding_stays_zero_under_an_open_gate():
    valid = torch.tensor([[True, True, True, False]])
    tokens = ramp() * valid[..., None]
    after = opened()(batch_of(tokens, valid), torch.ones(1, 4), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), ASKED)
    assert torch.equal(after.visual.tokens[0, 3], torch.zeros(6))


def test_deep_features_are_regenerated_with_the_same_weights():
    tokens, deep = ramp(), (ramp(seed=1), ramp(seed=2))
    salience = torch.tensor([[0.0, 0.3, 0.6, 1.0]])
    after = FeatureRegeneration(6, floor=0.25)(batch_of(tokens, EVERY, deep), salience, NO_REGIONS, ASKED)
    weights = salience_weights(salience, 0.25)
    for layer, made in zip(deep, after.visual.deep, strict=True):
        assert torch.equal(made, suppress(layer, EVERY, weights))
    opened_up = opened()(
        batch_of(tokens, EVERY, deep), salience, torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), ASKED
    )
    assert not torch.equal(opened_up.visual.deep[0], deep[0])


def test_every_trained_part_gets_a_gradient_once_the_gate_is_open():
    module = opened()
    regions = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]])
    module(batch_of(ramp(), EVERY), torch.ones(1, 4), regions, ASKED).visual.tokens.pow(2).sum().backward()
    silent = [name for name, p in module.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert not silent
    module = opened(gate=0.0)
    module(batch_of(ramp(), EVERY), torch.ones(1, 4), regions, ASKED).visual.tokens.pow(2).sum().backward()
    assert module.gate.grad.abs() > 0  # a closed gate learns to open


# --- in a language model ---------------------------------------------------------------------------------------------


def shares(
    backbone: Backbone, visual: VisualBatch, dark: torch.Tensor, key_bias: torch.Tensor | None
) -> torch.Tensor:
    """(B,) the last token's attention on the `dark` tokens, mean over layers."""
    with torch.no_grad():
        rows = backbone.language_pass(["a dog", "a red dog"], visual, key_bias, collect_rows=True).rows
    assert rows is not None
    return (rows.mean(1) * dark).sum(-1)


def test_attention_on_suppressed_tokens_falls_and_scaling_alone_does_not_do_it(backbone, visual):
    dark = visual.valid & (torch.arange(visual.valid.shape[1]) % 2 == 0)
    with torch.no_grad():
        after = FeatureRegeneration(backbone.width, floor=0.1)(
            visual, (~dark).float(), torch.zeros(2, 0, dark.shape[1]), ASKED * 2
        )
    plain = shares(backbone, visual, dark, None)
    scaled = visual.with_tokens(visual.tokens * after.gain[..., None], ())
    assert (plain > 0.1).all()
    assert (shares(backbone, scaled, dark, None) > 0.8 * plain).all()
    assert (shares(backbone, after.visual, dark, after.key_bias) < 0.3 * plain).all()


def test_the_key_bias_takes_attention_in_proportion_to_the_weight(backbone, visual):
    dark = visual.valid & (torch.arange(visual.valid.shape[1]) < 3)
    bias = math.log(0.5) * dark
    with torch.no_grad():
        plain = backbone.language_pass(["", ""], visual, None, collect_rows=True).rows
        biased = backbone.language_pass(["", ""], visual, bias, collect_rows=True).rows
    assert plain is not None and biased is not None
    # the first layer reads the same states: exp(logit) halves on dark tokens
    before = (plain[:, 0] * dark).sum(-1)
    torch.testing.assert_close((biased[:, 0] * dark).sum(-1), 0.5 * before / (1 - 0.5 * before))


def test_the_identity_leaves_a_whole_language_pass_as_it_was(backbone, visual):
    after = FeatureRegeneration(backbone.width, floor=1.0)(
        visual, torch.rand(visual.valid.shape), torch.rand(2, 3, visual.valid.shape[1]), ASKED * 2
    )
    with torch.no_grad():
        plain = backbone.language_pass(["a dog", ""], visual).last
        same = backbone.language_pass(["a dog", ""], after.visual, after.key_bias).last
    torch.testing.assert_close(same, plain, atol=1e-6, rtol=0)
