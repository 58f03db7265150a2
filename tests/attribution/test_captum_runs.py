"""Methods against closed forms on linear models, and against Captum called plainly."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    LayerGradientXActivation,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)
from torch import Tensor, nn

from ssa_me.attribution import captum_runs
from ssa_me.attribution.captum_runs import KeptSets, evaluations, gradient_map, seeded, set_map, token_map
from ssa_me.attribution.scores import Place
from ssa_me.attribution.settings import METHODS, Settings

WEIGHTS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -4.0]])
INPUTS = torch.tensor([[[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]]])
BASELINE = torch.tensor([[[0.5, 0.0, 1.0], [0.0, 1.0, -1.0]]])
GAMES = np.array([1.0, -2.0, 0.5, 3.0])


def linear(inputs: Tensor) -> Tensor:
    return (inputs * WEIGHTS).sum((1, 2)) + 7


def curved(inputs: Tensor) -> Tensor:
    return torch.tanh((inputs * WEIGHTS).sum((1, 2)) / 5) + (inputs**2).sum((1, 2))


@pytest.mark.parametrize("method", ["integrated-gradients", "gradient-shap"])
def test_of_a_linear_model_each_number_gives_its_weight_times_its_change(method):
    found = gradient_map(method, linear, INPUTS, BASELINE, Settings(samples=400))
    wanted = WEIGHTS * (INPUTS - BASELINE)
    exact = method == "integrated-gradients"
    torch.testing.assert_close(found, wanted, atol=1e-5 if exact else 0.6, rtol=0)


def test_gradients_of_a_linear_model():
    torch.testing.assert_close(
        gradient_map("saliency", linear, INPUTS, BASELINE, Settings())[0], WEIGHTS.abs()
    )
    torch.testing.assert_close(
        gradient_map("input-x-gradient", linear, INPUTS, BASELINE, Settings()), WEIGHTS * INPUTS
    )


@pytest.mark.parametrize(
    ("method", "plain"),
    [
        ("integrated-gradients", lambda s: IntegratedGradients(s).attribute(INPUTS, BASELINE, n_steps=24)),
        ("saliency", lambda s: Saliency(s).attribute(INPUTS.clone().requires_grad_())),
        ("input-x-gradient", lambda s: InputXGradient(s).attribute(INPUTS.clone().requires_grad_())),
    ],
)
def test_gradients_are_captums(method, plain):
    found = gradient_map(method, curved, INPUTS, BASELINE, Settings(steps=24))
    torch.testing.assert_close(found, plain(curved).detach(), atol=1e-6, rtol=0)


def test_how_many_are_read_at_once_does_not_show(monkeypatch):
    settings = Settings(steps=24)
    wanted = gradient_map("integrated-gradients", curved, INPUTS, BASELINE, settings)
    sizes = []

    def noted(inputs: Tensor) -> Tensor:
        sizes.append(len(inputs))
        return curved(inputs)

    monkeypatch.setattr(captum_runs, "examples_at_once", lambda score, inputs: 5)
    found = gradient_map("integrated-gradients", noted, INPUTS, BASELINE, settings)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    assert max(sizes) <= 5 and sum(sizes) >= 24


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    sizes = []

    def small(inputs: Tensor) -> Tensor:
        sizes.append(len(inputs))
        if len(inputs) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return curved(inputs)

    monkeypatch.setattr(captum_runs, "examples_at_once", lambda score, inputs: 16)
    found = gradient_map("integrated-gradients", small, INPUTS, BASELINE, Settings(steps=8))
    wanted = gradient_map("integrated-gradients", curved, INPUTS, BASELINE, Settings(steps=8))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    assert max(sizes) == 8 and min(sizes) <= 4

    def broken(inputs: Tensor) -> Tensor:
        raise RuntimeError("another fault")

    with pytest.raises(RuntimeError, match="another fault"):
        gradient_map("integrated-gradients", broken, INPUTS, BASELINE, Settings(steps=8))


@pytest.mark.parametrize(("free", "wanted"), [(10**12, 16), (1, 1)])
def test_memory_decides_how_many_are_read_at_once(free, wanted, monkeypatch):
    monkeypatch.setattr(captum_runs, "free_bytes", lambda device: free)
    assert captum_runs.examples_at_once(curved, INPUTS) == wanted


def test_a_token_map_sums_over_the_channels_of_every_layer():
    """Gradient × activation at two places by hand: F = Σ a·V² + Σ b·D gives 2a·V² and b·D."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places = nn.ModuleList([Place(), Place()])

        def forward(self, inputs: Tensor) -> Tensor:
            first, second = self.places[0](inputs), self.places[1](3 * inputs)
            return (WEIGHTS * first**2).sum((1, 2)) + second.sum((1, 2))

    module = Two()
    found = token_map(module, module.places, INPUTS.clone().requires_grad_())
    torch.testing.assert_close(found, (2 * WEIGHTS * INPUTS[0] ** 2 + 3 * INPUTS[0]).sum(-1))
    plain = LayerGradientXActivation(module, module.places[0]).attribute(INPUTS.clone().requires_grad_())
    assert plain.shape == INPUTS.shape, "Captum gives channels, which are ours to sum"


