"""Results of a search as files for other programs: a table (CSV), JSON, and thumbnails. It searches nothing.

The CSV is UTF-8 with a byte order mark, which spreadsheets need; a text that a spreadsheet would run as a formula gets an
apostrophe in front.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssa_me.errors import InputError
from ssa_me.gallery.items import Item
from ssa_me.gallery.results import Hit, SearchResult
from ssa_me.gallery.store import Gallery
from ssa_me.tables import harmless

FORMATS = ("csv", "json")
COLUMNS = (
    "ranking",
    "rank",
    "id",
    "file_name",
    "path",
    "score",
    "subject",
    "subject_score",
    "x",
    "y",
    "width",
    "height",
    "label",
    "caption",
    "thumbnail",
)


def export(
    result: SearchResult,
    gallery: Gallery,
    folder: Path,
    *,
    formats: Sequence[str] = FORMATS,
    thumbnails: bool = False,
    paths: bool = True,
) -> list[Path]:
    """Write `results.csv` and `results.json` into `folder`, each whole or not at all, and `thumbnails/` where asked for.

    paths: name where images lie on this machine. Returns the files. Raises InputError for an unknown format, or where the
    folder cannot be written; other files in it stay.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise InputError(
            f"Results are not written as {', '.join(unknown)}. Choose from {', '.join(FORMATS)}."
        )
    items = gallery.items_of(hit.id for hits in result.results.values() for hit in hits)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [_thumbnail(item, folder) for item in items.values()] if thumbnails else []
        texts = {"csv": to_csv, "json": to_json}
        for name in dict.fromkeys(formats):
            text = texts[name](result, items, thumbnails=thumbnails, paths=paths)
            files.append(_write(folder / f"results.{name}", text))
    except OSError as error:
        raise InputError(
            f"The results cannot be written to {folder} ({error.strerror}). Give another folder."
        ) from error
    return files


def to_csv(
    result: SearchResult, items: dict[int, Item], *, thumbnails: bool = False, paths: bool = True
) -> str:
    """A row a hit, with the columns of `COLUMNS`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for name, hits in result.results.items():
        table.writerows(
            [harmless(value) for value in _row(name, hit, items[hit.id], thumbnails, paths)] for hit in hits
        )
    return f"\ufeff{text.getvalue()}"


def to_json(
    result: SearchResult, items: dict[int, Item], *, thumbnails: bool = False, paths: bool = True
) -> str:
    """The result's own JSON; each hit also has `file_name`, `captions` and, where they are written, `thumbnail`."""
    data = result.to_json()
    for hits in data["results"].values():
        for hit in hits:
            item = items[hit["id"]]
            hit |= {"file_name": item.file_name, "captions": list(item.captions)}
            hit |= {"thumbnail": f"thumbnails/{item.thumbnail.name}"} if thumbnails else {}
            if not paths:
                del hit["path"]
    return json.dumps(data, indent=2, ensure_ascii=False)


def _row(ranking: str, hit: Hit, item: Item, thumbnails: bool, paths: bool) -> list[Any]:
    subject = hit.subject
    box = [round(number, 1) for number in subject.bbox] if subject and subject.bbox else [""] * 4
    named = [subject.phrase, round(subject.score, 6)] if subject else ["", ""]
    return [
        *(ranking, hit.rank, hit.id, item.file_name, hit.path if paths else "", round(hit.score, 6)),
        *(*named, *box, (subject.label if subject else None) or ""),
        item.captions[0] if item.captions else "",
        f"thumbnails/{item.thumbnail.name}" if thumbnails else "",
    ]


def _thumbnail(item: Item, folder: Path) -> Path:
    target = folder / "thumbnails" / item.thumbnail.name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(item.thumbnail, target)
    return target


def _write(path: Path, text: str) -> Path:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(text.encode("utf-8", "backslashreplace"))
    os.replace(partial, path)
    return path
