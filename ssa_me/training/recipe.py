"""A training recipe: every choice of a run in one TOML file, checked. It knows nothing of data or models."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ssa_me.adapters import TARGETS
from ssa_me.errors import InputError

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Schedule:
    """One stage of optimisation: AdamW, linear warm-up, cosine decay to 5 % of the peak, clipped gradients.

    batch: images of a step, over all processes together. chunks: 1 computes each process's share in one pass; more
    cut it and cache representations (GradCache), which saves memory and changes nothing else.
    """

    steps: int = 0
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 50
    weight_decay: float = 0.05
    clip: float = 1.0
    temperature: float = 0.07
    chunks: int = 1


@dataclass(frozen=True)
class Sight(Schedule):
    """The stage before the base: the vision tower alone, by the commonest `words` of the data."""

    words: int = 1500


@dataclass(frozen=True)
class Base(Schedule):
    """The base stage, on a checkpoint its full fine-tuning: vision and language train as a whole, and a new backbone is
    written, with a fingerprint of its own. Without steps the backbone stays as it is. Beside the contrast of images and
    texts: `answer`, next-token prediction of captions and lists of subjects, each on `answer_share` of the batch;
    `region`, the contrast of annotated regions and their phrases, as public models are grounded before they become
    embedders; `composed`, the contrast of image and question with the phrase that answers, on `composed_share` as many
    questions as images; `claimed`, as for adapters, on `claimed_share` of the images."""

    answer: float = 0.3
    answer_share: float = 0.25
    region: float = 1.0
    composed: float = 0.5
    composed_share: float = 0.25
    claimed: float = 0.5
    claimed_share: float = 0.0


@dataclass(frozen=True)
class Lora(Schedule):
    """The adapter stage, the same for both models. targets: the language model's linear layers that get an adapter.
    composed: weight of the contrast of image and question with the phrase that answers, on `composed_share` as many
    regions as there are images. claimed: weight of the contrast of an image that was read with a caption, true or not,
    with the caption that is true of it, on `claimed_share` of the images, and of as many read with a phrase."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS
    composed: float = 0.5
    composed_share: float = 0.25
    claimed: float = 0.5
    claimed_share: float = 0.5
    named: float = 0.0
    """Of the baseline: weight of phrases as extra texts of their images, a control."""


@dataclass(frozen=True)
class Salience(Schedule):
    """The stage after SSA-ME's adapter, before the composition: its salience head alone, on what has regions. Without steps
    the head is what it became beside the adapter. reworded: so many subjects are looked for by less than their phrase, `a
    dog` for "a red dog"."""

    reworded: float = 0.5


@dataclass(frozen=True)
class Composition(Schedule):
    """The stage after SSA-ME's adapter and head, on vectors that are read once: codes of subjects and relations between them, on
    what has regions. scenes: so many further ones, which no adapter saw, stand in place of the recipe's. reworded: so many
    subjects also teach what they are called by less than their phrase. Without steps a subject's code is what is read in its
    region."""

    steps: int = 200
    batch: int = 96
    learning_rate: float = 1e-3
    warmup: int = 20
    scenes: int = 0
    reworded: float = 0.5


@dataclass(frozen=True)
class Trust(Schedule):
    """The last stage, on vectors that are read once: how much subjects count in the one vector, `share` at the start. scenes: so
    many further ones, from which no code was learned, stand in place of the recipe's. twins: weight of the contrast among
    twins alone. emphasis: subjects count so many times what the losses find, since a rank takes more than a likelihood.
    Without steps no subject is composed into any vector."""

    steps: int = 100
    batch: int = 96
    learning_rate: float = 2e-3
    warmup: int = 20
    scenes: int = 0
    twins: float = 3.0
    share: float = 0.5
    emphasis: float = 1.5


@dataclass(frozen=True)
class Scratch:
    """The shape of a model that starts from nothing."""

    vocabulary: int = 4000
    width: int = 192
    layers: int = 4
    heads: int = 6
    mlp: int = 384
    vision_width: int = 128
    vision_layers: int = 4
    side: int = 112


@dataclass(frozen=True)
class Scenes:
    """Generated scenes, each with its twins: `count` of them from seed `first`. `weight` against photographs' 1.
    on_the_fly: drawn as batches need them instead of being held in memory."""

    count: int = 0
    first: int = 1
    size: int = 128
    weight: float = 1.0
    on_the_fly: bool = False


