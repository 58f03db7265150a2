"""MMEB's training data on disk: pairs of a query and its target, with listed hard negatives. It knows no model.

A row holds `qry`, `qry_image_path`, `pos_text`, `pos_image_path` and, where there are hard negatives, `neg_text` and
`neg_image_path` (one each, or lists). Image paths are relative to the data's folder. A subset is a file
`SUBSET.jsonl` or `.parquet`, or a folder `SUBSET/` of such files, as the hub lays it out; where a folder holds both the
splits `original` and `diverse_instruction`, the former is read. Source: TIGER-AI-Lab/VLM2Vec (arXiv 2410.05160).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ssa_me.errors import InputError
from ssa_me.mmeb_subsets import SubsetInfo, canonical
from ssa_me.samples import METADATA
from ssa_me.tables import SUFFIXES, columns, read_rows, relative_path, row_error, without_placeholders

_SPLITS = ("original", "diverse_instruction")
_NAMED = 5


@dataclass(frozen=True)
class Side:
    """One side of a pair: a text, an image, or both. "" and None are none."""

    text: str
    image: Path | None

    @property
    def content(self) -> tuple[str, Path | None]:
        """What it says, whatever its capitals and full stop, and its image."""
        return self.text.lower().rstrip(" ."), self.image

    def is_within(self, images: Container[Path]) -> bool:
        """Whether it has no image, or one of `images`."""
        return self.image is None or self.image in images

    def instructed(self, instruction: str | None) -> Side:
        return replace(self, text=instruction) if self.image and not self.text and instruction else self


@dataclass(frozen=True)
class Pair:
    """A query, what answers it, and what is listed as answering it wrongly."""

    query: Side
    target: Side
    negatives: tuple[Side, ...]

    @property
    def sides(self) -> tuple[Side, ...]:
        return (self.query, self.target, *self.negatives)

    def is_within(self, images: Container[Path]) -> bool:
        """Whether the images of query and target are among `images`."""
        return all(side.is_within(images) for side in (self.query, self.target))

    def without_others(self, images: Container[Path]) -> Pair:
        """The same without the negatives whose image is not among `images`."""
        return replace(self, negatives=tuple(side for side in self.negatives if side.is_within(images)))

    def instructed(self, info: SubsetInfo) -> Pair:
        """The same with the subset's instructions where a side has an image and no text, as in the evaluation."""
        rest = tuple(side.instructed(info.target_instruction) for side in (self.target, *self.negatives))
        return Pair(self.query.instructed(info.instruction), rest[0], rest[1:])


@dataclass(frozen=True)
class PairSet:
    """A subset by its name in MMEB's evaluation, and its pairs."""

    name: str
    pairs: tuple[Pair, ...]


def holds_mmeb_train(folder: Path) -> bool:
    """Whether `folder` looks like this format and not like an ImageFolder set: tables, and no metadata.jsonl."""
    return folder.is_dir() and not any(folder.rglob(METADATA)) and bool(_files(folder))


def read_mmeb_train(folder: Path, names: Sequence[str] | None = None) -> list[PairSet]:
    """The subsets `names` below `folder`, or all. Raises InputError on an unknown name, a row that is not valid (file
    and row are named), or images that are not there (the first of them are named)."""
    files = _files(folder)
    if not files:
        raise InputError(
            f"{folder} holds no SUBSET.jsonl or SUBSET.parquet in the format of MMEB's training data."
        )
    for name in names or ():
        if name not in files:
            raise InputError(f"{folder} has no subset {name!r}. It has {', '.join(files)}.")
    sets = [PairSet(name, tuple(_pairs(folder, files[name]))) for name in names or files]
    sides = (side for one in sets for pair in one.pairs for side in pair.sides)
    images = dict.fromkeys(side.image for side in sides if side.image is not None)
    missing = [path.relative_to(folder).as_posix() for path in images if not path.is_file()]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise InputError(
            f"{len(missing)} of {len(images)} images are missing below {folder}: {', '.join(missing[:_NAMED])}{more}."
            " Unpack the images there; the paths in the data are relative to that folder."
        )
    return sets


def _files(folder: Path) -> dict[str, list[Path]]:
    """The files of each subset, by its name in the evaluation."""
    found: dict[str, list[Path]] = {}
    paths = (
        path
        for suffix in SUFFIXES
        for path in sorted([*folder.glob(f"*{suffix}"), *folder.glob(f"*/*{suffix}")])
    )
    for path in paths:
        name = path.stem if path.parent == folder else path.parent.name
        found.setdefault(canonical(name), []).append(path)
    for name, several in found.items():
        split = [path for path in several if path.name.startswith(_SPLITS[0])]
        if split and any(path.name.startswith(_SPLITS[1]) for path in several):
            found[name] = split
    return dict(sorted(found.items()))


def _pairs(folder: Path, files: Iterable[Path]) -> Iterable[Pair]:
    for path in files:
        for number, row in read_rows(path):
            try:
                yield _pair(folder, row)
            except (ValueError, KeyError, TypeError) as error:
                raise row_error(path, number, error) from error


def _pair(folder: Path, row: Any) -> Pair:
    row = columns(row)
    query = _side(folder, row["qry"], row.get("qry_image_path"))
    target = _side(folder, row["pos_text"], row.get("pos_image_path"))
    if query is None or target is None:
        raise ValueError(f"its {'query' if query is None else 'target'} has neither text nor image")
    texts, images = _several(row.get("neg_text")), _several(row.get("neg_image_path"))
    negatives = (_side(folder, text, image) for text, image in zip_longest(texts, images))
    return Pair(query, target, tuple(dict.fromkeys(n for n in negatives if n is not None and n != target)))


def _side(folder: Path, text: Any, image: Any) -> Side | None:
    words, path = without_placeholders(text), relative_path(image)
    return Side(words, folder / path if path else None) if words or path else None


def _several(values: Any) -> list[Any]:
    if values is None:
        return []
    return [values] if isinstance(values, str) else list(values)
