from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app import views
from ssa_me.explanation import Alignment
from ssa_me.gallery import SubjectHit
from ssa_me.samples import Subject
from tests.app.fakes import FakeInfo


@dataclass(frozen=True)
class FakeHit:
    rank: int
    id: int
    score: float = 0.5
    subject: Any = None


class FakeGallery:
    def items_of(self, ids: Any) -> dict[int, Any]:
        return {
            id: SimpleNamespace(
                id=id,
                file_name=f"{id}.jpg",
                width=4,
                height=3,
                captions=(),
                thumbnail=SimpleNamespace(stem="abcdef0123"),
            )
            for id in ids
        }


def ranking(*ids: int) -> tuple[FakeHit, ...]:
    return tuple(FakeHit(rank, id) for rank, id in enumerate(ids, start=1))


def test_moves_are_places_relative_to_the_baseline() -> None:
    result = SimpleNamespace(
        results={"baseline": ranking(10, 11, 12, 13), "ssa-me": ranking(13, 11, 10, 99)},
        overlap=0.75,
        seconds={"query": 0.02, "baseline": 0.001, "ssa-me": 0.002},
        notes=("A note.",),
        hidden={"ssa-me": 2},
        query=SimpleNamespace(unwanted=("flower",)),
    )
    view = views.search_view("scenes", FakeGallery(), result, FakeInfo())  # type: ignore[arg-type]
    first, second = view["lists"]
    assert [hit["move"] for hit in first["hits"]] == [None, None, "out", None]
    assert [hit["move"] for hit in second["hits"]] == [3, 0, -2, "new"]
    assert (view["shared"], view["overlap"], view["notes"]) == (3, 0.75, ["A note."])
    assert (first["title"], second["title"], second["seconds"]) == ("Baseline", "SSA-ME", 0.002)
    assert (first["hidden"], second["hidden"], view["unwanted"]) == (0, 2, ["flower"])
    assert second["explained"] == "one vector an image, of the model that looks at its salient subjects"
    assert second["hits"][0]["thumb"] == "studio/thumb/scenes/13?v=abcdef01"


@pytest.mark.parametrize(
    ("phrase", "label", "expected"),
    [
        ("a person in red", "person in red", True),
        ("person", "a person in red", True),
        ("a person in red", "red house", False),
        ("a red bird", "the bird", True),
        ("a", "the", False),
        ("a woman in red", "a person in red", True),
        ("a woman in red", "a person in blue", False),
        ("a woman in red", "a man in red", False),
    ],
)
def test_a_label_agrees_where_one_says_all_that_the_other_says(
    phrase: str, label: str, expected: bool
) -> None:
    assert views.agrees(phrase, label) is expected


def test_a_subject_is_judged_by_its_annotation_where_there_is_one() -> None:
    assert views.subject_view(SubjectHit("a dog", 0.51234, (0, 0, 30, 20), None)) == {
        "phrase": "a dog",
        "score": 0.5123,
        "bbox": [0, 0, 30, 20],
        "label": None,
        "agrees": None,
    }
    judged = {
        label: views.subject_view(SubjectHit("a dog", 0.5, None, label)) for label in ("a cat", "a dog")
    }
    assert {label: view["agrees"] for label, view in judged.items()} == {"a cat": False, "a dog": True}


def alignment(region: tuple[float, float, float, float] | None) -> Alignment:
    nothing = dict.fromkeys(("baseline", "ssa-me"), 0.5)
    return Alignment("a person in red", 0.5, region, None, None, False, nothing, nothing, np.zeros(4))


@pytest.mark.parametrize(
    ("region", "label", "agrees"),
    [
        ((0, 0, 10, 10), "a red flower", False),
        ((20, 0, 10, 12), "a person in red", True),
        ((40, 40, 10, 10), None, None),
        (None, None, None),
    ],
)
def test_an_opened_image_is_judged_by_its_annotation(
    region: Any, label: str | None, agrees: bool | None
) -> None:
    subjects = (Subject("a red flower", (0, 0, 10, 10)), Subject("a person in red", (20, 0, 10, 10)))
    item = SimpleNamespace(subjects=subjects, width=64, height=64)
    view = views.alignment_view(alignment(region), item)  # type: ignore[arg-type]
    assert (view["label"], view["agrees"]) == (label, agrees)


def test_a_model_is_shown_without_the_folder_it_lies_in() -> None:
    view = views.model_view(FakeInfo(checkpoint="/home/me/models/qwen2-vl"))  # type: ignore[arg-type]
    assert "/home" not in str(view)
    assert view["checkpoint"] == "qwen2-vl"


def test_numbers_are_short_and_finite() -> None:
    assert views.numbers(np.array([[0.123456, np.nan], [np.inf, 1e-9]])) == [[0.1235, 0.0], [0.0, 1e-9]]
    assert views.numbers([]) == []
