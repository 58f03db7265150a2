"""What can be asked for: the methods, the baselines, and the settings of an attribution. Data alone; it computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ssa_me.checkpoint import BASELINE, SSA_ME, VERSIONS
from ssa_me.errors import InputError
from ssa_me.samples import BBox

Target = Literal["similarity", "difference"]
TARGETS: tuple[Target, ...] = get_args(Target)
Kind = Literal["gradient", "tokens", "occlusion", "regions"]
"""What a method reads: gradients at pixels, gradients at image tokens, windows of cells, whole regions."""
Features = Literal["subjects", "superpixels"]


@dataclass(frozen=True)
class Method:
    """A method. title: for people. summary: one sentence. complete: its contributions add up to the change of the score
    between baseline and image, exactly or in the limit. signed: they have a sign, and a difference between the versions
    may be taken. features: the regions that it takes away. source: the paper."""

    title: str
    summary: str
    kind: Kind
    source: str
    complete: bool = False
    signed: bool = True
    features: Features | None = None


METHODS: Mapping[str, Method] = {
    "integrated-gradients": Method(
        "Integrated Gradients",
        "Gradients averaged on the straight way from the baseline to the image; contributions add up to the change.",
        "gradient",
        "arXiv 1703.01365",
        complete=True,
    ),
    "gradient-shap": Method(
        "Gradient SHAP",
        "The same at random points of the way, with a noisy baseline; contributions add up on average.",
        "gradient",
        "arXiv 1705.07874",
        complete=True,
    ),
    "saliency": Method(
        "Saliency",
        "The size of the gradient: where a small change of the pixels moves the score most, whichever way.",
        "gradient",
        "arXiv 1312.6034",
        signed=False,
    ),
    "input-x-gradient": Method(
        "Input × Gradient",
        "The gradient times the pixels as the model reads them: the score's first-order share of each.",
        "gradient",
        "arXiv 1605.01713",
    ),
    "layer-gradient-x-activation": Method(
        "Layer Gradient × Activation",
        "The same at the image tokens that the language model reads, after the vision encoder.",
        "tokens",
        "arXiv 1605.01713",
    ),
    "occlusion": Method(
        "Occlusion",
        "How far the score falls while a window of the image shows the baseline; the mean over the windows.",
        "occlusion",
        "arXiv 1311.2901",
    ),
    "ablation-subjects": Method(
        "Ablation of subjects",
        "How far the score falls when one subject's region, or all the rest, shows the baseline.",
        "regions",
        "arXiv 1311.2901",
        features="subjects",
    ),
    "ablation-superpixels": Method(
        "Ablation of superpixels",
        "How far the score falls when one patch of like colour shows the baseline.",
        "regions",
        "arXiv 1311.2901",
        features="superpixels",
    ),
    "kernel-shap": Method(
        "Kernel SHAP",
        "Shapley values of subjects and the rest, by a weighted regression over random sets of them.",
        "regions",
        "arXiv 1705.07874",
        complete=True,
        features="subjects",
    ),
    "shapley-sampling": Method(
        "Shapley value sampling",
        "Shapley values of subjects and the rest: what each adds, averaged over random orders of adding them.",
        "regions",
        "Castro et al., 2009, doi 10.1016/j.cor.2008.04.004",
        complete=True,
        features="subjects",
    ),
}

BASELINES: Mapping[str, str] = {
    "blur": "the image, blurred until no thing can be told",
    "mean": "the image's mean colour",
    "black": "black",
    "white": "white",
    "noise": "random colours, drawn by the seed",
}


@dataclass(frozen=True)
class Settings:
    """How to attribute. The same settings, image, text and weights give the same numbers.

    baseline: what stands for an absent part of the image, one of BASELINES. steps: points of Integrated Gradients.
    samples: draws of Gradient SHAP, and orders of Shapley value sampling. kernel_samples: sets of Kernel SHAP. window,
    stride: of Occlusion, in image tokens and words. superpixels: about how many. regions: named boxes (x, y, width,
    height) in pixels of the upright image that stand for the subjects instead of those found. Raises InputError for a
    value out of bounds.
    """

    baseline: str = "blur"
    steps: int = 32
    samples: int = 16
    kernel_samples: int = 128
    window: int = 2
    stride: int = 1
    superpixels: int = 24
    regions: tuple[tuple[str, BBox], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline == "zero":
            raise InputError(
                "A baseline of zeros is refused: such a model reads a patch's direction alone, so that the way from zero "
                f"to the image has no middle and gradients do not add up. Choose one of {', '.join(BASELINES)}."
            )
        if self.baseline not in BASELINES:
            raise InputError(f"There is no baseline {self.baseline!r}. Choose one of {', '.join(BASELINES)}.")
        for name, value, low, high in (
            ("steps", self.steps, 2, 1024),
            ("samples", self.samples, 1, 512),
            ("kernel samples", self.kernel_samples, 8, 4096),
            ("window", self.window, 1, 64),
            ("stride", self.stride, 1, self.window),
            ("superpixels", self.superpixels, 2, 256),
            ("seed", self.seed, 0, 2**31 - 1),
        ):
            if not low <= value <= high:
                raise InputError(f"The {name} must lie between {low} and {high}, not {value}.")


def method_of(name: str) -> Method:
    """The method called `name`. InputError lists those that there are."""
    if name not in METHODS:
        raise InputError(f"There is no attribution method {name!r}. Choose one of {', '.join(METHODS)}.")
    return METHODS[name]


def weights_of(name: str, target: str, version: str) -> dict[str, float]:
    """Version → its factor in the score that is attributed: 1 for the similarity of `version`; for the difference 1 for
    SSA-ME and −1 for the baseline. InputError where a target or version is unknown, or a difference is not valid."""
    if target not in TARGETS:
        raise InputError(f"There is no target {target!r}. Choose one of {', '.join(TARGETS)}.")
    if version not in VERSIONS:
        raise InputError(f"There is no version {version!r}. Versions: {', '.join(VERSIONS)}.")
    method = method_of(name)
    if target == "similarity":
        return {version: 1.0}
    if not method.signed:
        signed = ", ".join(other for other, its in METHODS.items() if its.signed)
        raise InputError(
            f"{method.title} has no sign, so the difference of two of its maps would mean nothing. Choose one of {signed}."
        )
    return {SSA_ME: 1.0, BASELINE: -1.0}
