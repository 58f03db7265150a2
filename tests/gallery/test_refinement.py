"""Search beyond a ranking: conditions, unwanted things, marked regions, alignment, near-duplicates, only in one list."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.gallery import RANKINGS, Query, Refinement, ingest, parse_filters, search
from ssa_me.gallery.refine import distinct
from ssa_me.gallery.search import EXPLAINED
from ssa_me.gallery.terms import beside, parse_terms, penalties, without


@pytest.fixture
def filled(gallery, photos, embedder):
    lines = [
        {"file_name": "red.png", "split": "test", "year": 2019, "tags": ["wall", "Street"], "good": True},
        {"file_name": "green.png", "split": "test", "year": 2021, "captions": ["Eine grüne WIESE"]},
        {"file_name": "blue.png", "split": "train", "year": 2023.5, "note": 'say "hi"'},
        {"file_name": "red-blue.png", "subjects": [{"phrase": "a red flag", "bbox": [0, 0, 20, 30]}]},
    ]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ingest(gallery, photos, embedder)
    return gallery


def _names(gallery, hits) -> list[str]:
    return [gallery.item(hit.id).file_name.removesuffix(".png") for hit in hits]


def _where(*texts: str, **more) -> Refinement:
    return Refinement(parse_filters(texts), **more)


# Conditions


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (["split=test"], {"red", "green"}),
        (["split!=test"], {"blue", "red-blue", "green-yellow"}),
        (["year>=2021"], {"green", "blue"}),
        (["year<2021"], {"red"}),
        (["year=2023.5"], {"blue"}),
        (["year=2019", "split=test"], {"red"}),
        (["tags=wall"], {"red"}),
        (["tags~STREET"], {"red"}),
        (["good=true"], {"red"}),
        (["caption~wiese"], {"green"}),
        (["caption~GRÜNE"], {"green"}),
        (["subject~flag"], {"red-blue"}),
        (["file_name~-"], {"red-blue", "green-yellow"}),
        (["width>40"], set()),
        (["height=30"], {"red", "green", "blue", "red-blue", "green-yellow"}),
        (['note=say "hi"'], {"blue"}),
        (["x' OR 1=1 --=1"], set()),
        (["split=test' OR '1'='1"], set()),
    ],
)
def test_conditions(filled, conditions, names):
    found = filled.matching(parse_filters(conditions))
    assert {filled.item(id).file_name.removesuffix(".png") for id in found} == names


def test_a_condition_is_remembered_until_the_gallery_is_written_to(filled):
    condition = parse_filters(["split=test"])
    first = filled.matching(condition)
    assert filled.matching(parse_filters(["split=test"])) is first
    filled.remove([int(first[0])])
    assert filled.matching(condition).tolist() == first[1:].tolist()
    assert filled.fields()["split"] == {"test": 1, "train": 1}


@pytest.mark.parametrize("text", ["", "split", "=x", "year>old", "split=", '"$=1', "a" * 600 + "=1"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(InputError, match=r"no condition|no number"):
        parse_filters([text])


def test_k_results_come_back_under_a_condition(filled, embedder):
    result = search(filled, embedder, Query("red"), RANKINGS, 2, refinement=_where("split!=test"))
    for hits in result.results.values():
        assert _names(filled, hits)[0] == "red-blue" and len(hits) == 2
    assert result.to_json()["query"]["where"] == ["split!=test"]
    few = search(filled, embedder, Query("red"), RANKINGS, 4, refinement=_where("split=test"))
    assert {frozenset(_names(filled, hits)) for hits in few.results.values()} == {frozenset({"red", "green"})}
    assert few.notes[0] == "Under split=test there are 2 images, fewer than the 4 asked for: all are listed."
    none = search(filled, embedder, Query("red"), RANKINGS, 4, refinement=_where("split=nowhere"))
    assert {len(hits) for hits in none.results.values()} == {0}


# Unwanted things


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("red bird −flower", "red bird", ("flower",)),
        ("-flower red bird", "red bird", ("flower",)),
        ('street -"parked car" –rain', "street", ("parked car", "rain")),
        ("a t-shirt - blue", "a t-shirt - blue", ()),
        ("minus -5 degrees", "minus -5 degrees", ()),
        ("犬 -猫", "犬", ("猫",)),
        ("-flower", None, ("flower",)),
        ("red -blue, -blue", "red", ("blue",)),
    ],
)
def test_terms(text, wanted, unwanted):
    terms = parse_terms(text)
    assert (terms.wanted, terms.unwanted) == (wanted, unwanted)


def test_what_is_unwanted_is_subtracted_where_it_is_not_wanted_too():
    query, flower = np.array([1.0, 0]), np.array([[0.6, 0.8]])
    aside = beside(query, flower)
    np.testing.assert_allclose(aside, [[0, 0.8]], atol=1e-6)
    moved = without(query, aside)
    np.testing.assert_allclose(moved, np.array([1, -0.2]) / np.hypot(1, 0.2), atol=1e-6)
    assert penalties(np.array([[0.0, 1.0], [1.0, 0.0]]), aside) == pytest.approx(0.6)
    assert penalties(np.array([[0.0, -1.0]]), aside) == 0.0


@pytest.mark.parametrize("ranking", ["baseline", "ssa-me", "ssa-me+subjects", "baseline+rerank"])
def test_an_image_with_the_unwanted_thing_falls_behind(filled, embedder, ranking):
    plain = search(filled, embedder, Query("red"), (ranking,), 5).results[ranking]
    without = search(filled, embedder, Query("red -blue"), (ranking,), 5)
    before, after = _names(filled, plain), _names(filled, without.results[ranking])
    assert after[0] == "red"
    assert after.index("red-blue") >= before.index("red-blue")
    scores = {name: hit.score for name, hit in zip(after, without.results[ranking], strict=True)}
    apart = {hit.id: hit.score for hit in plain}
    first, other = (
        next(i.id for i in filled.items() if i.file_name == name) for name in ("red.png", "red-blue.png")
    )
    assert scores["red"] - scores["red-blue"] > apart[first] - apart[other] + 0.05
    assert without.to_json()["query"]["unwanted"] == ["blue"]


def test_subjects_stay_exact_with_unwanted_things(filled, embedder):
    few = search(filled, embedder, Query("red -blue"), ("ssa-me+subjects",), 2).results["ssa-me+subjects"]
    every = search(filled, embedder, Query("red -blue"), ("ssa-me+subjects",), 5).results["ssa-me+subjects"]
    assert few == every[:2]


def test_unwanted_things_alone_and_too_many_are_refused(draw):
    with pytest.raises(InputError, match="Say what to look for"):
        Query("-flower")
    with pytest.raises(InputError, match="at most 6"):
        Query("a " + " ".join(f"-thing{letter}" for letter in "abcdefg"))
    assert Query("-flower", draw("red")).is_image_only


# A region of an image


def test_more_like_a_marked_region(filled, embedder, draw):
    query = Query(image=draw("green", "blue"), region=(20, 0, 20, 30))
    result = search(filled, embedder, query, ("ssa-me", "ssa-me+subjects", "ssa-me+rerank"), 2)
    assert _names(filled, result.results["ssa-me"])[0] == "blue"
    hits = result.results["ssa-me+subjects"]
    assert set(_names(filled, hits)) == {"blue", "red-blue"}
    other = next(hit for hit in hits if _names(filled, [hit]) == ["red-blue"])
    assert (other.subject.phrase, other.subject.bbox) == ("the marked region", (20, 0, 20, 30))
    assert [note.split(" ")[0] for note in result.notes] == ["ssa-me+rerank"]
    assert result.to_json()["query"]["region"] == [20, 0, 20, 30]


def test_a_text_is_mixed_with_a_region_by_the_weight(filled, embedder, draw):
    names = {}
    for weight in (0.0, 1.0):
        query = Query("red", draw("green", "blue"), weight, region=(20, 0, 20, 30))
        names[weight] = _names(filled, search(filled, embedder, query, ("baseline",), 1).results["baseline"])
    assert names == {0.0: ["red"], 1.0: ["blue"]}


def test_regions_are_cut_at_the_image_and_refused_outside(draw):
    assert Query(image=draw("red"), region=(-5, -5, 15, 500)).region == (0, 0, 10, 30)
    for region in ((50, 0, 5, 5), (0, 0, 0, 5), (0, 0, float("nan"), 5), (1, 2, 3)):
        with pytest.raises(InputError, match="region"):
            Query(image=draw("red"), region=region)
    with pytest.raises(InputError, match="no image"):
        Query("red", region=(0, 0, 5, 5))


# Alignment, near-duplicates, only in one list


def test_alignment_filters_and_sorts(filled, embedder):
    plain = search(filled, embedder, Query("blue"), ("baseline",), 5).results["baseline"]
    least = _where(least_alignment=0.99)
    aligned = search(filled, embedder, Query("blue"), ("baseline", "ssa-me+subjects"), 3, refinement=least)
    for hits in aligned.results.values():
        assert set(_names(filled, hits)) == {"blue", "red-blue"}
    assert "2 images of 5 that pass" in aligned.notes[0]
    by_alignment = search(
        filled, embedder, Query("blue"), ("baseline",), 5, refinement=_where(sort="alignment")
    )
    hits = by_alignment.results["baseline"]
    scores = [hit.subject.score for hit in hits]
    assert scores == sorted(scores, reverse=True) and [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert {hit.id for hit in hits} == {hit.id for hit in plain}


def test_near_duplicates_are_hidden_and_the_next_ones_come_up(gallery, draw, embedder, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(30):
        draw("red", dot=n).save(folder / f"a{n:02d}.png")
    draw("red", "blue").save(folder / "b.png")
    draw("blue").save(folder / "c.png")
    ingest(gallery, folder, embedder)
    for ranking in ("ssa-me", "ssa-me+subjects"):
        result = search(
            gallery, embedder, Query("red"), (ranking,), 3, refinement=_where(hide_duplicates=0.94)
        )
        assert [name[0] for name in _names(gallery, result.results[ranking])] == ["a", "b", "c"]
        assert result.hidden == {ranking: 29}


def test_distinct_by_hand():
    rows = [np.array(row) for row in ([1, 0], [0.96, 0.28], [0, 1], [0.6, 0.8])]
    assert distinct(rows, 0.9) == [True, False, True, True]
    assert distinct(rows, 0.8) == [True, False, True, False]
    assert distinct(rows, 1.0) == [True] * 4


@pytest.mark.parametrize(
    "wrong", [{"sort": "name"}, {"least_alignment": 2.0}, {"hide_duplicates": float("nan")}]
)
def test_refinements_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        Refinement(**wrong)


def test_any_two_rankings_are_compared_in_one_call(filled, embedder):
    result = search(filled, embedder, Query("white"), ("baseline", "baseline+subjects"), 1)
    first, second = result.results.values()
    assert result.only("baseline", "baseline+subjects") == first and first[0].id != second[0].id
    assert result.to_json()["only"] == {"baseline": [first[0].id], "baseline+subjects": [second[0].id]}
    with pytest.raises(InputError, match="ssa-me is not among"):
        result.only("ssa-me", "baseline")
    assert set(EXPLAINED) == set(RANKINGS)
