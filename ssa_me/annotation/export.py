"""Writes annotations as an ImageFolder, as COCO JSON or as CSV, and reads the latter two back. Knows no database.

    ImageFolder   a zip of the images with `metadata.jsonl`: subjects with status, source and provenance
    COCO          `bbox`, `area`, `segmentation`: RLE of a mask, or the polygon of a box; the phrase under `caption`, its
                  head noun as category, everything else under `attributes`
    CSV           a row a subject; an image's file name and captions are repeated

All give back the same subjects when they are read. Boxes are `x, y, width, height` in pixels of the upright image.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ssa_me.annotation.records import Outcome
from ssa_me.errors import InputError
from ssa_me.samples import METADATA, Record, Subject
from ssa_me.tables import FORMULA

FORMATS = ("imagefolder", "coco", "csv")
COLUMNS = (
    "file_name",
    "image_width",
    "image_height",
    "phrase",
    "x",
    "y",
    "width",
    "height",
    "segmentation",
    "status",
    "source",
    "captions",
    "provenance",
)
_GUARDED = (*FORMULA, "'")
_STOPS = frozenset(
    {
        "in",
        "on",
        "at",
        "of",
        "with",
        "by",
        "near",
        "behind",
        "under",
        "over",
        "beside",
        "between",
        "from",
        "to",
        "wearing",
        "holding",
        "that",
        "who",
        "which",
        "left",
        "right",
        "next",
        "above",
        "below",
        "and",
    }
)
_ARTICLES = frozenset({"a", "an", "the", "some", "one"})


def category(phrase: str) -> str:
    """The head noun of an English phrase, lower case: the last word before the first preposition ("a person in red" is a
    person, "a yellow car" a car). Other languages keep their whole phrase."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", phrase.lower())
    if not words or not phrase.isascii():
        return " ".join(words) or phrase.strip().lower()
    words = [word for word in words if word not in _ARTICLES] or words
    stop = next((n for n, word in enumerate(words) if word in _STOPS and n > 0), len(words))
    return words[stop - 1]


def records(outcomes: Iterable[Outcome], path_of: Callable[[int], Path]) -> list[Record]:
    """One record an image, its subjects in order. Images of the same name get their id in front of it."""
    by_image: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        by_image.setdefault(outcome.picture.id, []).append(outcome)
    names = unique_names({id: group[0].picture.file_name for id, group in by_image.items()})
    return [
        Record(
            path_of(id),
            names[id],
            group[0].picture.captions,
            tuple(outcome.subject for outcome in group),
        )
        for id, group in by_image.items()
    ]


def unique_names(names: Mapping[int, str]) -> dict[int, str]:
    """Relative names that can stand in one folder: no way out of it, no hidden parts, each one once."""
    taken: set[str] = set()
    result = {}
    for id, name in names.items():
        parts = [
            part.lstrip(".")
            for part in PurePosixPath(name.replace("\\", "/")).parts
            if part not in ("/", "..")
        ]
        clean = "/".join(part for part in parts if part) or f"{id}.jpg"
        if clean in taken or clean == METADATA:
            clean = f"{id}-{clean.replace('/', '-')}"
        taken.add(clean)
        result[id] = clean
    return result


def write_image_folder(target: Path, found: Sequence[Record]) -> None:
    """A zip with the images as they are and their `metadata.jsonl`, whole or not at all. Raises InputError where an image
    is gone or the zip cannot be written."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            lines = "".join(json.dumps(r.to_json(), ensure_ascii=False) + "\n" for r in found)
            archive.writestr(METADATA, lines, zipfile.ZIP_DEFLATED)
            for record in found:
                if not record.path.is_file():
                    raise InputError(
                        f"{record.file_name} is no longer where it was; the export needs it. Put it back."
                    )
                archive.write(record.path, record.file_name)
        partial.replace(target)
    except OSError as error:
        raise InputError(
            f"The export could not be written: {error.strerror or error}. Free some space."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def to_coco(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """COCO's detection format. Categories are numbered from 1 by name, images keep their ids."""
    pictures = {outcome.picture.id: outcome.picture for outcome in outcomes}
    names = unique_names({picture.id: picture.file_name for picture in pictures.values()})
    categories = {
        name: n for n, name in enumerate(sorted({category(o.subject.phrase) for o in outcomes}), start=1)
    }
    annotations = []
    for number, outcome in enumerate(outcomes, start=1):
        subject = outcome.subject
        assert subject.bbox is not None
        mask = subject.segmentation is not None
        area = _mask_area(outcome) if mask else subject.bbox[2] * subject.bbox[3]
        annotations.append(
            {
                "id": number,
                "image_id": outcome.picture.id,
                "category_id": categories[category(subject.phrase)],
                "bbox": list(subject.bbox),
                "area": area,
                "iscrowd": 0,
                "segmentation": dict(subject.segmentation or {}) if mask else [_polygon(subject.bbox)],
                "caption": subject.phrase,
                "attributes": {"status": subject.status, "source": subject.source} | dict(subject.extra),
            }
        )
    images = [
        {
            "id": p.id,
            "file_name": names[p.id],
            "width": p.width,
            "height": p.height,
            "captions": list(p.captions),
        }
        for p in pictures.values()
    ]
    named = [{"id": n, "name": name, "supercategory": ""} for name, n in categories.items()]
    info = {"description": "Subjects validated in SSA-ME studio", "version": "1.0"}
    return {
        "info": info,
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": named,
    }


