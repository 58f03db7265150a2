"""What goes into a model and what a data set holds: `Sample`, `Subject`, `Record`, and the ImageFolder data format.

Knows nothing of models. Coordinates are pixels of the upright image (EXIF orientation applied), origin top left;
a `bbox` is COCO's `(x, y, width, height)`, a segmentation COCO's compressed RLE with a `size` of its own.

The format is Hugging Face's ImageFolder: images beside a `metadata.jsonl` with one object a line, keys `file_name`,
`captions` (or one string `text` or `caption`), `subjects`, optional `split`, and free keys that are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ssa_me.errors import InputError

BBox = tuple[float, float, float, float]
"""`(x, y, width, height)` in pixels of the upright image."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
METADATA = "metadata.jsonl"
_MOST_MASK_CELLS = 100_000_000
_SPLIT_FOLDERS = {"train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}


@dataclass(frozen=True)
class Sample:
    """One input of the embedder: a text, an image, or both. `phrases` name its subjects where they are known."""

    text: str | None = None
    image: Image.Image | None = None
    phrases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image is None and not (self.text and self.text.strip()):
            raise InputError("A sample needs a text, an image, or both; this one has neither.")


@dataclass(frozen=True)
class Subject:
    """A subject of an image: its phrase and, where known, its region."""

    phrase: str
    bbox: BBox | None = None
    segmentation: Mapping[str, Any] | None = None
    status: str | None = None
    source: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def mask(self, width: int, height: int) -> np.ndarray:
        """The region as booleans `(height, width)`: the segmentation scaled to that size, else the filled box.

        `width` and `height` are those of the image that the box refers to; without any region the mask is empty.
        Raises InputError where the segmentation is not COCO's RLE.
        """
        if self.segmentation is not None:
            decoded = _decode_mask(self.segmentation, self.phrase)
            if decoded.shape != (height, width):
                decoded = cv2.resize(decoded, (width, height), interpolation=cv2.INTER_NEAREST)
            return decoded.astype(bool)
        mask = np.zeros((height, width), dtype=bool)
        if self.bbox is not None:
            x, y, w, h = self.bbox
            mask[max(0, round(y)) : max(0, round(y + h)), max(0, round(x)) : max(0, round(x + w))] = True
        return mask

    def to_json(self) -> dict[str, Any]:
        known = {
            "phrase": self.phrase,
            "bbox": list(self.bbox) if self.bbox else None,
            "segmentation": dict(self.segmentation) if self.segmentation else None,
            "status": self.status,
            "source": self.source,
        }
        return {key: value for key, value in known.items() if value is not None} | dict(self.extra)


@dataclass(frozen=True)
class Record:
    """One line of a data set: an image on disk with its captions and subjects. `extra` keeps every other key."""

    path: Path
    file_name: str
    captions: tuple[str, ...] = ()
    subjects: tuple[Subject, ...] = ()
    split: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        line: dict[str, Any] = {"file_name": self.file_name, "captions": list(self.captions)}
        line["subjects"] = [subject.to_json() for subject in self.subjects]
        if self.split is not None:
            line["split"] = self.split
        return line | dict(self.extra)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed RLE of a boolean mask `(height, width)`, with `counts` as text so that it fits into JSON."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(n) for n in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def _decode_mask(segmentation: Mapping[str, Any], phrase: str) -> np.ndarray:
    """COCO's RLE as 0 and 1, uint8 `(height, width)`; `counts` is text (compressed) or a list of run lengths."""
    try:
        height, width = (int(number) for number in segmentation["size"])
        if not 0 < height * width <= _MOST_MASK_CELLS or height < 0:
            raise ValueError(f"its size is {height} × {width}")
        counts = segmentation["counts"]
        if isinstance(counts, str):
            return np.asarray(coco_mask.decode({"size": [height, width], "counts": counts}))
        runs = np.asarray(counts, dtype=np.int64)
        if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
            raise ValueError("its runs do not fill its size")
        values = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
        return values.reshape(width, height).T  # COCO counts down the columns
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"The segmentation of {phrase!r} is not COCO's RLE ({error}). Correct it, or remove it."
        ) from error


def mask_bbox(mask: np.ndarray) -> BBox | None:
    """The box `(x, y, width, height)` around the true cells of `mask` `(height, width)`; None where there are none."""
    ys, xs = np.nonzero(mask)
    if len(xs) == 0:
        return None
    return float(xs.min()), float(ys.min()), float(xs.max() - xs.min() + 1), float(ys.max() - ys.min() + 1)


