"""Reads image files into one form, upright RGB, and refuses what it cannot read with a reason.

Knows no gallery and no model. Files come from strangers: only the formats of `FORMATS` are tried, the size
is checked before a pixel is decoded, and no setting of Pillow is changed for a call, so that any number of
threads may read at once.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ssa_me.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 50_000_000
MAX_BYTES = 512 * 2**20
MIN_SIDE = 8
MAX_ASPECT = 100
MAX_SIDE = 65_000  # what JPEG can hold

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)  # once; `_check_size` is stricter
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # damage is reported as InputError


def load_image(source: Path | bytes | BinaryIO, name: str | None = None) -> Image.Image:
    """The image as upright RGB: EXIF orientation applied, first frame of an animation, transparency on white,
    CMYK converted, 16-bit grey scaled to 8 bits. `name` is what messages call it (default: the path).

    Raises InputError, naming the image, where it is missing, empty, not an image of `FORMATS`, damaged or cut
    short, above `MAX_PIXELS` (checked before decoding), below `MIN_SIDE` on a side, or more than `MAX_ASPECT`
    times as long as it is wide.
    """
    name = name or (str(source) if isinstance(source, Path) else "The image")
    data = _read(source, name)
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} is not a JPEG, PNG, WebP, BMP, GIF or TIFF image. Give one of these."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"{name} has over {MAX_PIXELS // 10**6} megapixels. Make it smaller first."
        ) from error
    except _DAMAGE as error:
        raise InputError(_damaged(name, error)) from error
    with opened:
        _check_size(*opened.size, name)
        try:
            opened.load()
            orientation = _orientation(opened)
            image = _to_rgb(opened)
        except _DAMAGE as error:
            raise InputError(_damaged(name, error)) from error
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def thumbnail(image: Image.Image, longest: int = 320) -> Image.Image:
    """A copy whose longer side is at most `longest` px, in the same proportions; small images keep theirs."""
    if max(image.size) <= longest:
        return image.copy()
    scale = longest / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.0)  # boxes first: ten times cheaper


def content_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes as 64 hex digits: two files are the same image where it is equal."""
    return hashlib.sha256(data).hexdigest()


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 of an image's mode, size and pixels as 64 hex digits, whatever file they came from."""
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()


def _read(source: Path | bytes | BinaryIO, name: str) -> bytes:
    if isinstance(source, Path):
        if not source.is_file():
            reason = "a folder, not an image" if source.is_dir() else "not there"
            raise InputError(f"{name} is {reason}. Check the path.")
        if source.stat().st_size > MAX_BYTES:
            raise InputError(f"{name} is larger than {MAX_BYTES // 2**20} MB. Make it smaller first.")
        try:
            data = source.read_bytes()
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror}.") from error
    else:
        data = source if isinstance(source, bytes) else source.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"{name} is larger than {MAX_BYTES // 2**20} MB. Make it smaller first.")
    if not data:
        raise InputError(f"{name} is empty (0 bytes). Give an image.")
    return data


def _check_size(width: int, height: int, name: str) -> None:
    size = f"{width} × {height} pixels"
    if width * height > MAX_PIXELS:
        megapixels = f"{width * height / 1e6:.0f} megapixels, the limit is {MAX_PIXELS // 10**6}"
        raise InputError(f"{name} is {size}: {megapixels}. Make it smaller first.")
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{name} is {size}, over {MAX_SIDE:,} on a side. Make it smaller first.")
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name} is {size}, smaller than {MIN_SIDE} px on a side. Give a larger image.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(f"{name} is {size}, over {MAX_ASPECT} times as long as it is wide. Crop it first.")


def _damaged(name: str, error: BaseException) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{name} is damaged or cut short ({reason}). Give a whole copy of it."


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:  # the pixels are fine even where the EXIF block is not
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_grey_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", layers.size, "white")
        return Image.alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bits(grey: np.ndarray) -> np.ndarray:
    """`(H, W)` of more than 8 bits as uint8.

    16 bits are divided by 257, floats in [0, 1] multiplied by 255; whatever leaves these ranges is
    stretched from its minimum to its maximum, since the file does not say what white is.
    """
    values = np.nan_to_num(grey.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if grey.dtype.kind == "f":
        low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    return np.rint((values - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)
