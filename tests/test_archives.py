"""Zips from strangers: what comes out, what is left out and why, and that a bomb leaves nothing behind."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from ssa_me.archives import Limits, unpack
from ssa_me.errors import InputError

DEFAULT = Limits()


def _image(colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(data, "PNG")
    return data.getvalue()


def _zip(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], compressed: bool = False) -> Path:
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as packed:
        for name, data in entries:
            packed.writestr(name, data)
    return path


def _left(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in" / "set.zip"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "out" / "set"


def _refused(archive: Path, into: Path, words: str, limits: Limits = DEFAULT) -> None:
    with pytest.raises(InputError, match=words):
        unpack(archive, into, limits)
    assert not into.parent.exists() or not any(into.parent.iterdir())


# What comes out


def test_images_and_metadata_come_out(archive, into):
    _zip(archive, ("a.png", _image()), ("b/c.JPG", b"x"), ("b/", b""), ("b/metadata.jsonl", b"{}\n"))
    report = unpack(archive, into)
    assert report.files == ("a.png", "b/c.JPG", "b/metadata.jsonl")
    assert (report.folder, report.skipped, report.bytes) == (into, (), len(_image()) + 4)
    assert _left(into) == ["a.png", "b/c.JPG", "b/metadata.jsonl"]
    assert (into / "a.png").read_bytes() == _image()
    assert list(into.parent.iterdir()) == [into]


def test_an_empty_folder_is_fine_as_a_target_and_a_full_one_is_not(archive, into):
    _zip(archive, ("a.png", _image()))
    into.mkdir(parents=True)
    unpack(archive, into)
    with pytest.raises(InputError, match="is not empty"):
        unpack(archive, into)
    assert _left(into) == ["a.png"]


@pytest.mark.parametrize("marked", [True, False])
def test_names_in_any_script_come_through_whether_marked_as_utf_8_or_not(archive, into, marked):
    _zip(archive, ("写真/été.png", _image()))
    if not marked:
        data = bytearray(archive.read_bytes())
        data[7] &= ~0x08  # the flag's high byte in the local header, and in the directory
        data[data.index(b"PK\x01\x02") + 9] &= ~0x08
        archive.write_bytes(bytes(data))
    assert unpack(archive, into).files == ("写真/été.png",)


# What is left out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.png", "leaves the archive"),
        ("a/../../evil.png", "leaves the archive"),
        ("a//b.png", "leaves the archive"),
        ("./b.png", "leaves the archive"),
        ("/etc/evil.png", "absolute"),
        ("C:/evil.png", "drive"),
        ("C:evil.png", "drive"),
        ("a\\..\\..\\evil.png", "backslash"),
        ("\\\\host\\evil.png", "backslash"),
        ("a\nb.png", "control characters"),
        ("x" * 300 + ".png", "too long"),
        ("__MACOSX/._a.png", "hidden or system"),
        (".hidden/a.png", "hidden or system"),
        ("inner.zip", "archive inside"),
        ("inner.tar.gz", "archive inside"),
        ("notes.txt", "not an image"),
        ("drawing.svg", "not an image"),
        ("noextension", "not an image"),
    ],
)
def test_unsafe_and_useless_entries_are_left_out_with_a_reason(archive, into, name, reason):
    _zip(archive, ("good.png", _image()), (name, _image()))
    report = unpack(archive, into)
    assert report.files == ("good.png",)
    assert [(skipped, reason in why) for skipped, why in report.skipped] == [(name, True)]
    assert _left(into.parent) == ["set/good.png"]
    assert _left(archive.parent) == ["set.zip"]


@pytest.mark.parametrize(
    ("kind", "word"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "regular"), (stat.S_IFCHR, "regular")]
)
def test_links_and_devices_are_refused(archive, into, kind, word):
    info = zipfile.ZipInfo("link.png")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    _zip(archive, ("good.png", _image()), (info, b"/etc/passwd"))
    report = unpack(archive, into)
    assert report.skipped[0][0] == "link.png"
    assert word in report.skipped[0][1]
    assert not (into / "link.png").is_symlink() and not (into / "link.png").exists()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a.png", "a.png"),
        ("a.png", "A.PNG"),
        ("é.png", "e\u0301.png"),
        ("a.png", "a.png/b.png"),
        ("a.png/b.png", "a.png"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_entries_of_one_name_the_first_stays(archive, into, first, second):
    _zip(archive, (first, _image("red")), (second, _image("blue")))
    report = unpack(archive, into)
    assert report.files == (first,)
    assert [(name, "same name" in reason) for name, reason in report.skipped] == [(second, True)]
    assert (into / first).read_bytes() == _image("red")


def test_a_damaged_entry_is_left_out_and_the_rest_comes(archive, into):
    _zip(archive, ("bad.png", b"A" * 1000), ("good.png", _image()))
    archive.write_bytes(archive.read_bytes().replace(b"A" * 1000, b"A" * 500 + b"B" * 500))
    report = unpack(archive, into)
    assert report.files == ("good.png",)
    assert report.skipped[0][0] == "bad.png"
    assert "damaged in the archive" in report.skipped[0][1]
    assert _left(into) == ["good.png"]


# What is refused whole


def test_a_bomb_is_refused_and_leaves_nothing(archive, into):
    _zip(archive, ("good.png", _image()), ("bomb.png", b"\0" * 40_000_000), compressed=True)
    _refused(archive, into, r"set\.zip may be a zip bomb and is refused: bomb\.png .*200 times")


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_streams(archive, into):
    data = b"\0" * 40_000_000
    _zip(archive, ("good.png", _image()), ("bomb.png", data), compressed=True)
    liar = archive.read_bytes().replace(struct.pack("<I", len(data)), struct.pack("<I", 1000))
    archive.write_bytes(liar)
    try:
        report = unpack(archive, into)
    except InputError:
        assert not into.exists()
    else:  # zipfile stops at the size that the archive claims, and the checksum gives it away
        assert report.files == ("good.png",)
        assert sum(path.stat().st_size for path in into.rglob("*") if path.is_file()) < 10_000


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(entries=2), "holds 3 files, the limit is 2"),
        (Limits(file_bytes=1_500_000), "big.png unpacks to more than 1 MB"),
        (Limits(total_bytes=2_500_000), "it unpacks to more than 2 MB"),
        (Limits(ratio=1.5, ratio_from=1000), "more than 1.5 times its size"),
    ],
)
def test_every_limit_holds(archive, into, limits, words):
    zeros = ("big.png", bytes(range(256)) * 8192)
    _zip(archive, ("a.png", _image()), ("b.png", bytes(range(256)) * 4096), zeros, compressed=True)
    assert len(unpack(archive, into).files) == 3
    _refused(archive, into.parent.parent / "other" / "set", words, limits)


def test_many_small_entries_together_break_the_ratio(archive, into):
    _zip(archive, *((f"{n}.png", b"\0" * 100_000) for n in range(30)), compressed=True)
    _refused(archive, into, "it unpacks to more than 50 times", Limits(ratio=50, ratio_from=2_000_000))


def test_a_password_is_named(archive, into):
    _zip(archive, ("secret.png", _image()))
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    archive.write_bytes(bytes(data))
    _refused(archive, into, r"protected by a password \(secret\.png\)")


def test_what_is_not_a_zip_is_refused(archive, into):
    _refused(archive, into, "not there")
    archive.write_bytes(b"")
    _refused(archive, into, r"set\.zip is no zip file")
    archive.write_bytes(_image())
    _refused(archive, into, r"set\.zip is no zip file")
    _zip(archive, ("a.png", _image()), ("b.png", _image()))
    archive.write_bytes(archive.read_bytes()[:-60])
    _refused(archive, into, r"set\.zip is no zip file")


def test_a_zip_without_images_is_refused_with_the_reasons(archive, into):
    _zip(archive, ("notes.txt", b"x"), ("metadata.jsonl", b"{}"))
    _refused(archive, into, r"no image that can be used \(notes\.txt: not an image\)")
    _zip(archive)
    _refused(archive, into, "holds no image that can be used")


def test_a_progress_that_raises_stops_and_leaves_nothing(archive, into):
    _zip(archive, ("a.png", _image()), ("b.png", _image()))

    def stop(done: int, entries: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, into, progress=stop)
    assert list(into.parent.iterdir()) == []
