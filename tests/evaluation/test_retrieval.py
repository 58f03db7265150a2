import numpy as np
import pytest

from ssa_me.evaluation.models import MODELS
from ssa_me.evaluation.rerank import RERANKED
from ssa_me.evaluation.retrieval import (
    TIE,
    Retrieval,
    average_precision,
    ndcg,
    pessimistic_ranks,
    retrieve,
    score_rows,
    similarity,
)
from ssa_me.gallery.search import RANKINGS, RERANK_DEPTH


def test_rank_of_one_relevant_candidate():
    assert pessimistic_ranks(np.array([0.9, 0.5, 0.7]), [2]).tolist() == [2]


def test_ties_stand_before_the_relevant_candidate():
    assert pessimistic_ranks(np.array([0.5, 0.5, 0.5, 0.1]), [0]).tolist() == [3]
    assert pessimistic_ranks(np.zeros(7), [0]).tolist() == [7]
    assert pessimistic_ranks(np.array([0.5, 0.5 - TIE / 2]), [0]).tolist() == [2]
    assert pessimistic_ranks(np.array([0.5, 0.5 - 3 * TIE]), [0]).tolist() == [1]


def test_several_relevant_candidates_do_not_push_each_other_back():
    # Order: wrong .9, right .8, wrong .6, right .6 (behind its tie), right .1.
    scores = np.array([0.8, 0.6, 0.1, 0.9, 0.6])
    assert pessimistic_ranks(scores, [0, 1, 2]).tolist() == [2, 4, 5]
    assert pessimistic_ranks(np.zeros(4), [1, 3]).tolist() == [3, 4]


def test_a_score_that_is_no_number_stands_last():
    assert pessimistic_ranks(np.array([np.nan, 0.1, np.nan]), [0]).tolist() == [3]


def test_average_precision_by_hand():
    assert average_precision(np.array([1, 2])) == 1
    assert average_precision(np.array([2, 3, 6])) == pytest.approx((1 / 2 + 2 / 3 + 3 / 6) / 3)


def test_ndcg_by_hand():
    assert ndcg(np.array([1])) == 1
    assert ndcg(np.array([3])) == pytest.approx(1 / 2)  # log2(4) = 2
    ideal = 1 + 1 / np.log2(3)
    assert ndcg(np.array([1, 3])) == pytest.approx((1 + 1 / 2) / ideal)
    assert ndcg(np.array([2, 11])) == pytest.approx((1 / np.log2(3)) / ideal)
    assert ndcg(np.arange(1, 13)) == pytest.approx(1)  # no more than ten can stand in the first ten


def test_summary_by_hand():
    summary = Retrieval(np.array([1, 4, 8, 30]), np.array([1.0, 0.4, 0.2, 0.0])).to_json()
    assert summary == {
        "queries": 4,
        "recall@1": 0.25,
        "recall@5": 0.5,
        "recall@10": 0.75,
        "median_rank": 6.0,
        "ndcg@10": pytest.approx(0.4),
    }


def test_subjects_enter_by_what_a_query_states():
    query = np.array([[1.0, 0.0]])
    candidates = np.array([[0.0, 1.0], [0.6, 0.8], [0.8, 0.6]])
    subjects = [np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros((0, 2)), np.array([[0.0, 1.0]])]
    # .2 * 0 + .8 * max(1, 0); no subjects: .6; .2 * .8 + .8 * 0
    assert similarity(query, candidates, subjects, [query])[0] == pytest.approx([0.8, 0.6, 0.16])
    # two statements: .8 * mean(1, .8); .6; .16 + .8 * mean(0, .8)
    stated = [np.array([[1.0, 0.0], [0.6, 0.8]])]
    assert similarity(query, candidates, subjects, stated)[0] == pytest.approx([0.72, 0.6, 0.48])
    assert similarity(query, candidates)[0] == pytest.approx([0.0, 0.6, 0.8])
    nothing = [np.zeros((0, 2))]
    assert similarity(query, candidates, nothing * 3, stated)[0] == pytest.approx([0.0, 0.6, 0.8])


def test_a_query_that_states_nothing_is_ranked_by_its_vector():
    queries = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    candidates, subjects = np.array([[0.6, 0.8]]), [np.array([[1.0, 0.0]])]
    stated = [queries[:1], np.zeros((0, 2)), queries[:1]]  # the last one states what its vector does not say
    found = similarity(queries, candidates, subjects, stated)
    assert found[:, 0] == pytest.approx([0.12 + 0.8, 0.6, 0.16 + 0.8])
    assert similarity(queries, candidates, subjects)[:, 0] == pytest.approx([0.6, 0.6, 0.8])


def test_rankings_are_those_of_the_search():
    assert RERANKED == RERANK_DEPTH
    assert set(MODELS) == set(RANKINGS)


def test_retrieval_in_chunks_equals_one_matrix():
    rng = np.random.default_rng(0)
    queries, candidates = rng.normal(size=(1100, 8)), rng.normal(size=(30, 8))
    subjects = [rng.normal(size=(rng.integers(0, 4), 8)) for _ in range(30)]
    stated = [rng.normal(size=(rng.integers(0, 4), 8)) for _ in range(1100)]
    whole = similarity(queries, candidates, subjects, stated)
    found = retrieve(score_rows(queries, candidates, subjects, stated), [[i % 30] for i in range(1100)])
    expected = [(row >= row[i % 30] - TIE).sum() for i, row in enumerate(whole)]
    assert found.best_rank.tolist() == expected
