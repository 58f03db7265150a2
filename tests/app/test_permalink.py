import pytest

from app import permalink
from app.permalink import SearchState
from ssa_me.errors import InputError

HASH = "ab" * 32


@pytest.mark.parametrize(
    "state",
    [
        SearchState(),
        SearchState(text="a person in red"),
        SearchState(text="خانه + & = # قرمز", k=25, method="rerank", gallery="scenes", hit=7),
        SearchState(text="a person in red", salience="full", hit=3),
        SearchState(image=HASH, weight=0.25, gallery="my-photographs-2"),
        SearchState(text="a dog", tab="inspect", models=("ab" * 6, "01" * 6), hit=3),
        SearchState(text="like this, but blue", image=HASH, weight=1.0, k=1, method="subjects", hit=0),
    ],
)
def test_a_link_says_the_same_search_again(state: SearchState) -> None:
    from urllib.parse import parse_qsl

    link = permalink.build(state)
    assert link.startswith("?")
    assert permalink.parse(dict(parse_qsl(link[1:]))) == state


def test_a_link_leaves_out_what_says_nothing() -> None:
    assert permalink.build(SearchState(text="red", weight=0.9)) == "?q=red&k=10"


@pytest.mark.parametrize(
    "parameters",
    [
        {"g": "../../etc"},
        {"g": ".scenes"},
        {"g": "Scenes"},
        {"i": "../uploads/x"},
        {"i": HASH[:-1]},
        {"k": "0"},
        {"k": "-3"},
        {"k": "2.5"},
        {"k": "many"},
        {"k": "inf"},
        {"w": "1.01"},
        {"w": "nan"},
        {"m": "best"},
        {"s": "heavy"},
        {"tab": "admin"},
        {"v": "../x"},
        {"v": "ab-"},
        {"hit": "-1"},
        {"hit": "²"},
        {"hit": "9" * 40},
    ],
)
def test_a_forged_link_is_bad_input(parameters: dict[str, str]) -> None:
    with pytest.raises(InputError):
        permalink.parse(parameters)
