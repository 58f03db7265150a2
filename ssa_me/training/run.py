"""A whole training run: data, base stage where the recipe starts from scratch, then the two adapters alike.

The result is a checkpoint folder that every command takes. Log and states lie in its `training/`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from ssa_me.adapters import Adapters
from ssa_me.backbone import Backbone
from ssa_me.checkpoint import MINI, VERSIONS, fingerprints
from ssa_me.checkpoints import keep_reading
from ssa_me.devices import Device, choose_device, multiplies_16_bits
from ssa_me.errors import InputError
from ssa_me.hub import adapter_base
from ssa_me.mini import build_mini, train_tokenizer
from ssa_me.mmeb_subsets import SubsetInfo, read_infos
from ssa_me.samples import read_image_folder
from ssa_me.scenes import LANGUAGES, make_scene
from ssa_me.training import processes
from ssa_me.training.adapter_stages import TokenCache
from ssa_me.training.data import Corpus, prepare_corpus
from ssa_me.training.held_out import HeldOutImages, check_held_out, held_out_records
from ssa_me.training.loop import Run, fit, stopping_on_signals
from ssa_me.training.mmeb_train import holds_mmeb_train, read_mmeb_train
from ssa_me.training.plan import Step, config_of, plan
from ssa_me.training.recipe import RECIPES, DataSet, Recipe, load_recipe
from ssa_me.training.sight import SightStage
from ssa_me.training.sources import FolderSource, PairSource, SceneSource, Source, record_texts
from ssa_me.training.stages import BaseStage
from ssa_me.training.versions import Versions, describe_batch, further_scenes

Progress = Callable[[str], None]
_SIGHT, _BASE, _ADAPTERS = "sight", "base", "adapters"
_SCENES_FOR_TOKENIZER = 1500
_PHRASES = 2.0  # subjects of an image, for the estimate of a dry run


@dataclass(frozen=True)
class TrainRequest:
    """What the `train` command asks for. checkpoint None: the mini model. max_steps: of each stage. weights: how
    often a batch is drawn from each of `data`, 1 where it is not said. held_out: an ImageFolder that the log is told of
    where the recipe asks for it (None: what of `data` is of the split val or test)."""

    data: tuple[Path, ...]
    out: Path
    recipe: str | Path = "fine-tune"
    checkpoint: Path | None = None
    device: str = "auto"
    resume: bool = False
    max_steps: int | None = None
    dry_run: bool = False
    weights: Mapping[Path, float] = field(default_factory=dict)
    held_out: Path | None = None


def run(request: TrainRequest, progress: Progress) -> dict[str, Any]:
    """Train, or with `dry_run` only say what would be done. Returns a summary fit for JSON.

    Stopped by SIGTERM or Ctrl-C it saves its state and says so in the summary; `resume` goes on from there, starts
    anew where nothing was saved, and returns at once where the run had finished. Raises InputError on bad input.
    """
    recipe = _shortened(load_recipe(request.recipe), request.max_steps)
    if request.out.exists() and not request.out.is_dir():
        raise InputError(f"{request.out} is a file. Give a new folder to --out.")
    if request.out.exists() and any(request.out.iterdir()) and not request.resume and not request.dry_run:
        raise InputError(
            f"{request.out} is not empty. Give a new folder to --out, or add --resume to go on there."
        )
    if recipe.scratch is not None and request.checkpoint is not None:
        raise InputError(f"The recipe {recipe.name} starts from scratch; leave --checkpoint out.")
    if request.resume and _finished(request.out):
        progress(f"{request.out} is finished already.")
        return _summary(request, recipe, finished=True)
    if request.dry_run:
        return _plan(request, recipe)
    sources = sources_of(request, recipe)
    if not sources:
        raise InputError(
            "There is nothing to train on. Give --data FOLDER, or a recipe with generated scenes."
        )
    check_held_out(request.held_out)
    accelerator = make_accelerator(recipe, choose_device(request.device))
    folder = request.out / "training"
    with stopping_on_signals() as stop:
        context = Run(folder, recipe.seed, accelerator, recipe.save_every, _of_the_first(progress), stop)
        finished = _train(request, recipe, sources, context)
    if finished and context.first:
        for state in folder.glob("*.safetensors"):
            state.unlink()
        (folder / "finished").touch()
    processes.wait()
    return _summary(request, recipe, finished)


def _of_the_first(progress: Progress) -> Progress:
    """Of several processes only the first one speaks."""
    return progress if processes.own() == 0 else lambda _: None


def _train(request: TrainRequest, recipe: Recipe, sources: Sequence[Source], context: Run) -> bool:
    torch.manual_seed(recipe.seed)
    start, device = request.checkpoint or MINI, context.accelerator.device
    has_base = _has_backbone(request.out)  # a resumed run whose base is done
    processes.wait()  # all have looked at the folder before anyone writes there
    if recipe.scratch is not None and not has_base:
        backbone = _new_backbone(recipe, sources)
        backbone.model.to(device)
    else:
        backbone = Backbone.load(request.out if has_base else start, device, torch.float32)
    corpus = prepare_corpus(sources, backbone, context.report)
    illustrated = corpus.images() if recipe.sight.steps or recipe.base.steps else corpus
    if context.first:
        context.folder.mkdir(parents=True, exist_ok=True)  # only now: bad input leaves nothing behind
        (context.folder / "recipe.json").write_text(
            json.dumps(dataclasses.asdict(recipe), indent=2) + "\n", encoding="utf-8"
        )
    if recipe.sight.steps and not has_base:
        told = describe_batch(illustrated, recipe.seed, recipe.sight.batch)
        sight = SightStage(backbone, illustrated, recipe.sight, recipe.seed)
        if not fit(_SIGHT, sight, recipe.sight, context, request.resume, told):
            return False
    if recipe.base.steps and not has_base:
        stage = BaseStage(backbone, illustrated, recipe.base, recipe.seed)
        _keep_little(backbone, recipe)
        told = describe_batch(illustrated, recipe.seed, recipe.base.batch)
        if not fit(_BASE, stage, recipe.base, context, request.resume, told):
            return False
        if context.first:
            _save_backbone(backbone, request.out, None if recipe.scratch is not None else start)
        processes.wait()
        backbone = Backbone.load(request.out, device, torch.float32)  # in 16 bits, as everyone will see it
    elif not has_base:
        if context.first:
            if adapter_base(start) is None:
                copy_backbone(start, request.out)
            else:  # the start adapts another model, which is merged by now
                _save_backbone(backbone, request.out, start)
        processes.wait()
    _keep_little(backbone, recipe)
    if all(isinstance(source, PairSource) for source in corpus.sources):
        context.report(
            "pairs have no regions, so that the salience head stays as it is; add a set with subjects or generated scenes"
        )
    context.report("computing image tokens")
    adapters = Adapters(backbone)
    cache = TokenCache.of(corpus, backbone)
    watched = _held_out(request, recipe, backbone)
    versions = Versions(adapters, corpus, cache, context, _description(recipe, corpus), watched)
    trained = start if recipe.scratch is None else None
    return versions.train_all(recipe, request.out, trained, request.resume)


def _held_out(request: TrainRequest, recipe: Recipe, backbone: Backbone) -> HeldOutImages | None:
    """The images that the log is told of, where the recipe asks for them and the data has any."""
    if not recipe.held_out.every:
        return None
    folders = [Path(one.path).expanduser() for one in _data_sets(request, recipe)]
    records = held_out_records([f for f in folders if not holds_mmeb_train(f)], request.held_out)
    return HeldOutImages.of(records[: recipe.held_out.images], backbone) if records else None


def sources_of(request: TrainRequest, recipe: Recipe) -> list[Source]:
    """The recipe's scenes and the data sets of recipe and request. InputError where there is nothing to train on."""
    sources: list[Source] = []
    scenes = recipe.scenes
    if scenes.count:
        sources.append(
            SceneSource(scenes.first, scenes.count, scenes.size, scenes.weight, on_the_fly=scenes.on_the_fly)
        )
        further_scenes(recipe)  # refused now, not after the adapters
    for one in _data_sets(request, recipe):
        folder = Path(one.path).expanduser()
        if holds_mmeb_train(folder):
            sources.extend(_pair_sources(folder, one.weight))
            continue
        records = [r for r in read_image_folder(folder) if r.split in (None, "train") and record_texts(r)]
        if not records:
            raise InputError(
                f"{folder} holds no image to train on: a metadata.jsonl beside the images must give captions or "
                "subjects, and the split must not be val or test."
            )
        sources.append(
            FolderSource(
                tuple(records), folder.name, one.weight, views=recipe.views, on_the_fly=one.on_the_fly
            )
        )
    return sources


