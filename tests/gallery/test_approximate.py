"""Approximate indexes: recall against an exact search, filters, rows that come later, files that are damaged."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.gallery import approximate, indexes
from ssa_me.gallery.approximate import Approximate, build, extend, load, measure, nearest, save
from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.items import NewImage, NewVectors, Spaces

N, D = 4000, 16


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    random = np.random.default_rng(3)
    return _unit(random.normal(size=(40, D))[random.integers(0, 40, N)] + 0.3 * random.normal(size=(N, D)))


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    random = np.random.default_rng(4)
    return _unit(random.normal(size=(60, D)))


@pytest.fixture(scope="module")
def built(vectors) -> Approximate:
    return build(vectors)


def test_recall_is_reached_by_looking_into_a_part_of_the_lists(built, vectors, queries):
    assert built.recall >= approximate.TARGET
    assert built.probes < built.lists.nlist == 83
    assert measure(built, vectors, None, queries) >= 0.95  # other queries than it was tuned with, and far off


def test_queries_that_are_given_decide_how_many_lists_are_looked_into(vectors, queries):
    tuned = build(vectors, queries=queries)
    assert measure(tuned, vectors, None, queries) == tuned.recall >= approximate.TARGET


def test_scores_are_exact(built, vectors, queries):
    scores, rows = built.search(queries[:1], vectors, 12, None)
    assert scores.tolist() == pytest.approx((vectors[rows] @ queries[0]).tolist(), abs=1e-6)
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_as_many_rows_come_back_as_the_mask_has(built, vectors, queries, share):
    mask = np.random.default_rng(5).random(N) < share
    wanted = min(25, int(mask.sum()))
    for query in queries[:10]:
        _, rows = built.search(query[None], vectors, wanted, mask)
        assert len(rows) == wanted and mask[rows].all() and len(set(rows.tolist())) == wanted


def test_a_filter_that_lets_little_through_is_answered_exactly(built, vectors, queries):
    index = VectorIndex(vectors, [(n, n, 1) for n in range(N)], built)
    allowed = np.arange(0, N, 40)
    for query in queries[:10]:
        found = index.best(query, 5, allowed)
        best = allowed[np.argsort(-(vectors[allowed] @ query), kind="stable")]
        assert found.ids[:5].tolist() == best[:5].tolist()


def test_rows_that_came_later_are_found_before_and_after_they_are_taken_in(built, vectors, queries, tmp_path):
    later = np.concatenate([vectors, queries])
    for query in queries[:5]:
        scores, rows = built.search(query[None], later, 3, None)
        assert (rows[0] >= N, scores[0]) == (True, pytest.approx(1.0))
    save(built, tmp_path / "a.ivf")
    fresh = load(tmp_path / "a.ivf", D, N, built.probes, built.recall, built.trained)
    taken = extend(fresh, later)
    assert (len(taken), taken.trained) == (N + 60, N)
    assert taken.search(queries[:1], later, 1, None)[1][0] == N


def test_a_damaged_or_foreign_file_is_refused(built, tmp_path):
    save(built, tmp_path / "a.ivf")
    assert [p.name for p in tmp_path.iterdir()] == ["a.ivf"]
    assert load(tmp_path / "a.ivf", D, N, 4, 0.99, N).probes == 4
    with pytest.raises(InputError, match="does not fit"):
        load(tmp_path / "a.ivf", D, N - 1, 4, 0.99, N)
    (tmp_path / "a.ivf").write_bytes((tmp_path / "a.ivf").read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "a.ivf", D, N, 4, 0.99, N)


def test_nearest_by_hand():
    rows = np.eye(3, dtype=np.float32)
    query = np.array([[0.1, 0.9, 0.3]], np.float32)
    assert nearest(query, rows, 2)[1].tolist() == [1, 2]
    assert nearest(query, rows, 2, np.array([True, False, True]))[1].tolist() == [2, 0]
    assert nearest(query, rows, 0)[0].shape == (0,)


# In a gallery


def _fill(gallery, embedder, rows: np.ndarray) -> None:
    spaces, first = Spaces(embedder.info.fingerprints), len(gallery)
    images = [NewImage(f"{first + n:064d}", f"{n}.png", gallery.folder / "x", 9, 9) for n in range(len(rows))]
    found = {spaces.images(v): list(rows[:, None]) for v in spaces.fingerprints}
    found |= {spaces.subjects(v): [rows[:0]] * len(rows) for v in spaces.fingerprints}
    gallery.write(images, NewVectors(spaces.head, [()] * len(rows), found))


@pytest.fixture
def large(gallery, embedder, monkeypatch, vectors):
    monkeypatch.setattr(indexes, "EXACT", 1000)
    _fill(gallery, embedder, vectors[:2000])
    return gallery


def test_a_large_space_gets_an_index_that_its_card_shows_and_grows(large, embedder, vectors):
    spaces = Spaces(embedder.info.fingerprints)
    space = spaces.images("ssa-me")
    assert large.index(space).approximate is None  # not yet made: exact
    assert large.is_due(spaces)
    steps = []
    large.prepare(spaces, progress=steps.append)
    assert steps[0] == 0 and steps == sorted(steps[: len(steps) // 2]) * 2
    index = large.index(space)
    assert len(index.approximate) == 2000 and large.index(space) is index
    card = next(card for card in large.cards() if card.space == space)
    assert (card.kind, card.images, card.rows, card.recall) == (
        "approximate",
        2000,
        2000,
        index.approximate.recall,
    )
    assert {c.kind for c in large.cards() if "subjects" in c.space} == {"exact"}
    _fill(large, embedder, vectors[2000:2100])
    assert not large.is_due(spaces) and len(large.index(space).approximate) == 2000
    assert large.index(space).best(vectors[2050], 1).ids[0] == 2051  # found in the rows behind
    _fill(large, embedder, vectors[2100:3000])
    large.prepare(spaces)
    assert (len(large.index(space).approximate), large.index(space).approximate.trained) == (3000, 2000)
    assert len(list((large.folder / "vectors").rglob("*.ivf"))) == 4  # the old ones go when it is opened
    assert len(type(large).open(large.folder)) == 3000
    assert len(list((large.folder / "vectors").rglob("*.ivf"))) == 2


def test_removed_images_are_not_found_and_the_index_stays(large, embedder, vectors):
    spaces = Spaces(embedder.info.fingerprints)
    large.prepare(spaces)
    space = spaces.images("baseline")
    lists = large.index(space).approximate
    assert large.index(space).best(vectors[7], 1).ids[0] == 8
    assert large.remove([8]) == 1
    assert 8 not in large.index(space).best(vectors[7], 30).ids
    assert large.index(space).approximate is lists


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"cut")])
def test_an_index_whose_file_is_lost_is_searched_exactly_and_made_anew(large, embedder, vectors, damage):
    spaces = Spaces(embedder.info.fingerprints)
    large.prepare(spaces)
    for path in (large.folder / "vectors").rglob("*.ivf"):
        damage(path)
    again = type(large).open(large.folder)
    index = again.index(spaces.images("baseline"))
    assert index.approximate is None and index.best(vectors[7], 1).ids[0] == 8
    again.prepare(spaces)
    assert len(type(large).open(large.folder).index(spaces.images("baseline")).approximate) == 2000
