"""Galleries whose making was interrupted: what is left of them, found again at the start, given up. Imports no gradio; whether a
visitor may go on or give up is the tab's to say.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssa_me.errors import InputError

if TYPE_CHECKING:
    from ssa_me.embedder import SalientEmbedder
    from ssa_me.gallery.sources import Source
    from ssa_me.gallery.store import Gallery
    from ssa_me.gallery.unfinished import Left

NOTHING = "There is nothing to go on with. Choose the files again."
ABANDONED = 24 * 3600
"""A gallery that nobody has written to for so many seconds while it was hidden is nobody's."""


def hold(gallery: Gallery, files: Sequence[Path]) -> tuple[Left, ...]:
    """Keep uploaded files in the gallery until they are in, and note that they are to be put in: each zip, then all images.
    Returns what was noted. Raises InputError where there is no room."""
    from ssa_me.gallery.unfinished import hold

    others = [(file.name, file) for file in files if file.suffix.lower() != ".zip"]
    zips: list[Source] = [file for file in files if file.suffix.lower() == ".zip"]
    return hold(gallery.database, [*zips, *([others] if others else [])])


def left(gallery: Gallery) -> tuple[Left, ...]:
    """The sources that are to be put in still, in order."""
    from ssa_me.gallery.unfinished import unfinished

    state = unfinished(gallery.database)
    return state.left if state else ()


def is_interrupted(gallery: Gallery) -> bool:
    """Whether there is something to go on with, and no process is at it."""
    from ssa_me.gallery.unfinished import unfinished

    state = unfinished(gallery.database)
    return state is not None and not state.at_work


def check_interrupted(gallery: Gallery) -> None:
    """Raises InputError where there is nothing to go on with, or a process is at it."""
    from ssa_me.gallery.unfinished import unfinished

    state = unfinished(gallery.database)
    if state is None:
        raise InputError(NOTHING)
    if state.at_work:
        raise InputError(
            f"Images are being put into {gallery.name} at this moment. Wait until that has ended."
        )


def unfinished_view(gallery: Gallery) -> dict[str, Any] | None:
    """`{"done", "total"}`: of so many images that were to be put in so many are (total: None where that is not known); None
    where nothing is left or a process is at it."""
    from ssa_me.gallery.unfinished import unfinished

    state = unfinished(gallery.database)
    if state is None or state.at_work:
        return None
    done, total = max(0, len(gallery) - state.before), state.total
    return {"done": done if total is None else min(done, total), "total": total}


def give_up(gallery: Gallery) -> bool:
    """Forget what is left. Whether the gallery then holds nothing at all, only uploads having been meant for it: it may go.
    Raises InputError where there is nothing to give up, or a process is at it."""
    from ssa_me.gallery.unfinished import forget, is_held, unfinished

    check_interrupted(gallery)
    state = unfinished(gallery.database)
    uploads = state is not None and all(is_held(gallery.database, left.source) for left in state.left)
    forget(gallery.database)
    return uploads and len(gallery) == 0


@contextmanager
def making(place: Path, name: str, embedder: SalientEmbedder) -> Iterator[Gallery]:
    """A new gallery, hidden beside `place` until the block has filled it with what it needs to go on; then it stands there, or
    nowhere where the block has failed."""
    from ssa_me.gallery.store import Gallery

    building = place.with_name(f".{place.name}")
    shutil.rmtree(building, ignore_errors=True)
    try:
        yield Gallery.create(building, name, str(embedder.info.checkpoint))
        building.rename(place)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def rescue(galleries: Path) -> None:
    """Show galleries that were being made in hidden folders when they were killed and hold images, as earlier versions have left
    them; delete those that hold none and were left a day ago, and uploads that nothing is left of."""
    from ssa_me.gallery.database import DATABASE, UNFINISHED, Database
    from ssa_me.gallery.unfinished import sweep

    for folder in sorted(galleries.iterdir()):
        begun = [folder / name for name in (DATABASE, UNFINISHED) if (folder / name).is_file()]
        with suppress(InputError, OSError):
            if begun and folder.name.startswith("."):
                _rescue(folder, begun[0].stat().st_mtime)
            elif begun:
                sweep(Database(folder))


def _rescue(folder: Path, touched: float) -> None:
    from ssa_me.gallery.store import Gallery

    try:
        count = len(Gallery.open(folder))
    except InputError:  # killed before it was a whole one
        count = 0
    if count:
        folder.rename(folder.with_name(free_id(folder.parent, folder.name.lstrip("."))))
    elif touched < time.time() - ABANDONED:
        shutil.rmtree(folder, ignore_errors=True)


def free_id(galleries: Path, stem: str, *reserved: str) -> str:
    """`stem`, with a number where there is such a gallery, or its id is `reserved`."""
    taken = {folder.name for folder in galleries.iterdir()} | set(reserved)
    numbers = (f"{stem}-{number}" for number in range(2, len(taken) + 3))
    return next(candidate for candidate in (stem, *numbers) if candidate not in taken)