def from_coco(data: Mapping[str, Any], root: Path = Path()) -> list[Record]:
    """The records of a COCO JSON, `caption` (else the category) as phrase. Raises InputError where it is none."""
    try:
        names = {entry["id"]: str(entry["name"]) for entry in data.get("categories", [])}
        subjects: dict[int, list[Subject]] = {}
        for entry in data["annotations"]:
            extra = dict(entry.get("attributes") or {})
            known = {key: extra.pop(key, None) for key in ("status", "source")}
            shape = entry.get("segmentation")
            mask = {"size": shape["size"], "counts": shape["counts"]} if isinstance(shape, dict) else None
            x, y, w, h = (float(number) for number in entry["bbox"])
            phrase = str(entry.get("caption") or names[entry["category_id"]])
            subject = Subject(phrase, (x, y, w, h), mask, extra=extra, **known)
            subjects.setdefault(entry["image_id"], []).append(subject)
        return [
            Record(
                root / image["file_name"],
                image["file_name"],
                tuple(image.get("captions", ())),
                tuple(subjects.get(image["id"], ())),
            )
            for image in data["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"This is not COCO's format ({error!r} is missing or wrong). Export it again."
        ) from error


def to_csv(outcomes: Iterable[Outcome]) -> str:
    """A row a subject. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    for outcome in outcomes:
        subject, picture = outcome.subject, outcome.picture
        mask = json.dumps(dict(subject.segmentation)) if subject.segmentation else ""
        texts = (json.dumps(list(picture.captions), ensure_ascii=False), json.dumps(dict(subject.extra)))
        writer.writerow(
            [
                _guarded(picture.file_name),
                picture.width,
                picture.height,
                _guarded(subject.phrase),
                *(subject.bbox or ("", "", "", "")),
                mask,
                subject.status or "",
                subject.source or "",
                *texts,
            ]
        )
    return sheet.getvalue()


def from_csv(text: str, root: Path = Path()) -> list[Record]:
    """The records of such a CSV, in its order. Raises InputError, naming the line, where a row is not valid."""
    grouped: dict[str, tuple[tuple[str, ...], list[Subject]]] = {}
    csv.field_size_limit(10_000_000)
    rows = csv.DictReader(io.StringIO(text))
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise InputError(f"The first line of the CSV should be: {','.join(COLUMNS)}.")
    for row in rows:
        try:
            box = [float(row[key]) for key in ("x", "y", "width", "height")]
            subject = Subject(
                _bare(row["phrase"]),
                (box[0], box[1], box[2], box[3]),
                json.loads(row["segmentation"]) if row["segmentation"] else None,
                row["status"] or None,
                row["source"] or None,
                json.loads(row["provenance"]),
            )
            name = _bare(row["file_name"])
            grouped.setdefault(name, (tuple(json.loads(row["captions"])), []))[1].append(subject)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"Line {rows.line_num} of the CSV is not valid: {error}. Correct it.") from error
    return [Record(root / name, name, captions, tuple(found)) for name, (captions, found) in grouped.items()]


def _mask_area(outcome: Outcome) -> float:
    return float(outcome.subject.mask(outcome.picture.width, outcome.picture.height).sum())


def _polygon(bbox: Sequence[float]) -> list[float]:
    x, y, w, h = bbox
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def _guarded(text: str) -> str:
    return f"'{text}" if text.startswith(_GUARDED) else text


def _bare(text: str) -> str:
    return text[1:] if text.startswith("'") else text