# --- sets ------------------------------------------------------------------------------------------------------------


def additive(kept: np.ndarray) -> list[float]:
    return (kept @ GAMES + 0.25).tolist()


def gloves(kept: np.ndarray) -> list[float]:
    """A left glove (0) is worth something only with a right one (1 or 2); feature 3 adds a half."""
    return (kept[:, 0] * np.maximum(kept[:, 1], kept[:, 2]) + 0.5 * kept[:, 3]).astype(float).tolist()


@pytest.mark.parametrize(
    "method", ["ablation-subjects", "ablation-superpixels", "kernel-shap", "shapley-sampling"]
)
def test_of_an_additive_game_each_feature_gets_its_own(method):
    found = set_map(method, KeptSets(additive), (4,), Settings())
    np.testing.assert_allclose(found, GAMES, atol=1e-3)


def test_shapley_values_of_the_glove_game():
    """By all 24 orders: the left glove 2/3, each right one 1/6, and the half stays a half."""
    wanted = np.zeros(4)
    for order in permutations(range(4)):
        kept = np.zeros((1, 4), dtype=bool)
        for feature in order:
            before = gloves(kept)[0]
            kept[0, feature] = True
            wanted[feature] += (gloves(kept)[0] - before) / 24
    np.testing.assert_allclose(wanted, [2 / 3, 1 / 6, 1 / 6, 1 / 2])
    found = set_map("shapley-sampling", KeptSets(gloves), (4,), Settings(samples=400))
    np.testing.assert_allclose(found, wanted, atol=0.06)
    assert found.sum() == pytest.approx(1.5), "each order's shares add up to what there is"
    kernel = set_map("kernel-shap", KeptSets(gloves), (4,), Settings(kernel_samples=2000))
    np.testing.assert_allclose(kernel, wanted, atol=0.06)


def test_ablation_sees_no_right_glove():
    found = set_map("ablation-subjects", KeptSets(gloves), (4,), Settings())
    np.testing.assert_allclose(found, [1, 0, 0, 0.5], err_msg="either right glove stands in for the other")


@pytest.mark.parametrize(
    ("method", "plain"),
    [
        ("ablation-subjects", lambda s, z: FeatureAblation(s).attribute(z, 0.0)),
        ("shapley-sampling", lambda s, z: ShapleyValueSampling(s).attribute(z, 0.0, n_samples=7)),
        ("kernel-shap", lambda s, z: KernelShap(s).attribute(z, 0.0, n_samples=40)),
    ],
)
def test_sets_are_captums_under_the_same_seed(method, plain):
    settings = Settings(samples=7, kernel_samples=40, seed=3)
    found = set_map(method, KeptSets(gloves), (4,), settings)
    with seeded(3):
        wanted = plain(KeptSets(gloves), torch.ones(1, 4, dtype=torch.float64))
    np.testing.assert_allclose(found, wanted[0].double().numpy(), atol=1e-6)


def test_occlusion_is_captums_and_a_window_larger_than_the_image_is_all_of_it():
    def score(kept: np.ndarray) -> list[float]:
        return (kept @ np.arange(12.0)).tolist()

    found = set_map("occlusion", KeptSets(score), (3, 4), Settings(window=2))
    plain = Occlusion(KeptSets(score)).attribute(
        torch.ones(1, 3, 4, dtype=torch.float64), (2, 2), (1, 1), baselines=0.0
    )
    np.testing.assert_allclose(found, plain[0].numpy())
    assert found[0, 0] == 0 + 1 + 4 + 5, "the corner lies in one window alone"
    np.testing.assert_allclose(set_map("occlusion", KeptSets(score), (3, 4), Settings(window=9)), 66)


@pytest.mark.parametrize(
    "method", [name for name, its in METHODS.items() if its.kind in ("regions", "occlusion")]
)
def test_a_lone_feature_gets_all(method):
    assert set_map(method, KeptSets(lambda kept: (3.0 * kept[:, 0]).tolist()), (1,), Settings()).tolist() == [
        3.0
    ]


def test_every_set_is_scored_once():
    asked: list[bytes] = []

    def score(kept: np.ndarray) -> list[float]:
        asked.extend(row.tobytes() for row in kept)
        return additive(kept)

    set_map("shapley-sampling", KeptSets(score, at_once=3), (4,), Settings(samples=50))
    assert len(asked) == len(set(asked)) <= 16


def test_the_same_seed_gives_the_same_and_others_randomness_stays():
    settings = Settings(samples=4, seed=5)
    torch.manual_seed(11)
    np.random.seed(11)
    untouched = torch.rand(3), np.random.rand(3)
    torch.manual_seed(11)
    np.random.seed(11)
    first = gradient_map("gradient-shap", curved, INPUTS, BASELINE, settings)
    assert torch.equal(torch.rand(3), untouched[0]) and np.array_equal(np.random.rand(3), untouched[1])
    assert torch.equal(first, gradient_map("gradient-shap", curved, INPUTS, BASELINE, settings))
    other = gradient_map("gradient-shap", curved, INPUTS, BASELINE, Settings(samples=4, seed=6))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_an_estimate_of_its_work(method):
    assert 1 <= evaluations(method, (5,), Settings()) <= 200