def _pair_sources(folder: Path, weight: float) -> list[PairSource]:
    """The subsets of a folder in the format of MMEB's training data, which share its weight by their pairs."""
    infos, sets = read_infos(folder), [one for one in read_mmeb_train(folder) if one.pairs]
    count = sum(len(one.pairs) for one in sets)
    return [
        PairSource.of(
            (pair.instructed(infos.get(one.name, SubsetInfo())) for pair in one.pairs),
            one.name,
            weight * len(one.pairs) / count,
        )
        for one in sets
    ]


def _data_sets(request: TrainRequest, recipe: Recipe) -> list[DataSet]:
    """The recipe's sets and those of the request, with their weights."""
    given = [DataSet(str(folder), request.weights.get(folder, 1.0)) for folder in request.data]
    return [*recipe.data, *given]


def _keep_little(backbone: Backbone, recipe: Recipe) -> None:
    """Layers compute their activations again in the backward pass, where the recipe says so."""
    if recipe.gradient_checkpointing:
        backbone.model.activation_checkpointing_enable()


def _new_backbone(recipe: Recipe, sources: Sequence[Source]) -> Backbone:
    assert recipe.scratch is not None
    shape = dataclasses.asdict(recipe.scratch)
    vocabulary = shape.pop("vocabulary")
    texts: list[str] = []
    for source in sources:
        if isinstance(source, FolderSource):
            texts.extend(text for record in source.records for text in record_texts(record))
        elif isinstance(source, SceneSource):
            for i in range(min(_SCENES_FOR_TOKENIZER, source.count)):
                scene = make_scene(source.first + i, size=112, pairs="seen")
                texts.extend(text for language in LANGUAGES for text in scene.captions_in(language))
    return build_mini(train_tokenizer(texts, vocabulary), **shape)


