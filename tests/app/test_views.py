from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app import views


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
    )
    view = views.search_view("scenes", FakeGallery(), result)  # type: ignore[arg-type]
    first, second = view["lists"]
    assert [hit["move"] for hit in first["hits"]] == [None, None, "out", None]
    assert [hit["move"] for hit in second["hits"]] == [3, 0, -2, "new"]
    assert (view["shared"], view["overlap"], view["notes"]) == (3, 0.75, ["A note."])
    assert (first["title"], second["title"], second["seconds"]) == ("Baseline", "SSA-ME", 0.002)
    assert second["hits"][0]["thumb"] == "studio/thumb/scenes/13?v=abcdef01"


@pytest.mark.parametrize(
    ("phrase", "label", "expected"),
    [
        ("a person in red", "person in red", True),
        ("person", "a person in red", True),
        ("a person in red", "red house", False),
        ("a red bird", "the bird", True),
        ("a", "the", False),
    ],
)
def test_a_label_agrees_where_one_says_all_that_the_other_says(
    phrase: str, label: str, expected: bool
) -> None:
    assert views.agrees(phrase, label) is expected


def test_numbers_are_short_and_finite() -> None:
    assert views.numbers(np.array([[0.123456, np.nan], [np.inf, 1e-9]])) == [[0.1235, 0.0], [0.0, 1e-9]]
    assert views.numbers([]) == []
