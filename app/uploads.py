"""Images that people search with, kept by content hash so that a link can name them. Knows no page and no model.

Every image is re-encoded from its pixels: nothing of the uploaded file itself is kept or served.
"""

from __future__ import annotations

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from app.permalink import check_image_hash
from ssa_me.errors import InputError
from ssa_me.images import content_hash, load_image

MAX_BYTES = 40 * 2**20
LONGEST = 1600


@dataclass(frozen=True)
class Upload:
    """An image in the store. `hash` is that of the kept file; width and height are its pixels."""

    hash: str
    width: int
    height: int


class UploadStore:
    """A folder of images by content hash with a cap on bytes; what was used longest ago goes first."""

    def __init__(self, folder: Path, capacity: int = 256 * 2**20) -> None:
        self._folder, self._capacity = folder, capacity
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, data: bytes, name: str) -> Upload:
        """Keep the image in `data`, at most 1,600 px on its longer side. Raises InputError that names the image."""
        if len(data) > MAX_BYTES:
            raise InputError(f"{name} is larger than {MAX_BYTES // 2**20} MB. Make it smaller and try again.")
        return self.add_image(load_image(data, name))

    def add_image(self, image: Image.Image) -> Upload:
        """Keep an image that is upright RGB already."""
        image = image.copy()
        image.thumbnail((LONGEST, LONGEST))
        encoded = io.BytesIO()
        image.save(encoded, format="PNG" if max(image.size) <= 512 else "JPEG", quality=92)
        digest = content_hash(encoded.getvalue())
        target = self._folder / digest
        with self._lock:
            if not target.exists():
                partial = self._folder / f".{digest}.partial"
                partial.write_bytes(encoded.getvalue())
                partial.replace(target)
            os.utime(target)
            self._trim()
        return Upload(digest, *image.size)

    def path(self, digest: object) -> Path:
        """The file of an upload. Raises InputError where it is not (or no longer) there."""
        path = self._folder / check_image_hash(digest)
        if not path.is_file():
            raise InputError("The image of this search is no longer here. Upload it again.")
        return path

    def image(self, digest: object) -> Image.Image:
        """The image of an upload, RGB. Raises InputError where it is not there."""
        path = self.path(digest)
        os.utime(path)
        return load_image(path, "The uploaded image")

    def describe(self, digest: object) -> Upload:
        """Hash and size of an upload. Raises InputError where it is not there."""
        with Image.open(self.path(digest)) as image:
            return Upload(check_image_hash(digest), *image.size)

    def _trim(self) -> None:
        files = sorted(
            (path for path in self._folder.iterdir() if path.is_file()), key=lambda p: p.stat().st_mtime
        )
        total = sum(path.stat().st_size for path in files)
        for path in files[:-1]:
            if total <= self._capacity:
                return
            total -= path.stat().st_size
            path.unlink()
