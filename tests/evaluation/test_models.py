import pytest

from ssa_me.errors import InputError
from ssa_me.evaluation.models import MODELS, Model, compared, parse_models, versions_of


def test_names():
    assert set(MODELS) == {
        "baseline", "ssa-me", "baseline+subjects", "ssa-me+subjects", "baseline+rerank", "ssa-me+rerank",
    }  # fmt: skip
    assert parse_models("both") == (Model("baseline"), Model("ssa-me"))
    assert parse_models("ssa-me:subjects, ssa-me+subjects,baseline:baseline") == (
        Model("ssa-me", "subjects"),
        Model("baseline"),
    )
    assert versions_of(parse_models("ssa-me+rerank,ssa-me")) == ("ssa-me",)


@pytest.mark.parametrize("names", ["", "ssa", "ssa-me+", "baseline:ssa-me+subjects", "ssa-me,,baseline"])
def test_unknown_names_are_refused_with_the_known_ones(names):
    with pytest.raises(InputError, match=r"Choose from baseline, ssa-me, .*or both"):
        parse_models(names)


def test_pairs_to_compare():
    pairs = compared(parse_models("baseline,ssa-me,ssa-me+subjects,ssa-me+rerank,baseline+rerank"))
    assert [(a.name, b.name) for a, b in pairs] == [
        ("ssa-me", "baseline"),
        ("ssa-me+rerank", "baseline+rerank"),
        ("ssa-me+subjects", "ssa-me"),
        ("ssa-me+rerank", "ssa-me"),
        ("baseline+rerank", "baseline"),
    ]