@dataclass(frozen=True)
class Weights:
    """λ of each objective beside L_nce, the margin of L_mis, and the share of subjects that the head looks for by phrase."""

    attention: float = 0.1
    subject: float = 0.5
    misalignment: float = 0.5
    head: float = 1.0
    margin: float = 0.2
    phrase_share: float = 0.5


@dataclass(frozen=True)
class Regeneration:
    """The steps of feature regeneration. floor: f where a phrase is asked for, free_floor where none is, as in training; 1
    being no suppression. enhance: semantic enhancement by cross-attention. implicit: salience has no target of its own;
    it learns from L_nce alone, through the regeneration. likeness: how alike neighbouring tokens of one subject are at
    least, so that subjects that touch are told apart; −1 for any."""

    floor: float = 0.5
    free_floor: float = 0.5
    enhance: bool = True
    implicit: bool = False
    likeness: float = 0.45


@dataclass(frozen=True)
class DataSet:
    """A set to train on, a `[[data]]` table: ImageFolder, or pairs in the format of MMEB's training data, whose subsets
    share its weight. weight: how often a batch is drawn from it, against the other sets' weights. on_the_fly: images
    are read as batches need them instead of being held in memory, those of pairs always."""

    path: str
    weight: float = 1.0
    on_the_fly: bool = False


@dataclass(frozen=True)
class HeldOut:
    """What is measured while adapters train, for the log alone, on images that are not trained on. every: steps between
    two measurements, 0 for never. images: at most so many."""

    every: int = 0
    images: int = 100


