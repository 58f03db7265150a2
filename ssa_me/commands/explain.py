"""`explain`: what both models look at in an image for a text, and what makes their scores, as numbers and pictures."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.commands import attributions
from ssa_me.commands.base import Answer, Command, Progress, add_salience, load_embedder, shortened, table
from ssa_me.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from ssa_me.embedder import SalientEmbedder
    from ssa_me.explanation import Alignment, Explanation

_TITLES = {"baseline": "Baseline", "ssa-me": "SSA-ME"}
REPORT = "report.html"
_STAGES = ("semantic", "expert", "fused", "head", "gain")
_REGION, _RIVAL = (60, 220, 90), (255, 90, 60)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--image", type=Path, required=True, metavar="F", help="the image")
    parser.add_argument("--text", required=True, metavar="T", help="the query")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the pictures")
    parser.add_argument(
        "--phrase",
        action="append",
        metavar="P",
        help="a subject to align; repeat (default: those of the text)",
    )
    add_salience(parser)
    parser.add_argument(
        "--grid", action="store_true", help="paint the model's true grid instead of smoothing"
    )
    parser.add_argument(
        "--report", action="store_true", help="also write all of it as one self-contained page, report.html"
    )
    attributions.add_arguments(parser)


def _run(args: Namespace, progress: Progress) -> Answer:
    from ssa_me.gallery.results import Query
    from ssa_me.images import load_image

    if not args.text.strip():
        raise InputError("--text is empty. Say what to look for in the image.")
    if not all(phrase.strip() for phrase in args.phrase or ()):
        raise InputError("--phrase is empty. Name a subject, or leave the option out.")
    for text in (args.text, *(args.phrase or ())):
        Query(text, None)  # a text too long, or none at all, is refused as in a search
    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"{args.out} is a file. Give a folder to --out.")
    methods, settings = attributions.methods_of(args), attributions.settings_of(args)
    image = load_image(args.image)
    attributions.region_of(args, image)  # refused before a model is loaded
    embedder = load_embedder(args, progress)
    explanation = embedder.explain(image, args.text, args.phrase, args.salience)
    args.out.mkdir(parents=True, exist_ok=True)
    files = write_figures(explanation, image, args.out, grid=args.grid)
    made = attributions.attribute_all(args, embedder, image, methods, settings, progress)
    files += made.files
    if args.report:
        files.append(_write_report(args, image, explanation, embedder, made))
    data = explanation.to_json() | {"attributions": made.entries, "files": [str(file) for file in files]}
    if args.balance:
        data["balance"] = attributions.balance_json(embedder, image, args.text)
    return Answer(data, _text(data))


def _write_report(
    args: Namespace,
    image: Image.Image,
    explanation: Explanation,
    embedder: SalientEmbedder,
    made: attributions.Attributed,
) -> Path:
    """All of it as one HTML file."""
    from ssa_me.attribution.reporting import attribution_section
    from ssa_me.report.inspection import EMBEDDED, Inspection, inspection_page

    options = []
    if args.method:
        options = ["--method", args.method, "--of", args.of, "--baseline", args.baseline]
        options += ["--steps", str(args.steps), "--seed", str(args.seed)]
    inspection = Inspection(
        name=args.image.name,
        text=args.text.strip(),
        explanation=explanation,
        attention=explanation.attention,
        models=embedder.info.fingerprints,
        checkpoint=str(args.checkpoint) if args.checkpoint else EMBEDDED,
        options=options,
    )
    further = [attribution_section(image, group) for group in made.found if group]
    path = Path(args.out) / REPORT
    path.write_text(inspection_page(image, inspection, further), encoding="utf-8")
    return path


def write_figures(
    explanation: Explanation, image: Image.Image, out: Path, *, grid: bool = False
) -> list[Path]:
    """Write the pictures into folder `out` and return their paths.

    Attention of all versions on one scale, their difference, the stages of the salience on [0, 1], and for every phrase
    the head's map with its region (green) and the rival (orange) where the rival wins.
    """
    from ssa_me import figures as fig

    picture, boxes = fig.canvas(image, explanation.boxes)
    pages = {"attention": _attention(picture, boxes, explanation.attention, grid)}
    if set(explanation.attention) >= {"baseline", "ssa-me"}:
        gap = explanation.attention["ssa-me"] - explanation.attention["baseline"]
        scale = (-fig.shared_scale([abs(gap)])[1], fig.shared_scale([abs(gap)])[1])
        drawn = fig.overlay(picture, boxes, gap, scale, grid=grid, colours=fig.DIVERGING)
        bar = fig.legend(scale, fig.sheet_width([drawn]), "SSA-ME - baseline", fig.DIVERGING)
        pages["attention-difference"] = fig.sheet([("Difference", drawn)], bar)
    stages = {name: explanation.stages[name] for name in _STAGES if name in explanation.stages}
    if stages:
        drawn_stages = [
            (name, fig.overlay(picture, boxes, values, (0.0, 1.0), grid=grid))
            for name, values in stages.items()
        ]
        width = fig.sheet_width([stage for _, stage in drawn_stages])
        pages["stages"] = fig.sheet(drawn_stages, fig.legend((0.0, 1.0), width, "salience"))
    for number, alignment in enumerate(explanation.alignment, start=1):
        drawn = fig.overlay(picture, boxes, alignment.salience, (0.0, 1.0), grid=grid)
        drawn = _regions(drawn, alignment, picture.shape[1] / image.width, picture.shape[0] / image.height)
        title = alignment.phrase if alignment.phrase.isascii() else f"phrase {number}"
        page = fig.sheet([(title, drawn)], fig.legend((0.0, 1.0), fig.sheet_width([drawn]), "salience"))
        slug = re.sub(r"[^a-z0-9]+", "-", alignment.phrase.lower()).strip("-")[:40]
        pages[f"salience-{number}" + (f"-{slug}" if slug else "")] = page
    return [_write(out / f"{name}.png", page) for name, page in pages.items()]


def _attention(picture: Any, boxes: Any, maps: Mapping[str, Any], grid: bool) -> Any:
    from ssa_me import figures as fig

    scale = fig.shared_scale(list(maps.values()))
    drawn = [
        (
            f"{_TITLES.get(version, version)}: {values.sum():.0%} on the image",
            fig.overlay(picture, boxes, values, scale, grid=grid),
        )
        for version, values in maps.items()
    ]
    panels = [("Image", picture), *drawn]
    return fig.sheet(
        panels,
        fig.legend(scale, fig.sheet_width([panel for _, panel in panels]), "share of the attention, a token"),
    )


def _regions(drawn: Any, alignment: Alignment, across: float, down: float) -> Any:
    from ssa_me.figures import outline

    for bbox, colour in (
        (alignment.region, _REGION),
        (alignment.rival if alignment.misaligned else None, _RIVAL),
    ):
        if bbox is not None:
            x, y, w, h = bbox
            drawn = outline(drawn, (x * across, y * down, w * across, h * down), colour)
    return drawn


def _write(path: Path, page: Any) -> Path:
    from PIL import Image

    Image.fromarray(page).save(path)
    return path


def _text(data: Mapping[str, Any]) -> str:
    keys = list(
        dict.fromkeys(
            key for model in data["models"].values() for key, v in model.items() if isinstance(v, float)
        )
    )
    parts = [
        table(
            [[name, *(model.get(key) for key in keys)] for name, model in data["models"].items()],
            ["model", *keys],
        )
    ]
    rows = []
    for found in data["alignment"]:
        box = (
            "none found"
            if found["region"] is None
            else "{:.0f}, {:.0f}, {:.0f} × {:.0f}".format(*found["region"])
        )
        verdict = "misaligned" if found["misaligned"] else "aligned"
        rows.append(
            [shortened(found["phrase"]), found["score"], box, verdict if found["region"] is not None else ""]
        )
    if rows:
        parts.append(table(rows, ["subject", "score", "region (x, y, w × h px)", ""]))
    if data["attributions"]:
        parts.append(attributions.attributions_text(data["attributions"]))
    if "balance" in data:
        rows = [
            [name, *(model[key] for key in ("score", "without_image", "without_text", "image_share"))]
            for name, model in data["balance"]["models"].items()
        ]
        header = ["model", "score", "without image", "without text", "image's share"]
        parts.append(f"{table(rows, header)}\n{data['balance']['note']}")
    took = " · ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in data["seconds"].items())
    return "\n\n".join([*parts, f"salience {data['salience']}: {took}", "\n".join(data["files"])])


COMMAND = Command("explain", "what both models look at in an image for a text", _arguments, _run)
