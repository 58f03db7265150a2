"""Looks at a data set before it is trained on, and keeps what can be used as an ImageFolder of its own.

Images come from strangers: each is decoded, checked and written anew from its pixels, under a name of its own. It knows
no models. Coordinates stay pixels of the upright image.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ssa_me.errors import InputError, disk_trouble
from ssa_me.images import load_image
from ssa_me.samples import Record, Subject, write_metadata

HELD_OUT = ("val", "test")
HELD_OUT_SHARE = 10
"""Of data without a split, one image in so many is held out, by its pixels, so that equal ones go the same way."""
_FEWEST_TO_SPLIT = 8
_LOSSLESS = 512  # pixels: smaller images are kept as they are
_SCRIPTS = {"CJK": "Chinese characters", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}

Progress = Callable[[int, int], None]
"""Called with the number of images looked at and of all; may raise to stop."""


@dataclass(frozen=True)
class Quota:
    """What a set may hold: images, bytes on disk, and pixels of all images together."""

    images: int = 20_000
    bytes: int = 4 * 2**30
    pixels: int = 8_000_000_000


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, and where: a line of metadata, or an image."""

    where: str
    what: str

    def to_json(self) -> list[str]:
        return [self.where, self.what]


@dataclass
class Report:
    """What a check found. `train` and `held_out` are what will be used; `located` counts subjects with a region;
    `languages` captions by language, or by script where the data does not say."""

    found: int = 0
    train: int = 0
    held_out: int = 0
    without_text: int = 0
    captions: int = 0
    subjects: int = 0
    located: int = 0
    phrases: int = 0
    bytes: int = 0
    pixels: int = 0
    split_made: bool = False
    languages: Counter[str] = field(default_factory=Counter)
    duplicates: list[Finding] = field(default_factory=list)
    leakage: list[Finding] = field(default_factory=list)
    wrong: list[Finding] = field(default_factory=list)
    skipped: list[Finding] = field(default_factory=list)

    @property
    def used(self) -> int:
        return self.train + self.held_out

    def to_json(self) -> dict[str, Any]:
        plain = {key: value for key, value in vars(self).items() if not isinstance(value, list)}
        lists = {
            key: [one.to_json() for one in value]
            for key, value in vars(self).items()
            if isinstance(value, list)
        }
        return plain | lists | {"used": self.used, "languages": dict(self.languages.most_common())}


@dataclass(frozen=True)
class _Kept:
    """An image that can be used: its record below the new folder, the hash of its pixels, its name in the source."""

    record: Record
    digest: str
    name: str


def check_set(
    records: Iterable[Record],
    out: Path,
    *,
    total: int,
    wrong: Sequence[Finding] = (),
    skipped: Sequence[Finding] = (),
    quota: Quota = Quota(),
    progress: Progress | None = None,
) -> Report:
    """Look at `records`, and write those that can be trained on or held out to the new folder `out`, with metadata.

    Equal images are kept once; one that stands both in training and in evaluation is left out of training, else what is
    measured would have been learned by heart. Without a split every tenth image is held out. `wrong` and `skipped` are
    what the reader of the source has found already. Raises InputError where a quota is exceeded, the disk is full, or
    nothing can be used.
    """
    report = Report(wrong=list(wrong), skipped=list(skipped))
    if total > quota.images:
        raise InputError(
            f"The data holds {total:,} images, at most {quota.images:,} are allowed. Take a part of it."
        )
    kept: list[_Kept] = []
    for number, record in enumerate(records):
        if progress is not None:
            progress(number, total)
        report.found += 1
        one = _keep(record, out, len(kept), report, quota)
        if one is not None:
            kept.append(one)
    chosen = _split(_without_twins(kept, report), report)
    if not chosen:
        raise InputError(_nothing(report))
    try:
        write_metadata(out, chosen)
    except OSError as error:
        raise disk_trouble(error, "the data set") from error
    _count(chosen, report)
    return report


