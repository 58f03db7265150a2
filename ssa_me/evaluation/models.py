"""The names of what is compared: a model version and how it ranks. It knows nothing of embedders or data.

`ssa-me` ranks by one vector, `ssa-me+subjects` and `ssa-me+rerank` as their names say; `baseline` likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ssa_me.errors import InputError

Ranking = Literal["vector", "subjects", "rerank"]
Version = Literal["baseline", "ssa-me"]
RANKINGS: tuple[Ranking, ...] = get_args(Ranking)
VERSIONS: tuple[Version, ...] = get_args(Version)


@dataclass(frozen=True)
class Model:
    """A model version with a way to rank."""

    version: Version
    ranking: Ranking = "vector"

    @property
    def name(self) -> str:
        return self.version if self.ranking == "vector" else f"{self.version}+{self.ranking}"


MODELS = {
    model.name: model for ranking in RANKINGS for version in VERSIONS for model in [Model(version, ranking)]
}


def parse_models(names: str) -> tuple[Model, ...]:
    """Models of a comma-separated list such as `baseline,ssa-me+subjects`; `both` is baseline and ssa-me.

    `VERSION:RANKING` is read as well (`ssa-me:subjects`). Order is kept, repetitions are dropped.
    Raises InputError on a name that is not known, with the list of those that are.
    """
    models: dict[str, Model] = {}
    for name in (part.strip() for part in names.split(",")):
        for known in VERSIONS if name == "both" else (_canonical(name),):
            if known not in MODELS:
                raise InputError(f"There is no model {name!r}. Choose from {', '.join(MODELS)}, or both.")
            models[known] = MODELS[known]
    return tuple(models.values())


def _canonical(name: str) -> str:
    version, colon, ranking = name.partition(":")
    if not colon or ranking in ("vector", version):
        return version
    return ranking if ranking.startswith(f"{version}+") else f"{version}+{ranking}"


def compared(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Pairs whose difference means something: ssa-me minus baseline under one ranking, then a ranking minus one vector."""
    present = set(models)
    pairs = [(model, Model("baseline", model.ranking)) for model in models if model.version == "ssa-me"]
    pairs += [(model, Model(model.version)) for model in models if model.ranking != "vector"]
    return [pair for pair in pairs if pair[1] in present]


def versions_of(models: Sequence[Model]) -> tuple[str, ...]:
    """The versions that these models need, each once."""
    return tuple(dict.fromkeys(model.version for model in models))