def _has_backbone(out: Path) -> bool:
    return (out / "config.json").is_file()


def _save_backbone(backbone: Backbone, out: Path, start: Path | None) -> None:
    """In 16 bits, `config.json` last: it is what says that the folder is whole. How `start` is read is kept."""
    with tempfile.TemporaryDirectory(dir=out) as name:
        partial = Path(name)
        model = copy.deepcopy(backbone.model).to(torch.bfloat16)
        model.save_pretrained(partial, max_shard_size="8MB")
        backbone.tokenizer.save_pretrained(partial)
        backbone.image_processor.save_pretrained(partial)
        if start is not None:
            keep_reading(start, partial)
        _move_backbone(partial, out)


def copy_backbone(checkpoint: Path, out: Path) -> None:
    """The backbone's files of `checkpoint` and how it is read, `config.json` last."""
    with tempfile.TemporaryDirectory(dir=out) as name:
        partial = Path(name)
        for path in checkpoint.iterdir():
            if path.is_file() and path.suffix in (".json", ".safetensors", ".jinja", ".txt", ".model"):
                shutil.copy2(path, partial / path.name)
        keep_reading(checkpoint, partial)
        _move_backbone(partial, out)


def _move_backbone(partial: Path, out: Path) -> None:
    for path in sorted(partial.iterdir(), key=lambda p: p.name == "config.json"):
        path.replace(out / path.name)


def make_accelerator(recipe: Recipe, device: Device) -> Accelerator:
    """`precision = "auto"` is 16 bits where the hardware has them."""
    wanted = recipe.precision
    in_16_bits = wanted == "bf16" or (wanted == "auto" and multiplies_16_bits(device.device))
    AcceleratorState._reset_state()  # else the first run of a process sets the precision of all
    return Accelerator(cpu=device.device.type == "cpu", mixed_precision="bf16" if in_16_bits else "no")


def _shortened(recipe: Recipe, max_steps: int | None) -> Recipe:
    if max_steps is None:
        return recipe
    if max_steps < 1:
        raise InputError(f"--max-steps must be at least 1, not {max_steps}.")
    return recipe.shortened(max_steps)


def _stages(recipe: Recipe) -> list[str]:
    """What is trained, in order: the sections that have steps, the adapters' by version."""
    sections = [section for section, schedule in recipe.schedules.items() if schedule.steps]
    return [stage for section in sections for stage in (VERSIONS if section == _ADAPTERS else (section,))]


def _description(recipe: Recipe, corpus: Corpus) -> str:
    parts = []
    for source, group in zip(corpus.sources, corpus.groups, strict=True):
        if isinstance(source, PairSource):
            parts.append(f"{len(source.pairs):,} pairs of {source.name}")
        else:
            kind = "generated scenes" if isinstance(source, SceneSource) else f"images of {source.name}"
            parts.append(f"{len(group):,} {kind}")
    if recipe.scratch is None:
        return f"Fine-tuned on {' and '.join(parts)}."
    return (
        f"Trained from scratch on {' and '.join(parts)}: everyday subjects, colours and clothes in plain English, "
        "little else."
    )


def _finished(out: Path) -> bool:
    return (out / "training" / "finished").is_file()


def _plan(request: TrainRequest, recipe: Recipe) -> dict[str, Any]:
    """What would be done; where the model's shape is known, its layers, parameters and memory too."""
    start = None if recipe.scratch is not None else request.checkpoint
    config = config_of(recipe.name, start, RECIPES)
    if config is None and recipe.scratch is None:
        config = config_of(recipe.name, MINI, RECIPES)
    lora, chunks, images = recipe.adapters, recipe.adapters.chunks, recipe.adapters.batch
    baseline = Step(images, chunks, checkpointing=recipe.gradient_checkpointing)
    salient = dataclasses.replace(baseline, phrases=_PHRASES, phrase_share=lora.composed_share / _PHRASES)
    steps = dict(zip(VERSIONS, (baseline, salient), strict=True))
    return {
        "dry_run": True,
        "recipe": dataclasses.asdict(recipe),
        "starts_from": "scratch" if recipe.scratch is not None else str(request.checkpoint or MINI),
        "data": [{"name": source.name, "images": len(source)} for source in sources_of(request, recipe)],
        "stages": _stages(recipe),
        "model": plan(config, lora.targets, lora.rank, steps) if config is not None else {},
        "out": str(request.out),
    }


def _summary(request: TrainRequest, recipe: Recipe, finished: bool) -> dict[str, Any]:
    return {
        "out": str(request.out),
        "recipe": recipe.name,
        "finished": finished,
        "log": str(request.out / "training" / "log.jsonl"),
        "fingerprints": fingerprints(request.out) if finished else {},
        "next": "" if finished else "stopped; the same command with --resume goes on",
    }
