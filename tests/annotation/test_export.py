"""Export, then import: the same. COCO's own tools read what is written."""

import contextlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from ssa_me.annotation import AnnotationStore, Filters, Outcome
from ssa_me.annotation.export import (
    category,
    from_coco,
    from_csv,
    records,
    to_coco,
    to_csv,
    unique_names,
    write_image_folder,
)
from ssa_me.errors import InputError
from ssa_me.samples import Record, Subject, read_image_folder
from tests.annotation.conftest import PICTURES, disc, proposal

Content = list[tuple[str, tuple[str, ...], tuple[Subject, ...]]]


def content(found: list[Record]) -> Content:
    return sorted((r.file_name, r.captions, r.subjects) for r in found)


@pytest.fixture
def judged(store: AnnotationStore, mask: Subject) -> list[Outcome]:
    """Accepted, fixed with a mask and another phrase, added; one rejected and one undone."""
    store.add(PICTURES, [proposal(2, "=1+1")])
    store.decide(1, "Ann", "accept", seconds=2.5)
    store.decide(2, "Ann", "reject")
    store.decide(3, "Ann", "accept")
    store.undo("Ann")
    store.decide(4, "Bob", "fix", replace(mask, phrase='un chien "noir"'))
    store.decide(5, "Bob", "accept")
    store.add_subject(1, "Ann", Subject("a small bird", (30.0, 2.25, 4.5, 4.5)))
    return list(store.outcomes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for picture in PICTURES:
        path = tmp_path / "images" / picture.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (picture.width, picture.height), "red").save(path)
    return tmp_path / "images"


def exported(judged: list[Outcome], folder: Path) -> list[Record]:
    names = {picture.id: picture.file_name for picture in PICTURES}
    return records(judged, lambda id: folder / names[id])


def test_each_subject_says_what_became_of_it_and_how(judged: list[Outcome]) -> None:
    said = [(o.subject.phrase, o.subject.status, o.subject.source) for o in judged]
    assert said == [
        ("a person in red", "accepted", "model"),
        ("a small bird", "added", "human"),
        ('un chien "noir"', "fixed", "human"),
        ("=1+1", "accepted", "model"),
    ]
    steps = judged[0].subject.extra["provenance"]
    assert [step["by"] for step in steps] == ["model", "human"]
    assert steps[0]["model"] == "f" * 12
    assert steps[1] | {"at": ""} == {
        "by": "human", "annotator": "Ann", "did": "accept", "at": "", "seconds": 2.5,
    }  # fmt: skip


def test_an_image_folder_comes_back_as_it_went(judged: list[Outcome], folder: Path, tmp_path: Path) -> None:
    found = exported(judged, folder)
    write_image_folder(tmp_path / "out.zip", found)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "back")
    back = read_image_folder(tmp_path / "back")
    assert content(back) == content(found)
    (dog,) = (s for r in back for s in r.subjects if s.segmentation)
    assert np.array_equal(dog.mask(20, 20), disc(20, 20))


def test_an_image_that_is_gone_leaves_no_half_export(
    judged: list[Outcome], folder: Path, tmp_path: Path
) -> None:
    (folder / PICTURES[0].file_name).unlink()
    with pytest.raises(InputError, match="no longer where it was"):
        write_image_folder(tmp_path / "out.zip", exported(judged, folder))
    with pytest.raises(InputError, match="could not be written"):
        write_image_folder(tmp_path / "nowhere" / "out.zip", [])
    assert not list(tmp_path.glob("*.zip*"))
    assert not list(tmp_path.glob(".*"))


def test_coco_comes_back_as_it_went(judged: list[Outcome], folder: Path) -> None:
    data = json.loads(json.dumps(to_coco(judged)))
    assert content(from_coco(data)) == content(exported(judged, folder))


def test_cocos_own_tools_read_it(judged: list[Outcome], tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text(json.dumps(to_coco(judged)), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "coco.json"))
    assert len(coco.getImgIds()) == 2
    assert {c["name"] for c in coco.loadCats(coco.getCatIds())} == {"person", "bird", "noir", "1"}
    by_phrase = {a["caption"]: a for a in coco.loadAnns(coco.getAnnIds())}
    dog, bird = by_phrase['un chien "noir"'], by_phrase["a small bird"]
    assert np.array_equal(coco.annToMask(dog), disc(20, 20))
    assert dog["area"] == disc(20, 20).sum()
    assert dog["bbox"] == [4.0, 4.0, 13.0, 13.0]
    assert bird["area"] == 4.5 * 4.5
    drawn = coco.annToMask(bird)
    assert drawn.shape == (30, 40)
    assert abs(int(drawn.sum()) - 20) <= 6  # a polygon's pixels at sub-pixel edges


def test_csv_comes_back_as_it_went_and_holds_no_formula(judged: list[Outcome], folder: Path) -> None:
    text = to_csv(judged)
    assert content(from_csv(text)) == content(exported(judged, folder))
    assert "'=1+1" in text
    assert "'=park.png" in text


def test_what_is_no_export_is_refused() -> None:
    for broken in (
        lambda: from_csv("a,b\n1,2"),
        lambda: from_coco({"annotations": [{}]}),
        lambda: from_coco({}),
    ):
        with pytest.raises(InputError):
            broken()
    line = to_csv([]).strip() + "\na.png,1,1,phrase,x,0,1,1,,,,[],{}\n"
    with pytest.raises(InputError, match="Line 2"):
        from_csv(line)


def test_filters_apply_to_exports(store: AnnotationStore, judged: list[Outcome]) -> None:
    def phrases(filters: Filters) -> list[str]:
        return [outcome.subject.phrase for outcome in store.outcomes(filters)]

    assert phrases(Filters(source="human")) == ["a small bird"]
    assert phrases(Filters(annotator="Bob")) == ['un chien "noir"', "=1+1"]
    assert phrases(Filters(status="rejected")) == ["a house"]
    assert phrases(Filters(phrase="red")) == ["a person in red"]
    everything = [o.subject.status for o in store.outcomes(kind="all")]
    assert sorted(str(s) for s in everything) == [
        "accepted",
        "accepted",
        "added",
        "fixed",
        "pending",
        "rejected",
    ]


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("a person in red", "person"),
        ("The Yellow Car", "car"),
        ("a cat left of a tree", "cat"),
        ("T-shirt", "t-shirt"),
        ("ein gelbes Auto an der Straße", "ein gelbes auto an der straße"),
        ("!!", "!!"),
    ],
)
def test_categories(phrase: str, name: str) -> None:
    assert category(phrase) == name


def test_names_stay_in_the_folder_and_are_unique() -> None:
    given = {1: "a.png", 2: "a.png", 3: "../../etc/.passwd", 4: "/x/y.png", 5: "metadata.jsonl", 6: ".."}
    assert unique_names(given) == {
        1: "a.png", 2: "2-a.png", 3: "etc/passwd", 4: "x/y.png", 5: "5-metadata.jsonl", 6: "6.jpg",
    }  # fmt: skip
