"""On a GPU, a randomly initialised model of Qwen2-VL-2B's shape: images a second, memory and step time of both models,
and one run of everything from training to an explained hit. Speeds and sizes are real, answers are not.

`--tiny` runs the same code on a small model, on whatever there is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer, Qwen2VLImageProcessorPil

from benchmarks._timing import pictures, show, take_turns
from ssa_me.checkpoint import BASELINE, MINI, SSA_ME, VERSIONS
from ssa_me.devices import Device, choose_device
from ssa_me.embedder import SalientEmbedder
from ssa_me.gallery.ingest import ingest
from ssa_me.gallery.results import Query
from ssa_me.gallery.search import search
from ssa_me.gallery.store import Gallery
from ssa_me.samples import Sample
from ssa_me.training import TrainRequest, run
from ssa_me.training.recipe import RECIPES

CONFIG = RECIPES / "qwen2-vl-2b-mmeb.json"
RANKINGS = ("baseline", "ssa-me", "ssa-me+subjects", "ssa-me+rerank")
QUERY = "a person in red"


def make_checkpoint(folder: Path, device: Device, tiny: bool, side: int) -> None:
    """Random weights of the shape, with the mini model's tokenizer, for images of `side`×`side` pixels."""
    shape: dict[str, Any] = json.loads(CONFIG.read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(MINI)
    ids = {
        "image_token_id": "<|image|>",
        "video_token_id": "<|video|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
        "eos_token_id": "<|end|>",
        "bos_token_id": "<|end|>",
    }
    shape |= {key: tokenizer.convert_tokens_to_ids(token) for key, token in ids.items()}
    if tiny:
        shape |= {
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "vocab_size": len(tokenizer),
        }
        shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_window_layers": 2}
        shape["rope_scaling"] = {"type": "mrope", "mrope_section": [4, 4, 4]}
        shape["vision_config"] |= {"depth": 2, "embed_dim": 32, "hidden_size": 48, "num_heads": 2}
    config = AutoConfig.for_model(**shape)
    vision = config.vision_config
    torch.manual_seed(0)
    builder: Any = AutoModelForImageTextToText
    with device.device:
        model = builder.from_config(config, dtype=device.dtype)
    processor = Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        size={"shortest_edge": side * side, "longest_edge": side * side},
    )
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)
    (folder / "config.json").write_text(config.to_json_string(), encoding="utf-8")


def train_both(checkpoint: Path, out: Path, args: argparse.Namespace) -> None:
    """Some steps of both adapters on generated scenes, by the project's own command; prints step time and memory."""
    recipe = out.parent / "shape.toml"
    recipe.write_text(
        f'precision = "auto"\n[scenes]\ncount = {2 * args.batch}\n'
        f"[adapters]\nsteps = 20\nbatch = {args.batch}\nwarmup = 2\nlearning_rate = 1e-4\n",
        encoding="utf-8",
    )
    peaks: dict[str, str] = {}

    def watch(line: str) -> None:
        print(f"  {line}", file=sys.stderr)
        name = line.partition(" ")[0]
        if name in VERSIONS:
            peaks[name] = peak_memory()

    run(TrainRequest((), out, recipe=recipe, checkpoint=checkpoint, device=args.device), watch)
    log = [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]
    times = {v: [entry["time"] for entry in log if entry["stage"] == v] for v in VERSIONS}
    steps = {v: (last - before) / 10 for v, (*_, before, last) in times.items()}
    for version, seconds in steps.items():
        rate = args.batch / max(seconds, 1e-9)
        print(
            f"  {version:10s} {seconds * 1000:9.1f} ms a step of {args.batch}, {rate:8.1f} images/s, {peaks[version]}"
        )
    print(f"  SSA-ME's step ÷ the baseline's: {steps[SSA_ME] / max(steps[BASELINE], 1e-9):.2f}")


def embed_images(embedder: SalientEmbedder, args: argparse.Namespace) -> None:
    """Images a second and memory of each version alone and of both."""
    samples = [Sample(image=image) for image in pictures(args.images, args.side)]
    wanted = {"baseline alone": (BASELINE,), "ssa-me alone": (SSA_ME,), "both": VERSIONS}
    sides: dict[str, Callable[[], object]] = {}
    for name, versions in wanted.items():
        sides[name] = lambda versions=versions: embedder.embed(
            samples, versions=versions, batch_size=args.batch
        )  # type: ignore[misc]
    seconds = take_turns(sides, repeats=args.repeats)
    show(seconds, each=args.images)
    for name, side in sides.items():
        reset_peak()
        side()
        rate = args.images / float(sorted(seconds[name])[len(seconds[name]) // 2])
        print(f"  {name:16s} {rate:8.1f} images/s, {peak_memory()}")


def whole_pipeline(embedder: SalientEmbedder, folder: Path, args: argparse.Namespace) -> None:
    """Index, search in every ranking, explain a hit: each with its time."""
    source = folder / "images"
    source.mkdir()
    images = pictures(args.images, args.side)
    for i, image in enumerate(images):
        image.save(source / f"{i:04d}.png")
    gallery = Gallery.create(folder / "gallery", "shape", embedder.info.checkpoint)
    timed("index", lambda: ingest(gallery, source, embedder))
    found = timed("search", lambda: search(gallery, embedder, Query(QUERY), RANKINGS, 10))
    assert all(hits for hits in found.to_json()["results"].values())
    timed("explain", lambda: embedder.explain(images[0], QUERY))


def timed(name: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    print(f"  {name:10s} {time.perf_counter() - start:8.2f} s, {peak_memory()}")
    return result


def reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> str:
    """What the GPU held at most since this was last asked."""
    if not torch.cuda.is_available():
        return "no GPU memory to measure"
    peak = torch.cuda.max_memory_allocated() / 1e9
    reset_peak()
    return f"{peak:.1f} GB at most"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small model, to run the code anywhere")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, help="images of a step and of a pass (default: 32; tiny: 4)")
    parser.add_argument("--images", type=int, help="images to embed and to index (default: 256; tiny: 6)")
    parser.add_argument("--side", type=int, help="pixels of an image's side (default: 448; tiny: 112)")
    parser.add_argument("--repeats", type=int, help="turns of each side (default: 5; tiny: 2)")
    args = parser.parse_args()
    defaults = (4, 6, 112, 2) if args.tiny else (32, 256, 448, 5)
    for name, value in zip(("batch", "images", "side", "repeats"), defaults, strict=True):
        vars(args)[name] = vars(args)[name] or value
    device = choose_device(args.device)
    if device.device.type == "cpu" and not args.tiny:
        print("This benchmark needs a GPU; --tiny runs the same code on a small model here.")
        return 0
    with TemporaryDirectory(prefix="ssa-me-") as name:
        folder = Path(name)
        timed("weights", lambda: make_checkpoint(folder / "random", device, args.tiny, args.side))
        print("training step")
        train_both(folder / "random", folder / "tuned", args)
        embedder = timed("load", lambda: SalientEmbedder.load(folder / "tuned", args.device))
        info = embedder.info
        print(f"{info.parameters / 1e9:.3f} B parameters, {info.device} {info.precision}, {args.side} pixels")
        print("embedding")
        embed_images(embedder, args)
        print("everything, end to end")
        whole_pipeline(embedder, folder, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
