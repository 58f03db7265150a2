from typing import Any
from urllib.parse import parse_qsl

import pytest

from app import permalink, refining
from app.permalink import SearchState
from app.refining import METHODS, PAIRS, Refining
from ssa_me.errors import InputError

ALL = Refining(
    rankings=("baseline", "ssa-me+rerank"),
    where=("split=test", "caption~a, b & c"),
    least_alignment=0.3,
    hide_duplicates=0.94,
    sort="alignment",
    region=(1.5, 2.0, 30.0, 40.0),
    only="ab",
)


def test_a_link_says_all_of_it_again() -> None:
    state = SearchState(text="a red bird -flower", image="ab" * 32, method="rerank", refining=ALL)
    link = permalink.build(state)
    assert permalink.parse(dict(parse_qsl(link[1:]))) == state
    assert "m=rerank" not in link, "the lists say it"
    assert refining.read(ALL.to_json()) == ALL


def test_links_from_before_keep_working() -> None:
    old = permalink.parse({"q": "red", "k": "5", "m": "subjects"})
    assert (old.method, old.refining) == ("subjects", Refining())
    assert permalink.build(old) == "?q=red&k=5&m=subjects"


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_of_a_method_is_that_method(method: str) -> None:
    assert refining.settled("vector", Refining(rankings=PAIRS[method])) == (method, Refining())


def test_two_lists_of_choice_go_by_the_second_one() -> None:
    assert refining.settled("vector", ALL) == ("rerank", ALL)
    mixed = Refining(rankings=("baseline+subjects", "ssa-me"))
    assert refining.settled("rerank", mixed) == ("vector", mixed)


def test_what_is_asked_reaches_the_library() -> None:
    asked = ALL.refinement()
    assert asked.where.to_json() == ["split=test", "caption~a, b & c"]
    assert (asked.least_alignment, asked.hide_duplicates, asked.sort) == (0.3, 0.94, "alignment")


@pytest.mark.parametrize(
    "values",
    [
        {"rankings": ["baseline"]},
        {"rankings": ["ssa-me", "ssa-me"]},
        {"rankings": ["a", "b", "c"]},
        {"rankings": "baseline"},
        {"rankings": ["<b>", "ssa-me"]},
        {"rankings": [["x"], 3]},
        {"where": ["a=b" * 400]},
        {"where": [str(n) for n in range(30)]},
        {"least_alignment": 2},
        {"least_alignment": "nan"},
        {"hide_duplicates": [1]},
        {"sort": "random"},
        {"sort": ["score"]},
        {"region": [1, 2, 3]},
        {"region": [1, 2, 0, 4]},
        {"region": [1, 2, "x", 4]},
        {"region": {"x": 1}},
        {"only": "c"},
    ],
)
def test_a_forged_value_is_bad_input(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        refining.read(values)
