"""What a check of a data set finds, line by line, and what it leaves to train on."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssa_me.archives import unpack
from ssa_me.errors import InputError
from ssa_me.samples import read_image_folder
from ssa_me.training import data_check
from ssa_me.training.data_check import Finding, Quota, Report, check_set, language_of
from ssa_me.training.sample_set import write_sample_set


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder of noisy pictures: `folder([{metadata line, "seed": of its pixels}, …], "raw line", …)`."""

    def make(lines: list[dict[str, Any]], *raw: str) -> Path:
        out = tmp_path / "source"
        out.mkdir()
        told = []
        for line in lines:
            seed = line.pop("seed")
            pixels = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(out / line["file_name"])
            told.append(json.dumps(line))
        (out / "metadata.jsonl").write_text("\n".join([*told, *raw]), encoding="utf-8")
        return out

    return make


def check(source: Path, out: Path, **options: Any) -> Report:
    wrong: list[Finding] = []
    records = read_image_folder(source, wrong=lambda where, what: wrong.append(Finding(where, what)))
    return check_set(records, out, total=len(records), wrong=wrong, **options)


def lines(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"file_name": f"{n}.png", "captions": [f"text {n}"], "seed": n} | more for n in range(count)]


def test_everything_is_counted_and_kept_as_a_set_of_its_own(folder, tmp_path: Path) -> None:
    box = {"phrase": "a red dog", "bbox": [2, 3, 10, 10]}
    source = folder(
        [
            {
                "file_name": "a.png",
                "captions": ["one", "two"],
                "subjects": [box],
                "split": "train",
                "seed": 1,
            },
            {"file_name": "b.png", "captions": ["红色的狗"], "split": "val", "seed": 2},
            {"file_name": "c.png", "captions": ["eins"], "language": "de", "seed": 3},
            {"file_name": "d.png", "subjects": [{"phrase": "A red dog"}], "seed": 4},
            {"file_name": "e.png", "seed": 5},
        ]
    )
    report = check(source, tmp_path / "set")
    assert (report.found, report.used, report.train, report.held_out, report.without_text) == (5, 4, 3, 1, 1)
    assert (report.captions, report.subjects, report.located, report.phrases) == (4, 2, 1, 1)
    assert report.languages == {"Latin letters": 3, "Chinese characters": 1, "de": 1}
    assert not (report.split_made or report.duplicates or report.leakage or report.wrong or report.skipped)
    json.dumps(report.to_json())
    records = read_image_folder(tmp_path / "set")
    assert [r.extra["original"] for r in records] == ["a.png", "b.png", "c.png", "d.png"]
    assert records[0].subjects[0].bbox == (2, 3, 10, 10) and records[1].split == "val"
    with Image.open(records[0].path) as ours, Image.open(source / "a.png") as theirs:
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_what_is_wrong_is_told_line_by_line(folder, tmp_path: Path) -> None:
    subjects = [
        {"phrase": "far", "bbox": [100, 100, 5, 5]},
        {"phrase": ""},
        {"phrase": "guess", "status": "proposed"},
    ]
    source = folder(
        [{"file_name": "a.png", "captions": ["one"], "subjects": subjects, "seed": 1}, *lines(1)],
        "{no json",
        '{"captions": ["x"]}',
        '{"file_name": "gone.png", "captions": ["x"]}',
        '{"file_name": "0.png", "captions": ["x"], "subjects": [{"phrase": "p", "bbox": [1, 2]}]}',
    )
    report = check(source, tmp_path / "set")
    told = [(one.where, one.what) for one in report.wrong]
    assert [where for where, _ in told] == ["metadata.jsonl, line 3", "metadata.jsonl, line 4", "metadata.jsonl, line 6", "a.png", "a.png"]  # fmt: skip
    assert "no key 'file_name'" in told[1][1] and "2 numbers instead of" in told[2][1]
    assert "'far' lies outside" in told[3][1] and "without a phrase" in told[4][1]
    assert [one.where for one in report.skipped] == ["gone.png"]
    assert report.used == 2 and report.located == 0
    (first, *_) = [r for r in read_image_folder(tmp_path / "set") if r.extra["original"] == "a.png"]
    assert [(s.phrase, s.bbox) for s in first.subjects] == [("far", None)]


def test_equal_images_are_kept_once_and_never_on_both_sides(folder, tmp_path: Path) -> None:
    told = [
        {"file_name": "a.png", "captions": ["one"], "split": "train", "seed": 1},
        {"file_name": "b.png", "captions": ["again"], "split": "train", "seed": 1},
        {"file_name": "c.png", "captions": ["two"], "split": "train", "seed": 2},
        {"file_name": "d.png", "captions": ["secret"], "split": "test", "seed": 2},
        {"file_name": "e.png", "captions": ["other"], "split": "test", "seed": 3},
    ]
    report = check(folder(told), tmp_path / "set")
    assert report.duplicates == [Finding("b.png", "a.png")]
    assert report.leakage == [Finding("c.png", "d.png")]
    assert (report.train, report.held_out) == (1, 2)
    left = {r.extra["original"]: r.split for r in read_image_folder(tmp_path / "set")}
    assert left == {"a.png": "train", "d.png": "test", "e.png": "test"}


def test_without_a_split_a_tenth_is_held_out_the_same_every_time(folder, tmp_path: Path) -> None:
    source = folder(lines(30))
    for name in ("one", "other"):
        report = check(source, tmp_path / name)
        assert report.split_made and (report.train, report.held_out) == (27, 3)
    splits = [[r.split for r in read_image_folder(tmp_path / name)] for name in ("one", "other")]
    assert splits[0] == splits[1]


def test_quotas_are_named(folder, tmp_path: Path) -> None:
    source = folder(lines(5))
    for quota, words in (
        (Quota(images=4), "5 images, at most 4"),
        (Quota(bytes=9000), "takes over 0 MB"),
        (Quota(pixels=5000), "megapixels together"),
    ):
        with pytest.raises(InputError, match=words):
            check(source, tmp_path / "set", quota=quota)


def test_what_cannot_be_trained_on_says_why(folder, tmp_path: Path) -> None:
    source = folder([{"file_name": "a.png", "seed": 1}], "{")
    with pytest.raises(InputError, match=r"Nothing here .*line 2.*1 images have neither"):
        check(source, tmp_path / "set")


def test_a_full_disk_is_told(folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(data_check, "write_metadata", full)
    with pytest.raises(InputError, match="disk is full"):
        check(folder(lines(3)), tmp_path / "set")


def test_languages_by_what_is_said_or_by_script() -> None:
    said = {language_of(text) for text in ("un perro", "赤い", "собака", "123")}
    assert said == {"Latin letters", "Chinese characters", "Cyrillic letters", "no letters"}
    assert language_of("un perro", "es") == "es"


def test_the_sample_set_passes_its_own_check(tmp_path: Path) -> None:
    packed = write_sample_set(tmp_path / "sample.zip")
    assert packed.stat().st_size < 2_000_000
    assert unpack(packed, tmp_path / "raw").skipped == ()
    report = check(tmp_path / "raw", tmp_path / "set")
    assert (report.train, report.held_out, report.wrong, report.skipped) == (24, 8, [], [])
    assert report.located > 32 and not report.leakage
    with zipfile.ZipFile(packed) as archive:
        assert "metadata.jsonl" in archive.namelist()
