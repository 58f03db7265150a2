"""Ranks worked out by hand, ties, candidates, alignment, and runs that are stopped and go on."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.failures import caption_queries, load_run, mine, run_id
from ssa_me.failures.mining import RUN, TEXTS, first_images
from ssa_me.failures.queries import FailureQuery, QuerySet
from ssa_me.gallery import Gallery
from ssa_me.gallery.items import Spaces


@pytest.fixture
def ids(gallery):
    return {item.file_name.removesuffix(".png"): item.id for item in gallery.items(0, 10)}


def _query(text, *targets, candidates=()):
    return FailureQuery(text, targets, "caption", text, tuple(candidates))


def _rows(run):
    return {row.query: row for row in (run.table.row(at) for at in range(len(run.table)))}


def test_ranks_by_hand(gallery, embedder, ids, tmp_path):
    # red is nearest to red, then to red-blue; the other three have no red at all and tie, but for the constant part
    asked = QuerySet(
        "list", (_query("red", ids["red"]), _query("red", ids["red-blue"]), _query("blue", ids["green"]))
    )
    run = mine(gallery, embedder, asked, tmp_path / "run")
    ranks = [(row.rank_baseline, row.rank_ssa_me) for row in (run.table.row(at) for at in range(3))]
    assert ranks[:2] == [(1, 1), (2, 2)]
    assert run.table.row(1).top_baseline == ids["red"]
    assert run.images == 5 and run.skipped == () and run.notes == ()
    # blue: first blue, then red-blue; of red, green and green-yellow green is one of two that tie: 4, or 5 where it is last
    assert ranks[2][0] >= 4


def test_a_tie_counts_against_the_model(gallery, embedder, ids, tmp_path):
    # "nothing" has no colour: every image scores by its constant part; red, green and blue are equal.
    asked = QuerySet("list", (_query("nothing", ids["red"]),))
    row = mine(gallery, embedder, asked, tmp_path / "run").table.row(0)
    assert row.rank_baseline in (3, 4, 5)


def test_only_candidates_are_ranked(gallery, embedder, ids, tmp_path):
    among = (ids["green"], ids["red-blue"], ids["blue"])
    asked = QuerySet("list", (_query("blue", ids["red-blue"], candidates=among),))
    run = mine(gallery, embedder, asked, tmp_path / "run")
    assert (run.table.row(0).rank_baseline, run.table.chances) == (2, (1 / 3,))


def test_the_best_of_several_right_images_counts(gallery, embedder, ids, tmp_path):
    asked = QuerySet("list", (_query("red", ids["green"], ids["red-blue"]),))
    row = mine(gallery, embedder, asked, tmp_path / "run").table.row(0)
    assert (row.rank_baseline, row.target, row.targets) == (
        2,
        ids["red-blue"],
        (ids["green"], ids["red-blue"]),
    )


def test_subjects_are_aligned_with_the_region_that_carries_them(gallery, embedder, ids, tmp_path):
    run = mine(gallery, embedder, caption_queries(gallery.items(0, 10)), tmp_path / "run")
    rows = _rows(run)
    # both halves of red-blue answer to their own phrase: nothing is misaligned, each is half of the image
    both = rows["a red half and a blue half"]
    assert (both.misaligned, both.size) == (False, 0.5)
    assert both.alignment == pytest.approx(1.0, abs=0.01)
    # nothing is annotated in blue.png: the best region counts, and nobody knows whether it is the right one
    assert rows["blue"].misaligned is None and rows["blue"].alignment == pytest.approx(1.0, abs=0.01)
    assert rows["red blue"].length == 2


def test_a_phrase_that_another_region_answers_to_is_misaligned(gallery, embedder, ids, tmp_path):
    class Confused(type(embedder)):
        def phrases(self, text):
            return ("a blue half",)

        def embed(self, samples, **options):  # the phrase looks red to it
            from ssa_me.samples import Sample

            return super().embed([Sample("red", s.image) if s.text else s for s in samples], **options)

    asked = QuerySet("list", (_query("a blue half", ids["red-blue"]),))
    row = mine(gallery, Confused(), asked, tmp_path / "run").table.row(0)
    assert row.misaligned is True and row.alignment < 0.2


@pytest.mark.parametrize("ranking", ["vector", "subjects"])
def test_a_run_that_was_stopped_goes_on(gallery, embedder, tmp_path, monkeypatch, ranking):
    monkeypatch.setattr("ssa_me.failures.mining.BATCH", 2)
    asked, folder = caption_queries(gallery.items(0, 10)), tmp_path / "run"
    calls = iter([False, False, True])
    assert mine(gallery, embedder, asked, folder, ranking=ranking, cancelled=lambda: next(calls)) is None
    assert (folder / TEXTS).is_file() and not (folder / RUN).exists()
    with pytest.raises(InputError, match="no finished run"):
        load_run(folder)
    before, shares = len(embedder.calls), []
    run = mine(
        gallery, embedder, asked, folder, ranking=ranking, progress=lambda what, share: shares.append(share)
    )
    fresh = sum(count for count, _ in embedder.calls[before:])
    whole = mine(gallery, embedder, asked, tmp_path / "whole", ranking=ranking)
    assert shares[0] == pytest.approx(4 / (fresh + 4)) and shares[-1] == 1.0
    assert not (folder / TEXTS).exists()
    for name, values in whole.table.numbers.items():
        np.testing.assert_array_equal(run.table.numbers[name], values)


def test_a_run_is_read_as_it_was_written(gallery, embedder, tmp_path):
    folder = tmp_path / "run"
    run = mine(gallery, embedder, caption_queries(gallery.items(0, 10)), folder, ranking="subjects")
    again = load_run(folder)
    assert again.table.queries == run.table.queries and again.table.extra == run.table.extra
    assert [again.table.row(at) for at in range(len(run.table))] == [
        run.table.row(at) for at in range(len(run.table))
    ]
    assert (again.name, again.ranking, again.seconds) == ("Captions", "subjects", run.seconds)
    (folder / RUN).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        load_run(folder)


def test_the_ranking_by_subjects_finds_what_is_half_of_an_image(gallery, embedder, ids, tmp_path):
    asked = QuerySet("list", (_query("yellow", ids["green-yellow"]),))
    row = mine(gallery, embedder, asked, tmp_path / "run", ranking="subjects").table.row(0)
    assert (row.rank_baseline, row.rank_ssa_me) == (1, 1)
    with pytest.raises(InputError, match="no ranking 'rerank'"):
        mine(gallery, embedder, asked, tmp_path / "run", ranking="rerank")


def test_the_ranking_by_subjects_holds_each_thing_that_a_query_states_against_the_image(
    gallery, embedder, ids, tmp_path
):
    """As one vector the text is nearest to red; red-blue alone has both of the things that it states."""
    asked = QuerySet("list", (_query("red red red and blue", ids["red-blue"]),))
    for ranking, rank in (("vector", 2), ("subjects", 1)):
        row = mine(gallery, embedder, asked, tmp_path / ranking, ranking=ranking).table.row(0)
        assert (row.rank_baseline, row.rank_ssa_me) == (rank, rank)
        for candidates in ((), (*ids.values(),)):  # by a search, and among some
            found = first_images(gallery, embedder, asked.queries[0].text, ranking, candidates, 2)
            places = {version: best.index(ids["red-blue"]) + 1 for version, best in found.items()}
            assert places == {"baseline": rank, "ssa-me": rank}


def test_a_gallery_without_vectors_is_refused(embedder, make_embedder, gallery, ids, tmp_path):
    asked = QuerySet("list", (_query("red", ids["red"]),))
    with pytest.raises(InputError, match="no vectors of this model"):
        mine(gallery, make_embedder("1"), asked, tmp_path / "run")
    empty = Gallery.create(tmp_path / "empty", "Empty", "fake")
    with pytest.raises(InputError, match="no vectors of this model"):
        mine(empty, embedder, asked, tmp_path / "run")


def test_a_query_whose_image_is_not_embedded_is_skipped(gallery, embedder, ids, tmp_path):
    asked = QuerySet("list", (_query("red", ids["red"]), _query("gone", 999)))
    run = mine(gallery, embedder, asked, tmp_path / "run")
    assert run.skipped == (("gone", "its image has no vectors of this model"),)
    with pytest.raises(InputError, match="None of the queries"):
        mine(gallery, embedder, QuerySet("list", (_query("gone", 999),)), tmp_path / "run")


def test_a_run_has_the_name_of_what_it_asks(gallery, embedder):
    asked = caption_queries(gallery.items(0, 10))
    prints = embedder.info.fingerprints
    first = run_id(asked, gallery, Spaces(prints), "vector")
    assert first == run_id(asked, gallery, Spaces(prints), "vector") and len(first) == 16
    assert first != run_id(asked, gallery, Spaces(prints), "subjects")
    assert first != run_id(asked, gallery, Spaces(prints | {"ssa-me": "other"}), "vector")


def test_a_run_is_another_once_more_images_are_embedded(gallery, embedder, monkeypatch):
    asked, prints = caption_queries(gallery.items(0, 10)), Spaces(embedder.info.fingerprints)
    whole = run_id(asked, gallery, prints, "vector")
    monkeypatch.setattr(Gallery, "lacking", lambda self, spaces: [1, 2])
    assert run_id(asked, gallery, prints, "vector") != whole


def test_the_first_images_of_a_query(gallery, embedder, ids):
    assert first_images(gallery, embedder, "red", "vector", (), 2)["baseline"] == [
        ids["red"],
        ids["red-blue"],
    ]
    among = (ids["green"], ids["red-blue"], 999)
    found = first_images(gallery, embedder, "red", "subjects", among, 5)
    assert found == {"baseline": [ids["red-blue"], ids["green"]], "ssa-me": [ids["red-blue"], ids["green"]]}
    with pytest.raises(InputError, match="no vectors"):
        first_images(gallery, embedder, "red", "vector", (999,), 5)
