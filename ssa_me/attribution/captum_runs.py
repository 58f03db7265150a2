"""Captum's methods on a score, called alike: gradients at an input, or sets of features that are kept.

A score is any function of a batch (B, …) to (B,); nothing here knows images, texts or models. All of it is deterministic
by the seed, though Captum draws from the process's generators: while it draws they are seeded, and put back afterwards.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from captum.attr import (
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    LayerGradientXActivation,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)
from torch import Tensor, nn

from ssa_me.attribution.settings import Settings
from ssa_me.devices import free_bytes, in_batches, is_out_of_memory

Score = Callable[[Tensor], Tensor]
MOST_AT_ONCE = 16
_SHARE = 0.25  # of the free memory, for one batch
_BESIDE = 2  # a pass needs about as much beside what its graph keeps
_NOISE = 0.1  # of Gradient SHAP's baselines, as a share of the input's deviation
_GENERATORS = threading.Lock()  # the process has one set of them, whoever draws


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The generators of torch and NumPy start at `seed` and are put back afterwards; one thread at a time."""
    with _GENERATORS, torch.random.fork_rng(devices=[]):
        kept = np.random.get_state()
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(kept)


# --- gradients -------------------------------------------------------------------------------------------------------


def gradient_map(method: str, score: Score, inputs: Tensor, baseline: Tensor, settings: Settings) -> Tensor:
    """The contribution of every number of `inputs` (1, …) by a gradient method; `baseline` is of the same shape.

    As many points are read at once as a quarter of the free memory holds, at most MOST_AT_ONCE, so that memory does not
    grow with their number.
    """
    run = _GRADIENTS[method]
    size = examples_at_once(score, inputs)
    while True:
        try:
            return run(score, inputs, baseline, settings, size).detach()
        except RuntimeError as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        size //= 2  # out here, where the failed batch's tensors are no longer held by its traceback
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def token_map(score: nn.Module, layers: Iterable[nn.Module], inputs: Tensor) -> Tensor:
    """Gradient × activation at `layers`, (1, N, D) each, summed over them and over D: (N,)."""
    found = LayerGradientXActivation(score, list(layers)).attribute(inputs)
    parts = found if isinstance(found, list | tuple) else [found]
    return torch.stack([part.detach().sum(-1)[0] for part in parts]).sum(0)