@dataclass(frozen=True)
class Recipe:
    """A whole run. `scratch` None: fine-tune a checkpoint, by adapters alone, or as a whole and then by adapters where
    `base` has steps. precision "auto": bf16 where the hardware multiplies it, else fp32. views: of each photograph, the
    first as it is, the others cropped and mirrored. gradient_checkpointing: layers are computed again in the
    backward pass instead of being kept. data: sets beside those of the command line."""

    name: str
    seed: int = 1
    precision: str = "auto"
    save_every: int = 100
    views: int = 1
    gradient_checkpointing: bool = False
    data: tuple[DataSet, ...] = ()
    scratch: Scratch | None = None
    scenes: Scenes = field(default_factory=Scenes)
    sight: Sight = field(default_factory=Sight)
    base: Base = field(default_factory=Base)
    adapters: Lora = field(default_factory=Lora)
    salience: Salience = field(default_factory=Salience)
    composition: Composition = field(default_factory=Composition)
    trust: Trust = field(default_factory=Trust)
    objectives: Weights = field(default_factory=Weights)
    regeneration: Regeneration = field(default_factory=Regeneration)
    held_out: HeldOut = field(default_factory=HeldOut)

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules of all stages, by their section, in the order of a run."""
        return {
            "sight": self.sight,
            "base": self.base,
            "adapters": self.adapters,
            "salience": self.salience,
            "composition": self.composition,
            "trust": self.trust,
        }

    def shortened(self, steps: int) -> Recipe:
        """The same with at most so many steps of each stage."""
        short: dict[str, Any] = {
            section: replace(schedule, steps=min(schedule.steps, steps))
            for section, schedule in self.schedules.items()
        }
        return replace(self, **short)


_SECTIONS: dict[str, type] = {
    "scratch": Scratch,
    "scenes": Scenes,
    "sight": Sight,
    "base": Base,
    "adapters": Lora,
    "salience": Salience,
    "composition": Composition,
    "trust": Trust,
    "objectives": Weights,
    "regeneration": Regeneration,
    "held_out": HeldOut,
}

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a text"),
    "bool": ((bool,), "true or false"),
    "tuple[str, ...]": ((tuple,), "a list of names"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "batch": (2, math.inf),
    "chunks": (1, math.inf),
    "rank": (1, math.inf),
    "save_every": (1, math.inf),
    "views": (1, math.inf),
    "floor": (0, 1),
    "free_floor": (0, 1),
    "emphasis": (0.1, math.inf),
    "temperature": (0.01, 1),
    "answer_share": (0, 1),
    "composed_share": (0, 1),
    "claimed_share": (0, 1),
    "phrase_share": (0, 1),
    "reworded": (0, 1),
    "dropout": (0, 1),
    "likeness": (-1, 1),
}
"""Least and most of a setting; every other number is 0 or more."""

T = TypeVar("T")


def load_recipe(recipe: str | Path) -> Recipe:
    """Read a recipe by its name among `RECIPES` or from a TOML file. InputError names unknown keys and wrong types."""
    path = Path(recipe)
    if path.suffix != ".toml":
        path = RECIPES / f"{recipe}.toml"
        if not path.is_file():
            names = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
            raise InputError(f"There is no recipe {str(recipe)!r}. Recipes: {names}; or give a .toml file.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The recipe {path} cannot be read: {error}") from error
    sections: dict[str, Any] = {
        key: _build(_SECTIONS[key], value, f"{path.name} [{key}]")
        for key, value in table.items()
        if key in _SECTIONS
    }
    if "data" in table:
        sections["data"] = _data_sets(table.pop("data"), path.name)
    plain = {key: value for key, value in table.items() if key not in _SECTIONS}
    recipe_ = _build(Recipe, {"name": path.stem} | plain | sections, path.name)
    if 0 in (recipe_.regeneration.floor, recipe_.regeneration.free_floor):
        raise InputError(f"{path.name}: floor and free_floor must be above 0.")
    scenes = [("[scenes]", recipe_.scenes.weight)] if recipe_.scenes.count else []
    for where, weight in [*scenes, *((f"[[data]] {one.path}", one.weight) for one in recipe_.data)]:
        if weight == 0:
            raise InputError(f"{path.name} {where}: a set with the weight 0 is never drawn. Leave it out.")
    if recipe_.precision not in ("auto", "fp32", "bf16"):
        raise InputError(f"{path.name}: precision is auto, fp32 or bf16, not {recipe_.precision!r}.")
    return recipe_


def explain_recipe(name: str) -> str:
    """What a recipe that comes along says of itself: the comment at its head, without its commands."""
    lines = (RECIPES / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    words = (line.lstrip("# ") for line in comment)
    return " ".join(line for line in words if not line.startswith("python -m"))


def write_recipe(recipe: Recipe) -> str:
    """The recipe as a TOML file that `load_recipe` reads as the same."""
    table = dataclasses.asdict(recipe)
    sections = {key: value for key, value in table.items() if key in _SECTIONS and value is not None}
    plain = {key: v for key, v in table.items() if key not in _SECTIONS and key != "data"}
    parts = [_toml(plain)]
    parts += [f"[{name}]\n{_toml(values)}" for name, values in sections.items()]
    parts += [f"[[data]]\n{_toml(one)}" for one in table["data"]]
    return "\n".join(parts)


def _toml(table: Mapping[str, Any]) -> str:
    """Plain settings, one a line. JSON writes texts, numbers and lists of texts as TOML does."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=True)}\n" for key, value in table.items())


def _build(kind: type[T], table: Any, where: str) -> T:
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a table of settings, not {table!r}.")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    table = {key: _names(value) for key, value in table.items()}
    unknown = sorted(set(table) - set(fields))
    if unknown:
        raise InputError(f"{where}: unknown {', '.join(unknown)}. Known: {', '.join(fields)}.")
    for key, value in table.items():
        types, name = _TYPES.get(str(fields[key].type), ((object,), ""))
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise InputError(f"{where}: {key} is {name}, not {value!r}.")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            least, most = _RANGES.get(key, (0, math.inf))
            if not (least <= value <= most and math.isfinite(value)):
                bound = f"at least {least}" if most == math.inf else f"between {least} and {most}"
                raise InputError(f"{where}: {key} must be {bound}, not {value}.")
    return kind(**table)


def _names(value: Any) -> Any:
    """TOML's list of texts as a tuple; anything else as it is."""
    texts = isinstance(value, list) and value and all(isinstance(name, str) and name for name in value)
    return tuple(value) if texts else value


def _data_sets(tables: Any, where: str) -> tuple[DataSet, ...]:
    if not isinstance(tables, list):
        raise InputError(f"{where}: data is a list of [[data]] tables with a path each, not {tables!r}.")
    for table in tables:
        if isinstance(table, dict) and "path" not in table:
            raise InputError(f"{where} [[data]]: a set needs a path.")
    return tuple(_build(DataSet, table, f"{where} [[data]]") for table in tables)