def read_image_folder(root: Path, *, wrong: Callable[[str, str], None] | None = None) -> list[Record]:
    """All images below `root`, in order of path, with what any `metadata.jsonl` beside or above them says.

    Folders named train, val, validation or test give the split where a line does not. Images that no line names come
    too, without captions. Pixels are not read: a corrupt file shows when it is opened.

    Raises InputError where `root` holds no image, or a line is not valid; the message names file and line. With `wrong`
    such a line is left out instead, and told as where it stands and what is wrong with it.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder. Give a folder of images, with or without {METADATA}.")
    described: dict[Path, Record] = {}
    for metadata in sorted(root.rglob(METADATA)):
        for record in _read_metadata(metadata, root, wrong):
            described[record.path] = record
    for path in _image_files(root):
        described.setdefault(
            path, Record(path, path.relative_to(root).as_posix(), split=_folder_split(path, root))
        )
    if not described:
        raise InputError(f"{root} holds no image ({', '.join(s[1:] for s in IMAGE_SUFFIXES)}).")
    return [described[path] for path in sorted(described)]


def write_metadata(root: Path, records: Iterable[Record]) -> Path:
    """Write `metadata.jsonl` in `root`, one line a record, whole or not at all. Returns its path."""
    target, partial = root / METADATA, root / f".{METADATA}.partial"
    partial.write_text(
        "".join(json.dumps(r.to_json(), ensure_ascii=False) + "\n" for r in records), encoding="utf-8"
    )
    partial.replace(target)
    return target


def _image_files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(root).parts)
        if not hidden and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.is_symlink():
            yield path


def _folder_split(path: Path, root: Path) -> str | None:
    names = [_SPLIT_FOLDERS[part] for part in path.relative_to(root).parts[:-1] if part in _SPLIT_FOLDERS]
    return names[-1] if names else _SPLIT_FOLDERS.get(root.name)


def _read_metadata(metadata: Path, root: Path, wrong: Callable[[str, str], None] | None) -> Iterator[Record]:
    with metadata.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield _parse_line(json.loads(line), metadata.parent, root)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    reason = f"it has no key {error}" if isinstance(error, KeyError) else str(error)
                    if wrong is not None:
                        wrong(f"{metadata.relative_to(root).as_posix()}, line {number}", reason)
                        continue
                    raise InputError(
                        f"{metadata}, line {number}: {reason}. Correct the line, or remove it."
                    ) from error


def _parse_line(line: dict[str, Any], folder: Path, root: Path) -> Record:
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    rest = dict(line)
    path = folder / str(rest.pop("file_name"))
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"file_name {path.name!r} points outside the folder")
    captions = rest.pop("captions", None)
    single = [rest.pop(key) for key in ("text", "caption") if isinstance(rest.get(key), str)]
    if captions is None:
        captions = single
    if isinstance(captions, str):
        captions = [captions]
    return Record(
        path=path,
        file_name=path.relative_to(root).as_posix(),
        captions=tuple(str(caption).strip() for caption in captions if str(caption).strip()),
        subjects=tuple(_parse_subject(subject) for subject in rest.pop("subjects", None) or []),
        split=rest.pop("split", None) or _folder_split(path, root),
        extra=rest,
    )


def _parse_subject(subject: dict[str, Any]) -> Subject:
    rest = dict(subject)
    phrase = str(rest.pop("phrase")).strip()
    bbox = rest.pop("bbox", None)
    if bbox is not None:
        if len(bbox) != 4:
            raise ValueError(f"the bbox of {phrase!r} has {len(bbox)} numbers instead of x, y, width, height")
        x, y, w, h = (float(number) for number in bbox)
        if not np.isfinite([x, y, w, h]).all() or w <= 0 or h <= 0:
            raise ValueError(f"the bbox of {phrase!r} is empty: [{x:g}, {y:g}, {w:g}, {h:g}]")
        bbox = (x, y, w, h)
    segmentation = rest.pop("segmentation", None)
    if segmentation is not None and not ({"size", "counts"} <= set(segmentation)):
        raise ValueError(f"the segmentation of {phrase!r} is not COCO's RLE with size and counts")
    status, source = rest.pop("status", None), rest.pop("source", None)
    return Subject(phrase, bbox, segmentation, status, source, rest)
