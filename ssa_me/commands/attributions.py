"""The part of `explain` that attributes: options, the work for each method and model, figures and tables."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands.base import Progress, table
from ssa_me.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ssa_me.attribution import Attribution, Quality, Settings
    from ssa_me.embedder import SalientEmbedder

MODELS = ("baseline", "ssa-me", "difference")
_PERMUTED = 4  # generated queries whose sides take the place of this one's
_PERMUTED_SEED = 3_000_000


@dataclass(frozen=True)
class Attributed:
    """entries: the JSON of each method and model. files: the figures, one a method. found: the same, a group a method."""

    entries: list[dict[str, Any]]
    files: list[Path]
    found: list[tuple[tuple[Attribution, Quality], ...]]


def add_arguments(parser: ArgumentParser) -> None:
    part = parser.add_argument_group("attributions")
    part.add_argument(
        "--method",
        metavar="NAME[,…]",
        help="attribute the score to pixels and words: integrated-gradients, gradient-shap, saliency, input-x-gradient, "
        "layer-gradient-x-activation, occlusion, ablation-subjects, ablation-superpixels, kernel-shap, shapley-sampling, "
        "or all",
    )
    part.add_argument(
        "--of",
        default=",".join(MODELS),
        metavar="NAME[,…]",
        help="whose score: baseline, ssa-me, difference (default: all three; a method without a sign has no difference)",
    )
    part.add_argument(
        "--baseline", default="blur", help="what an absent part shows: blur, mean, black, white, noise"
    )
    part.add_argument("--steps", type=int, default=32, help="points of Integrated Gradients (default: 32)")
    part.add_argument("--seed", type=int, default=0, help="of whatever a method draws (default: 0)")
    part.add_argument(
        "--region",
        metavar="X,Y,W,H",
        help="where the subject is, in pixels: the pointing game is then played",
    )
    part.add_argument("--sanity", action="store_true", help="also compare with a model of shuffled weights")
    part.add_argument("--balance", action="store_true", help="also weigh image against text")
    part.add_argument(
        "--format",
        choices=("png", "svg"),
        default="png",
        help="of the figures of attributions (default: png)",
    )


def methods_of(args: Namespace) -> list[str]:
    """The methods that are asked for. InputError for one that there is not, or options that make no sense."""
    from ssa_me.attribution import METHODS

    if not args.method:
        return []
    names = list(METHODS) if args.method == "all" else _names(args.method)
    for name in names:
        if name not in METHODS:
            raise InputError(f"There is no attribution method {name!r}. Choose one of {', '.join(METHODS)}.")
    for model in _names(args.of):
        if model not in MODELS:
            raise InputError(f"There is no score of {model!r}. Choose of {', '.join(MODELS)}.")
    if _names(args.of) == ["difference"] and not all(METHODS[name].signed for name in names):
        raise InputError(
            "A method without a sign has no difference. Leave out saliency, or name a version in --of."
        )
    return names


def settings_of(args: Namespace) -> Settings:
    """The settings that are asked for. InputError for a value out of bounds."""
    from ssa_me.attribution import Settings

    return Settings(baseline=args.baseline, steps=args.steps, seed=args.seed)


def region_of(args: Namespace, image: Image.Image) -> np.ndarray | None:
    """The mask (H, W) of `--region`. InputError where it is no box."""
    from ssa_me.samples import Subject

    if args.region is None:
        return None
    number = r"\s*(-?\d+(?:\.\d+)?)\s*"
    parts = re.fullmatch(",".join([number] * 4), args.region)
    if parts is None:
        raise InputError(
            "--region is not four numbers x,y,width,height in pixels. Write for instance 10,20,64,48."
        )
    x, y, w, h = (float(part) for part in parts.groups())
    return Subject("region", (x, y, w, h)).mask(image.width, image.height)


def attribute_all(
    args: Namespace,
    embedder: SalientEmbedder,
    image: Image.Image,
    methods: Sequence[str],
    settings: Settings,
    progress: Progress,
) -> Attributed:
    """Every method and model that is asked for; the figures are written."""
    from ssa_me.attribution import METHODS, assess, attribute, sanity_check
    from ssa_me.attribution.drawing import draw, write

    region = region_of(args, image)
    entries: list[dict[str, Any]] = []
    files: list[Path] = []
    groups: list[tuple[tuple[Attribution, Quality], ...]] = []
    for method in methods:
        found: list[tuple[Attribution, Quality]] = []
        for model in _names(args.of):
            difference = model == "difference"
            if difference and not METHODS[method].signed:
                continue
            made = attribute(
                embedder,
                image,
                args.text,
                method,
                target="difference" if difference else "similarity",
                version="ssa-me" if difference else model,
                settings=settings,
            )
            quality = assess(embedder, image, made, region=region)
            entry = made.to_json() | {"quality": quality.to_json()}
            if args.sanity:
                entry["sanity"] = sanity_check(embedder, image, made).to_json()
            entries.append(entry)
            found.append((made, quality))
            progress(
                f"{METHODS[method].title} of {made.model}: {made.seconds:.1f} s, trust {quality.verdict.level}"
            )
        files.append(write(draw(image, found, args.grid), args.out / f"attribution-{method}.{args.format}"))
        groups.append(tuple(found))
    return Attributed(entries, files, groups)


def balance_json(embedder: SalientEmbedder, image: Image.Image, text: str) -> dict[str, Any]:
    """The modality balance of the pair; what is permuted are generated scenes and their captions."""
    from ssa_me.attribution import modality_balance
    from ssa_me.samples import Sample
    from ssa_me.scenes import make_scene

    scenes = [make_scene(_PERMUTED_SEED + i, 256) for i in range(_PERMUTED)]
    others = [Sample(scene.captions[0], scene.image) for scene in scenes]
    return modality_balance(embedder, image, text, others=others).to_json()


def attributions_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """A table of the methods with their quality, and the notes below it."""
    rows = [
        [
            entry["title"],
            entry["model"],
            entry["score"],
            *(
                entry["quality"][key]
                for key in ("convergence", "deletion_auc", "insertion_auc", "infidelity_ratio")
            ),
            entry["quality"]["verdict"]["level"],
        ]
        for entry in entries
    ]
    header = ["method", "model", "F", "convergence", "deletion", "insertion", "infidelity ÷ zeros", "trust"]
    notes = dict.fromkeys(note for entry in entries for note in (entry["held"], *entry["notes"]))
    for entry in entries:
        if "sanity" in entry:
            notes[f"{entry['title']} of {entry['model']}: {entry['sanity']['reason']}"] = None
    return "\n".join([table(rows, header), *notes])


def _names(given: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
