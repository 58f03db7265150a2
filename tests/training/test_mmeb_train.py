"""MMEB's training data: rows as they come, listed hard negatives, and what is wrong with a file, said with its row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ssa_me import tables
from ssa_me.errors import InputError
from ssa_me.training.mmeb_train import Pair, Side, holds_mmeb_train, read_mmeb_train

ROW = {
    "qry": "<|image_1|>\nRepresent the given image for classification.",
    "qry_image_path": "images/a.png",
    "pos_text": "a red bird",
    "pos_image_path": "",
    "neg_text": "a red house",
    "neg_image_path": "",
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 16)).save(tmp_path / "images" / name)
    return tmp_path


def test_a_row_is_a_pair_with_its_hard_negative(folder):
    write(folder / "ImageNet_1K.jsonl", ROW)
    (subset,) = read_mmeb_train(folder)
    assert subset.name == "ImageNet-1K"  # as the evaluation calls it
    assert subset.pairs == (
        Pair(
            Side("Represent the given image for classification.", folder / "images/a.png"),
            Side("a red bird", None),
            (Side("a red house", None),),
        ),
    )


def test_negatives_come_one_or_several_or_none(folder):
    image = {"neg_text": None, "neg_image_path": "images/b.png"}
    several = {
        "neg_text": ["a dog", "a red bird", "", "a dog"],
        "neg_image_path": ["", "", "images/b.png", ""],
    }
    none = {key: ROW[key] for key in ("qry", "qry_image_path", "pos_text")}
    write(folder / "X.jsonl", ROW | image, ROW | several, none)
    first, second, third = read_mmeb_train(folder)[0].pairs
    b = Side("", folder / "images/b.png")
    assert first.negatives == (b,)
    assert second.negatives == (Side("a dog", None), b)  # not the target itself, none twice
    assert third.negatives == ()


def test_the_hub_lays_subsets_out_in_folders_with_two_splits(folder):
    write(folder / "VOC2007" / "original-00000-of-00001.jsonl", ROW)
    write(folder / "VOC2007" / "diverse_instruction-00000-of-00001.jsonl", ROW, ROW)
    write(folder / "CIRR" / "diverse_instruction-00000-of-00001.jsonl", ROW, ROW, ROW)
    assert [(s.name, len(s.pairs)) for s in read_mmeb_train(folder)] == [("CIRR", 3), ("VOC2007", 1)]
    assert [s.name for s in read_mmeb_train(folder, ["VOC2007"])] == ["VOC2007"]
    with pytest.raises(InputError, match=r"has no subset 'SUN397'\. It has CIRR, VOC2007"):
        read_mmeb_train(folder, ["SUN397"])


def test_parquet_reads_like_jsonl(folder, monkeypatch):
    import numpy as np
    import pandas

    # As pandas gives them: lists are arrays, and what is missing is NaN.
    table = pandas.DataFrame([ROW | {"neg_text": np.nan}, ROW | {"neg_text": np.array(["a dog"])}])
    (folder / "Y.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(tables, "find_spec", lambda name: object())
    monkeypatch.setattr(pandas, "read_parquet", lambda path: table)
    first, second = read_mmeb_train(folder)[0].pairs
    assert first.negatives == () and second.negatives == (Side("a dog", None),)


def test_it_is_told_from_an_image_folder(folder):
    assert not holds_mmeb_train(folder) and not holds_mmeb_train(folder / "nowhere")
    write(folder / "X.jsonl", ROW)
    assert holds_mmeb_train(folder)
    write(folder / "images" / "metadata.jsonl", {"file_name": "a.png"})
    assert not holds_mmeb_train(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qry": "", "qry_image_path": ""}, r"X\.jsonl, row 2: its query has neither text nor image"),
        ({"pos_text": None}, r"row 2: its target has neither"),
        ({"qry_image_path": "/etc/x.png"}, r"row 2: the image path '/etc/x\.png' is not relative"),
        ({"neg_image_path": "../x.png"}, r"row 2: the image path '\.\./x\.png' is not relative"),
        ({"qry_image_path": "images/c.png"}, r"1 of 2 images are missing below .*: images/c\.png\. Unpack"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(folder, change, message):
    write(folder / "X.jsonl", ROW, ROW | change)
    with pytest.raises(InputError, match=message):
        read_mmeb_train(folder)


def test_rows_that_are_no_objects_or_lack_a_key(folder):
    write(folder / "X.jsonl", {"qry": "a", "qry_image_path": ""})
    with pytest.raises(InputError, match="row 1: it has no key 'pos_text'"):
        read_mmeb_train(folder)
    (folder / "X.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match="row 1: not a JSON object"):
        read_mmeb_train(folder)
    with pytest.raises(InputError, match=r"holds no SUBSET\.jsonl"):
        read_mmeb_train(folder / "images")
