"""Where images of an ingest come from: a folder, a zip, one image, named files, or a data set of the hub.

It hands out records in parts and cleans up behind them. It knows no gallery but its folder, and no model.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ssa_me.archives import unpack
from ssa_me.errors import InputError
from ssa_me.gallery.database import DATABASE
from ssa_me.gallery.hub_data import HubData, open_hub
from ssa_me.samples import IMAGE_SUFFIXES, Record, read_image_folder

Source = Path | HubData | Sequence[tuple[str, Path]]
"""A folder, a zip, one image, a data set of the hub, or images with the names to show."""

_INCOMING = ".incoming-"
_ABANDONED = 24 * 3600


@dataclass(frozen=True)
class Opened:
    """`total` records in parts; those of a part may be gone when the next is asked for. leaving: they do not stay where
    they are, so images must be copied. skipped: (name, reason) of what is no image."""

    parts: Iterable[list[Record]]
    total: int
    leaving: bool
    skipped: tuple[tuple[str, str], ...] = ()


@contextmanager
def opened(source: Source, gallery: Path, unpacking: Callable[[int, int], None]) -> Iterator[Opened]:
    """The records of `source`. Temporary files lie below the folder `gallery`; `unpacking` gets (files done, of) and may
    raise to stop. Raises InputError where there is no image to read."""
    if isinstance(source, HubData):
        with _incoming(gallery) as temporary:
            total, parts = open_hub(source, temporary)
            yield Opened(parts, total, leaving=True)
    elif not isinstance(source, Path):
        yield Opened([[Record(path, name) for name, path in source]], len(source), leaving=True)
    elif source.is_dir():
        galleries = _galleries_below(source)
        records = read_image_folder(source)
        records = [record for record in records if galleries.isdisjoint(record.path.resolve().parents)]
        yield Opened([records], len(records), leaving=False)
    elif source.suffix.lower() in IMAGE_SUFFIXES:
        yield Opened([[Record(source, source.name)]], 1, leaving=False)
    elif not source.exists():
        raise InputError(f"{source} does not exist. Give a folder of images, a zip, or an image.")
    else:
        with _incoming(gallery) as temporary:
            unpacked = unpack(source, temporary / "zip", progress=unpacking)
            records = _read_unpacked(unpacked.folder, source.name)
            yield Opened([records], len(records), True, tuple(unpacked.skipped))


@contextmanager
def _incoming(gallery: Path) -> Iterator[Path]:
    """A temporary folder in the gallery's; what killed runs have left of theirs goes."""
    for left in gallery.glob(f"{_INCOMING}*"):
        if left.stat().st_mtime < time.time() - _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=gallery))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read_unpacked(folder: Path, archive: str) -> list[Record]:
    try:
        return read_image_folder(folder)
    except InputError as error:
        raise InputError(str(error).replace(str(folder), archive)) from error


def _galleries_below(source: Path) -> frozenset[Path]:
    """Folders of galleries kept among the photographs of `source`: their thumbnails are no photographs."""
    return frozenset(path.parent.resolve() for path in source.rglob(DATABASE)) - {source.resolve()}