def _keep(record: Record, out: Path, number: int, report: Report, quota: Quota) -> _Kept | None:
    """Write one image anew; None where it cannot be read or has nothing to say, which is noted."""
    try:
        image = load_image(record.path, record.file_name)
    except InputError as error:
        report.skipped.append(Finding(record.file_name, str(error).removeprefix(f"{record.file_name} ")))
        return None
    subjects = tuple(_usable(record, image, report))
    if not record.captions and not subjects:
        report.without_text += 1
        return None
    report.pixels += image.width * image.height
    if report.pixels > quota.pixels:
        most = quota.pixels // 10**6
        raise InputError(
            f"The images have over {most:,} megapixels together. Make them smaller, or take a part."
        )
    small = max(image.size) <= _LOSSLESS
    name = f"images/{number:06d}.{'png' if small else 'jpg'}"
    path = out / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(
            path, **({"format": "PNG"} if small else {"format": "JPEG", "quality": 95, "subsampling": 0})
        )
    except OSError as error:
        raise disk_trouble(error, "an image of the data set") from error
    report.bytes += path.stat().st_size
    if report.bytes > quota.bytes:
        raise InputError(
            f"The data takes over {quota.bytes // 2**20:,} MB. Make the images smaller, or take a part."
        )
    told = {key: record.extra[key] for key in ("language", "scene") if key in record.extra}
    written = Record(
        path, name, record.captions, subjects, record.split, told | {"original": record.file_name}
    )
    return _Kept(written, _digest(image), record.file_name)


def _usable(record: Record, image: Image.Image, report: Report) -> Iterable[Subject]:
    """The subjects of a record that are true and make sense; a region that does not is named, and its phrase kept."""
    for subject in record.subjects:
        if not subject.phrase:
            report.wrong.append(Finding(record.file_name, "a subject without a phrase"))
            continue
        if subject.status in ("proposed", "rejected"):
            continue
        located = subject.bbox is not None or subject.segmentation is not None
        try:
            lies_inside = not located or bool(subject.mask(*image.size).any())
        except InputError as error:
            report.wrong.append(Finding(record.file_name, str(error)))
            lies_inside = False
        else:
            if not lies_inside:
                report.wrong.append(
                    Finding(record.file_name, f"the region of {subject.phrase!r} lies outside the image")
                )
        yield subject if lies_inside else replace(subject, bbox=None, segmentation=None)


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


def _without_twins(kept: Sequence[_Kept], report: Report) -> list[_Kept]:
    """Each picture once. Of equal ones the first stays; one that is held out goes before all that are not."""
    first: dict[str, _Kept] = {}
    for one in sorted(kept, key=lambda k: k.record.split not in HELD_OUT):
        twin = first.setdefault(one.digest, one)
        if twin is one:
            continue
        one.record.path.unlink(missing_ok=True)
        leaked = twin.record.split in HELD_OUT and one.record.split not in HELD_OUT
        (report.leakage if leaked else report.duplicates).append(Finding(one.name, twin.name))
    return [one for one in kept if first[one.digest] is one]


def _split(kept: Sequence[_Kept], report: Report) -> list[Record]:
    """The records, some of them held out where the data has no split of its own and enough images."""
    if any(one.record.split in HELD_OUT for one in kept) or len(kept) < _FEWEST_TO_SPLIT:
        return [one.record for one in kept]
    report.split_made = True
    order = sorted(kept, key=lambda one: one.digest)
    held = {one.digest for one in order[: max(2, len(order) // HELD_OUT_SHARE)]}
    return [
        replace(one.record, split="val") if one.digest in held else replace(one.record, split="train")
        for one in kept
    ]


def _count(records: Sequence[Record], report: Report) -> None:
    phrases: set[str] = set()
    for record in records:
        held = record.split in HELD_OUT
        report.held_out += held
        report.train += not held
        report.captions += len(record.captions)
        report.subjects += len(record.subjects)
        report.located += sum(s.bbox is not None or s.segmentation is not None for s in record.subjects)
        phrases.update(subject.phrase.casefold() for subject in record.subjects)
        texts = record.captions or tuple(subject.phrase for subject in record.subjects)
        report.languages.update(language_of(text, record.extra.get("language")) for text in texts)
    report.phrases = len(phrases)


def language_of(text: str, said: object = None) -> str:
    """The language that the data names, else the script that most of a text's letters are of."""
    if isinstance(said, str) and said:
        return said[:20]
    scripts = Counter(unicodedata.name(letter, "other").split()[0] for letter in text if letter.isalpha())
    if not scripts:
        return "no letters"
    most = scripts.most_common(1)[0][0]
    return _SCRIPTS.get(most, f"{most.capitalize()} letters")


def _nothing(report: Report) -> str:
    why = [f"{one.where}: {one.what}" for one in (*report.wrong, *report.skipped)][:2]
    if report.without_text:
        why.append(f"{report.without_text:,} images have neither caption nor subject")
    told = f" ({'; '.join(why)})" if why else ""
    return f"Nothing here can be trained on{told}. Describe the images in a metadata.jsonl beside them."
