"""Unpacks a zip from a stranger: what is wanted of it (images and `metadata.jsonl`), nothing outside its folder.

Knows nothing of galleries. Sizes are counted while the bytes stream, whatever the archive says of itself.
Everything goes into a temporary folder first: the target appears whole, or not at all.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ssa_me.errors import InputError
from ssa_me.samples import IMAGE_SUFFIXES, METADATA

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".cbz", ".jar")
_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_UTF8 = 0x800
_ENTRY_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to. The ratio of unpacked to packed bytes counts above `ratio_from`."""

    entries: int = 50_000
    total_bytes: int = 8 * 2**30
    file_bytes: int = 512 * 2**20
    ratio: float = 200.0
    ratio_from: int = 16 * 2**20


@dataclass(frozen=True)
class Wanted:
    """Which files of an archive are unpacked: by suffix (lower case) or by name. `what` names one, and `other` says of
    another why it is left out; a file by one of `names` alone makes no archive useful."""

    suffixes: tuple[str, ...] = IMAGE_SUFFIXES
    names: tuple[str, ...] = (METADATA,)
    what: str = "image"
    other: str = "not an image"


@dataclass(frozen=True)
class UnpackReport:
    """What was unpacked into `folder`: the names of its images and metadata ('/' between folders), what was
    skipped as (name, reason), and the unpacked bytes."""

    folder: Path
    files: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    bytes: int


def unpack(
    archive: Path,
    into: Path,
    limits: Limits = Limits(),
    *,
    progress: Callable[[int, int], None] | None = None,
    wanted: Wanted = Wanted(),
) -> UnpackReport:
    """Unpack what is `wanted` of the zip `archive` into the new or empty folder `into`, by default images and metadata.

    Entries that are unsafe (paths that leave the folder, links), not wanted, nested archives, damaged, or
    second of their name are left out and reported. `progress(done, entries)` may raise to stop: then
    nothing stays on disk. Raises InputError where the file is not a zip or damaged as a whole, asks for a
    password, breaks a limit, or holds nothing that is wanted; then, too, nothing stays on disk.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise InputError(f"{into} is not empty. Unpack into a new folder.")
    if not archive.is_file():
        raise InputError(f"{archive} is not there. Give a zip file.")
    into.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".unpack-", dir=into.parent))
    try:
        with _open(archive) as opened:
            report = _Unpacking(archive, opened, partial, limits, wanted).run(into, progress)
        partial.chmod(0o755)
        partial.replace(into)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return report


def _open(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except (*_ENTRY_DAMAGE, OSError) as error:
        raise InputError(f"{archive.name} is no zip file, or damaged ({error}). Pack it again.") from error


class _Unpacking:
    """One run of `unpack`: what is written so far, against the limits."""

    def __init__(
        self, archive: Path, opened: zipfile.ZipFile, folder: Path, limits: Limits, wanted: Wanted
    ) -> None:
        self.name, self.opened, self.folder = archive.name, opened, folder
        self.limits, self.wanted = limits, wanted
        self.packed = max(1, archive.stat().st_size)
        self.written = 0
        self.files: list[str] = []
        self.skipped: list[tuple[str, str]] = []
        self.taken: set[str] = set()
        self.folders: set[str] = set()

    def run(self, into: Path, progress: Callable[[int, int], None] | None) -> UnpackReport:
        entries = self.opened.infolist()
        if len(entries) > self.limits.entries:
            raise InputError(
                f"{self.name} holds {len(entries):,} files, the limit is {self.limits.entries:,}. Split it."
            )
        for info in entries:
            self._check(_name(info), info.file_size, info.compress_size)  # too much by its own account
        for done, info in enumerate(entries):
            if progress:
                progress(done, len(entries))
            if not info.is_dir():
                self._entry(info)
        if not any(PurePosixPath(name).name not in self.wanted.names for name in self.files):
            why = "; ".join(f"{name}: {reason}" for name, reason in self.skipped[:3])
            raise InputError(
                f"{self.name} holds no {self.wanted.what} that can be used{f' ({why})' if why else ''}."
            )
        return UnpackReport(into, tuple(self.files), tuple(self.skipped), self.written)

    def _entry(self, info: zipfile.ZipInfo) -> None:
        name = _name(info)
        reason = _refused(name, info, self.wanted) or self._name_taken(name)
        if reason is None and info.flag_bits & _ENCRYPTED:
            raise InputError(f"{self.name} is protected by a password ({name}). Pack it again without one.")
        if reason is None:
            reason = self._extract(info, name)
        if reason is not None:
            self.skipped.append((name, reason))

    def _name_taken(self, name: str) -> str | None:
        path = PurePosixPath(_fold(name))
        key, parents = str(path), [str(parent) for parent in path.parents[:-1]]
        if key in self.taken or key in self.folders or self.taken.intersection(parents):
            return "a second file of the same name (upper and lower case count as the same)"
        self.taken.add(key)
        self.folders.update(parents)
        return None

    def _extract(self, info: zipfile.ZipInfo, name: str) -> str | None:
        """Write one entry; the reason where it cannot be, with nothing of it left."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        try:
            with self.opened.open(info) as packed, target.open("xb") as unpacked:
                while chunk := packed.read(_CHUNK):
                    size += len(chunk)
                    self._check(name, size, info.compress_size)
                    unpacked.write(chunk)
        except _ENTRY_DAMAGE as error:
            if isinstance(error, InputError):
                raise
            target.unlink(missing_ok=True)
            return f"damaged in the archive ({error})"
        self.written += size
        self.files.append(name)
        return None

    def _check(self, name: str, size: int, packed: int) -> None:
        """Raise where `size` bytes of one entry, on top of what is written, break a limit."""
        limits, total = self.limits, self.written + size
        too_much = None
        if size > limits.file_bytes:
            too_much = f"{name} unpacks to more than {limits.file_bytes // 2**20} MB"
        elif total > limits.total_bytes:
            too_much = f"it unpacks to more than {limits.total_bytes // 2**20:,} MB"
        elif size > limits.ratio_from and size > limits.ratio * max(1, packed):
            too_much = f"{name} unpacks to more than {limits.ratio:g} times its size"
        elif total > limits.ratio_from and total > limits.ratio * self.packed:
            too_much = f"it unpacks to more than {limits.ratio:g} times its size"
        if too_much:
            raise InputError(
                f"{self.name} may be a zip bomb and is refused: {too_much}. Nothing of it was kept."
            )


def _name(info: zipfile.ZipInfo) -> str:
    """The entry's name as its packer meant it: many write UTF-8 unmarked, which zipfile reads as CP 437."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    try:
        return info.orig_filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.orig_filename


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _refused(name: str, info: zipfile.ZipInfo, wanted: Wanted) -> str | None:
    """Why this entry is left out, or None."""
    parts = name.split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    suffix = PurePosixPath(name).suffix.lower()
    if stat.S_ISLNK(kind):
        return "refused: a link"
    if kind not in (0, stat.S_IFREG):
        return "refused: not a regular file"
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        return "refused: an absolute path, a drive or a backslash in its name"
    if any(part in ("", ".", "..") for part in parts):
        return "refused: its path leaves the archive"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        return "refused: control characters in its name"
    if any(len(part.encode()) > 255 for part in parts) or len(name) > 1024:
        return "refused: its name is too long"
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return "a hidden or system file"
    if suffix in _ARCHIVE_SUFFIXES:
        return "an archive inside the archive; unpack it first"
    if suffix not in wanted.suffixes and parts[-1] not in wanted.names:
        return wanted.other
    return None
