"""MMEB's data on disk: `DIR/SUBSET.jsonl` or `.parquet`. It knows nothing of models.

A row holds `qry_text`, `qry_img_path`, `tgt_text` (list) and `tgt_img_path` (list; index 0 is the positive); an empty
path is no image; paths are relative to `DIR`. Image placeholders in texts are dropped: a backbone sets its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ssa_me.errors import InputError
from ssa_me.mmeb_subsets import SubsetInfo, canonical, read_infos
from ssa_me.tables import SUFFIXES, columns, read_rows, relative_path, row_error, without_placeholders

_HUB_FILE = "test-00000-of-00001.parquet"
_NAMED = 5
_TRIED = 200
_UNKNOWN = SubsetInfo()


@dataclass(frozen=True)
class Entry:
    """A query or a candidate: a text, an image path relative to the data's folder, or both; "" is none."""

    text: str
    image: str


@dataclass(frozen=True)
class MmebQuery:
    """A query with its candidates, each once and none of them empty; the first is the positive."""

    entry: Entry
    candidates: tuple[Entry, ...]

    @property
    def cluster(self) -> str:
        """What this query shares with others: its image, else its positive's, else its text."""
        return self.entry.image or self.candidates[0].image or self.entry.text

    @property
    def is_text_to_image(self) -> bool:
        """A text alone asks for images alone. One text that all candidates share is an instruction, no content."""
        images = all(candidate.image for candidate in self.candidates)
        return not self.entry.image and images and len({candidate.text for candidate in self.candidates}) == 1


@dataclass(frozen=True)
class Subset:
    """A subset with what is known of it. missing: images that its data names and that are not below `root`."""

    name: str
    queries: tuple[MmebQuery, ...]
    info: SubsetInfo | None = None
    root: Path = Path()
    missing: tuple[str, ...] = ()

    def entries(self) -> list[Entry]:
        """All queries and candidates, each once, texts before images so that batches are alike."""
        found = dict.fromkeys(e for query in self.queries for e in (query.entry, *query.candidates))
        return sorted(found, key=lambda entry: bool(entry.image))


def subset_files(data: Path) -> dict[str, Path]:
    """The subsets in folder `data`, by name; `.jsonl` goes before `.parquet`. InputError where there is none.

    A clone of the hub's data set is read too: there a subset is `SUBSET/test-00000-of-00001.parquet`.
    """
    if not data.is_dir():
        raise InputError(
            f"{data} is not a folder. Give the folder that holds SUBSET.jsonl files and their images."
        )
    files: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in sorted(data.glob(f"*{suffix}")):
            if path.name != "metadata.jsonl":
                files.setdefault(canonical(path.stem), path)
    for path in sorted(data.glob(f"*/{_HUB_FILE}")):
        files.setdefault(canonical(path.parent.name), path)
    if not files:
        raise InputError(f"{data} holds no SUBSET.jsonl or SUBSET.parquet in MMEB's format.")
    return files


def read_subsets(data: Path, names: Sequence[str] | None = None, *, strict: bool = False) -> list[Subset]:
    """Read the subsets `names` of folder `data`, or all of them, and see which of their images are missing.

    MMEB's own names are read in any spelling (`ImageNet_1K` is `ImageNet-1K`). Raises InputError on an unknown name, a
    row that is not valid (file and line are named), or where all images are missing; with `strict` where one is.
    """
    files, infos = subset_files(data), read_infos(data)
    for name in names or ():
        if canonical(name) not in files:
            raise InputError(f"{data} has no subset {name!r}. It has {', '.join(sorted(files))}.")
    chosen = dict.fromkeys(map(canonical, names)) if names else sorted(files)
    return _with_missing([_read_subset(name, files[name], infos.get(name)) for name in chosen], data, strict)


def image_root(data: Path, images: Iterable[str]) -> Path:
    """The folder that image paths are relative to: `data`, or where an unpacked `images.zip` has put them below it."""
    some = list(islice(images, _TRIED))
    below = [folder for top in (data, data / "images") for folder in sorted(top.glob("*")) if folder.is_dir()]
    places = [data, data / "images", *below]
    return next((folder for folder in places if any((folder / name).is_file() for name in some)), data)


def _with_missing(subsets: Sequence[Subset], data: Path, strict: bool) -> list[Subset]:
    images = dict.fromkeys(entry.image for subset in subsets for entry in subset.entries() if entry.image)
    root = image_root(data, images)
    missing = [image for image in images if not (root / image).is_file()]
    if missing and (strict or len(missing) == len(images)):
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise InputError(
            f"{len(missing)} of {len(images)} images are missing below {data}: {', '.join(missing[:_NAMED])}{more}."
            " Unpack the images there; the paths in the data are relative to that folder."
        )
    gone = set(missing)
    return [
        replace(
            subset,
            root=root,
            missing=tuple(dict.fromkeys(e.image for e in subset.entries() if e.image in gone)),
        )
        for subset in subsets
    ]


def _read_subset(name: str, path: Path, info: SubsetInfo | None) -> Subset:
    queries = []
    for number, row in read_rows(path):
        try:
            queries.append(_parse_row(row, info or _UNKNOWN))
        except (ValueError, KeyError, TypeError) as error:
            raise row_error(path, number, error) from error
    if not queries:
        raise InputError(f"{path} holds no query.")
    return Subset(name, tuple(queries), info)


def _parse_row(row: Any, info: SubsetInfo) -> MmebQuery:
    row = columns(row)
    query = _entry(row["qry_text"], row.get("qry_img_path"), row.get("qry_inst"), info.instruction)
    texts, images = _strings(row["tgt_text"], "tgt_text"), _strings(row.get("tgt_img_path"), "tgt_img_path")
    if texts and images and len(texts) != len(images):
        raise ValueError(f"tgt_text has {len(texts)} entries and tgt_img_path {len(images)}")
    length = max(len(texts), len(images))
    texts, images = texts or [""] * length, images or [""] * length
    pairs = list(zip(texts, images, strict=True))
    wrong = [pair for pair in pairs[1:] if any(part.strip() for part in pair)]
    target = row.get("tgt_inst")
    candidates = tuple(
        dict.fromkeys(_entry(*pair, target, info.target_instruction) for pair in [*pairs[:1], *wrong])
    )
    if len(candidates) < 2:
        raise ValueError("there is no wrong candidate beside the positive")
    return MmebQuery(query, candidates)


def _entry(text: Any, image: Any, given_instruction: Any, instruction: str | None) -> Entry:
    parts = [without_placeholders(part) for part in (given_instruction, text)]
    words, path = " ".join(part for part in parts if part), relative_path(image)
    if path and not words and instruction:
        words = instruction
    if not path and not words:
        raise ValueError("a query or candidate has neither text nor image")
    return Entry(words, path)


def _strings(values: Any, key: str) -> list[str]:
    if values is None:
        return []
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{key} is not a list")
    return ["" if value is None else str(value) for value in values]