def examples_at_once(score: Score, inputs: Tensor) -> int:
    """How many examples a gradient may be taken of at once, by what the graph of one keeps and by what is free."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), torch.enable_grad():
        score(inputs.detach().clone().requires_grad_())
    each = _BESIDE * max(1, sum(kept.values()))
    return max(1, min(MOST_AT_ONCE, int(_SHARE * free_bytes(inputs.device)) // each))


def _integrated(score: Score, inputs: Tensor, baseline: Tensor, settings: Settings, size: int) -> Tensor:
    with warnings.catch_warnings():  # a batch of one example and many steps is what is wanted
        warnings.filterwarnings("ignore", message="Internal batch size")
        found: Tensor = IntegratedGradients(score).attribute(
            inputs, baseline, n_steps=settings.steps, internal_batch_size=size
        )
    return found


def _gradient_shap(score: Score, inputs: Tensor, baseline: Tensor, settings: Settings, size: int) -> Tensor:
    total = torch.zeros_like(inputs)
    with seeded(settings.seed):
        noise = torch.randn((8, *inputs.shape[1:])).to(inputs) * inputs.std() * _NOISE
        baselines = baseline + noise - noise.mean(0, keepdim=True)
        left = settings.samples
        while left:
            count = min(size, left)
            total += count * GradientShap(score).attribute(inputs, baselines, n_samples=count).detach()
            left -= count
    return total / settings.samples


def _saliency(score: Score, inputs: Tensor, baseline: Tensor, settings: Settings, size: int) -> Tensor:
    found: Tensor = Saliency(score).attribute(inputs.detach().clone().requires_grad_())
    return found


def _input_x_gradient(
    score: Score, inputs: Tensor, baseline: Tensor, settings: Settings, size: int
) -> Tensor:
    found: Tensor = InputXGradient(score).attribute(inputs.detach().clone().requires_grad_())
    return found


_GRADIENTS: Mapping[str, Callable[[Score, Tensor, Tensor, Settings, int], Tensor]] = {
    "integrated-gradients": _integrated,
    "gradient-shap": _gradient_shap,
    "saliency": _saliency,
    "input-x-gradient": _input_x_gradient,
    "layer-gradient-x-activation": _input_x_gradient,
}
"""At the embeddings of words a layer's gradient × activation is input × gradient: they are the first layer's output."""


# --- sets of features ------------------------------------------------------------------------------------------------


class KeptSets:
    """The score of sets of features that are kept, each computed once. Called by Captum with (B, …) of ones and zeros.

    evaluate: (B, M) bool → B numbers. Batches that do not fit into memory are halved.
    """

    def __init__(
        self, evaluate: Callable[[np.ndarray], Sequence[float]], at_once: int = MOST_AT_ONCE
    ) -> None:
        self._evaluate, self._at_once = evaluate, at_once
        self._known: dict[bytes, float] = {}

    def __call__(self, kept: Tensor) -> Tensor:
        rows = (kept.detach().reshape(len(kept), -1) > 0.5).cpu().numpy()
        new = list({row.tobytes(): row for row in rows if row.tobytes() not in self._known}.values())

        def work(part: Sequence[np.ndarray]) -> Sequence[float]:
            return self._evaluate(np.stack(part))

        for row, value in zip(new, in_batches(work, new, self._at_once), strict=True):
            self._known[row.tobytes()] = value
        return torch.tensor([self._known[row.tobytes()] for row in rows], dtype=torch.float64)


def set_map(method: str, score: KeptSets, shape: Sequence[int], settings: Settings) -> np.ndarray:
    """The contribution of each feature of `shape`, (M,) or a grid of windows (rows, columns), by a method of sets."""
    features = int(np.prod(shape))
    ones = torch.ones(1, *shape, dtype=torch.float64)
    if features == 1:  # a lone feature's Shapley value is what taking it away costs
        found = FeatureAblation(score).attribute(ones, 0.0)
    else:
        with seeded(settings.seed), torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Feature mask is missing", category=UserWarning)
            found = _SETS[method](score, ones, settings)
    return found[0].double().numpy()


def _occlusion(score: KeptSets, ones: Tensor, settings: Settings) -> Tensor:
    window = tuple(min(settings.window, side) for side in ones.shape[1:])
    strides = tuple(min(settings.stride, side) for side in window)
    found: Tensor = Occlusion(score).attribute(
        ones, window, strides, baselines=0.0, perturbations_per_eval=MOST_AT_ONCE
    )
    return found


def _ablation(score: KeptSets, ones: Tensor, settings: Settings) -> Tensor:
    found: Tensor = FeatureAblation(score).attribute(ones, 0.0, perturbations_per_eval=MOST_AT_ONCE)
    return found


def _shapley(score: KeptSets, ones: Tensor, settings: Settings) -> Tensor:
    found: Tensor = ShapleyValueSampling(score).attribute(
        ones, 0.0, n_samples=settings.samples, perturbations_per_eval=MOST_AT_ONCE
    )
    return found


def _kernel(score: KeptSets, ones: Tensor, settings: Settings) -> Tensor:
    found: Tensor = KernelShap(score).attribute(
        ones, 0.0, n_samples=settings.kernel_samples, perturbations_per_eval=MOST_AT_ONCE
    )
    return found


_SETS: Mapping[str, Callable[[KeptSets, Tensor, Settings], Tensor]] = {
    "occlusion": _occlusion,
    "ablation-subjects": _ablation,
    "ablation-superpixels": _ablation,
    "kernel-shap": _kernel,
    "shapley-sampling": _shapley,
}


def evaluations(method: str, features: Sequence[int], settings: Settings) -> int:
    """About how many examples a method scores, for a side of `features` (M,) or (rows, columns)."""
    count = int(np.prod(features))
    windows = int(np.prod([max(1, -(-(side - settings.window) // settings.stride) + 1) for side in features]))
    return {
        "integrated-gradients": settings.steps + 3,
        "gradient-shap": settings.samples + 3,
        "occlusion": windows + 2,
        "ablation-subjects": count + 2,
        "ablation-superpixels": count + 2,
        "kernel-shap": min(2**count, settings.kernel_samples + 2),
        "shapley-sampling": min(2**count, settings.samples * count + 2),
    }.get(method, 4)
