"""Image data sets of the Hugging Face hub by name, as records: `hub:USER/NAME` or `hub:USER/NAME:SPLIT`.

It needs the library `datasets`, which is optional, and a network (or its cache). Images are written below a folder a
part at a time, as the bytes that they are; captions, boxes of the column `objects` (COCO's `x, y, width, height`), and
plain columns come along. No code of a data set is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.errors import InputError, first_line
from ssa_me.samples import Record, Subject

if TYPE_CHECKING:
    import datasets

PREFIX = "hub:"
PART = 512
MOST_TEXT = 1000
CAPTIONS = ("captions", "caption", "text", "texts", "sentences", "sentence", "description")
OBJECTS = "objects"
CATEGORIES = ("category", "categories", "label", "labels", "name")
_NAME = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?::([\w.-]+))?")


@dataclass(frozen=True)
class HubData:
    """A data set of the hub: its id, and one split of it (None: all of them)."""

    name: str
    split: str | None = None

    def __str__(self) -> str:
        return PREFIX + self.name + (f":{self.split}" if self.split else "")


def parse_hub(text: str) -> HubData | None:
    """`hub:USER/NAME[:SPLIT]`; None where the text does not begin so. Raises InputError where the rest is no id."""
    if not text.startswith(PREFIX):
        return None
    match = _NAME.fullmatch(text.removeprefix(PREFIX))
    if match is None:
        raise InputError(f"{text} names no data set. Write hub:USER/NAME or hub:USER/NAME:SPLIT.")
    return HubData(match[1], match[2])


def open_hub(data: HubData, folder: Path) -> tuple[int, Iterator[list[Record]]]:
    """How many rows there are, and their records in parts; the files of a part go when the next is asked for.

    Raises InputError without the library or a network, and for a data set without a column of images.
    """
    splits = _load(data)
    column = {name: _image_column(data, rows.features) for name, rows in splits.items()}
    return sum(len(rows) for rows in splits.values()), _parts(splits, column, folder)


def _load(data: HubData) -> dict[str, datasets.Dataset]:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"Reading {data} needs the library datasets: pip install datasets. Or download it, and give the folder."
        ) from error
    from huggingface_hub.errors import HTTPError

    try:
        loaded = datasets.load_dataset(data.name, split=data.split)
    except (OSError, ValueError, HTTPError) as error:
        raise InputError(
            f"{data} cannot be read ({first_line(error)}). Check its name and the network, or give a local folder."
        ) from error
    return {data.split: loaded} if data.split else dict(loaded)


def _image_column(data: HubData, features: Mapping[str, Any]) -> str:
    import datasets

    for name, feature in features.items():
        if isinstance(feature, datasets.Image):
            return str(name)
    raise InputError(f"{data} has no column of images; its columns are {', '.join(features)}.")


def _parts(
    splits: Mapping[str, datasets.Dataset], columns: Mapping[str, str], folder: Path
) -> Iterator[list[Record]]:
    import datasets

    for split, rows in splits.items():
        column = columns[split]
        labels = {name: f.names for name, f in rows.features.items() if isinstance(f, datasets.ClassLabel)}
        undecoded = rows.cast_column(column, datasets.Image(decode=False))
        for start in range(0, len(undecoded), PART):
            written = []
            for number in range(start, min(start + PART, len(undecoded))):
                written.append(_record(undecoded[number], column, labels, folder, f"{split}-{number:07d}"))
            yield written
            for record in written:
                if record.path.is_relative_to(folder):
                    record.path.unlink(missing_ok=True)


def _record(
    row: Mapping[str, Any], column: str, labels: Mapping[str, list[str]], folder: Path, name: str
) -> Record:
    image = row[column] or {}
    path = folder / name
    path.write_bytes(image.get("bytes") or _bytes_at(image.get("path")))
    captions: str | list[Any] = next((row[key] for key in CAPTIONS if row.get(key)), [])
    texts = [captions] if isinstance(captions, str) else captions
    extra = {}
    for key, value in row.items():
        if key in labels and isinstance(value, int) and 0 <= value < len(labels[key]):
            value = labels[key][value]
        if key not in (column, OBJECTS, *CAPTIONS) and _is_plain(value):
            extra[key] = value
    return Record(
        path=path,
        file_name=Path(image.get("path") or name).name,
        captions=tuple(str(text).strip() for text in texts if isinstance(text, str) and text.strip()),
        subjects=tuple(_subjects(row.get(OBJECTS))),
        split=name.rpartition("-")[0],
        extra=extra,
    )


def _bytes_at(path: str | None) -> bytes:
    return Path(path).read_bytes() if path and Path(path).is_file() else b""


def _subjects(objects: Any) -> Iterator[Subject]:
    """Boxes with a named category; numbers that stand for a category say nothing and are left out."""
    if not isinstance(objects, Mapping):
        return
    names: list[Any] = next((objects[key] for key in CATEGORIES if objects.get(key)), [])
    for box, phrase in zip(objects.get("bbox") or [], names, strict=False):
        if isinstance(phrase, str) and len(box) == 4 and min(box[2:]) > 0:
            x, y, w, h = map(float, box)
            yield Subject(phrase, (x, y, w, h))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 20 and all(_is_plain(entry) and not isinstance(entry, list) for entry in value)
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= MOST_TEXT)
