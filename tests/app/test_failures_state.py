"""The tab's state as parameters of a link and back, and what is refused."""

import pytest

from app.failures_state import FailuresState, Lasso, build, parse
from ssa_me.errors import InputError

RUN = "0123456789abcdef"


def test_there_and_back():
    state = FailuresState(
        run=RUN,
        outcome="fixed",
        k=10,
        text="red & blue",
        ranges={"gain": (-0.5, 19.5), "alignment": (0.1, 0.25)},
        tags=(("colour", "red"), ("city", "Rome, Italy: centre")),
        lasso=Lasso("ssa-me", "pca", ((0.0, 0.5), (1.0, 0.5), (-0.25, -1.0))),
        sort="query",
        descending=False,
        offset=50,
    )
    parameters = build(state)
    assert parse(parameters) == state
    assert parameters["ft"] == "colour:red,city:Rome%2C%20Italy%3A%20centre"


def test_what_is_as_it_begins_is_left_out():
    assert build(FailuresState()) == {}
    assert build(FailuresState(run=RUN)) == {"fr": RUN}
    assert parse({"q": "a person in red", "fr": RUN, "fq": ""}) == FailuresState(run=RUN)


@pytest.mark.parametrize(
    "parameters",
    [
        {"fr": "../../etc"},
        {"fr": "0" * 15},
        {"fk": "ten"},
        {"fp": "-1"},
        {"fp": "9" * 30},
        {"fb": "gain:1"},
        {"fb": "gain:nan..2"},
        {"fb": "gain:1..inf"},
        {"fl": "ssa-me:pca:1,2,3"},
        {"fl": "other:pca:0,0,1,1,1,0"},
        {"fl": "ssa-me"},
        {"fl": "ssa-me:pca:" + ",".join(["0"] * 400)},
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(parameters):
    with pytest.raises(InputError, match=r"\. "):
        parse(parameters)
