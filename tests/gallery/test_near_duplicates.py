"""Near-duplicates by hand: groups, chains, the threshold's edge, blocks, lists, what was removed, stopping."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.gallery import Gallery, indexes
from ssa_me.gallery.items import NewImage, NewVectors, Spaces
from ssa_me.gallery.near_duplicates import Group, join, near_duplicates

SPACES = Spaces({"ssa-me": "0" * 12})
SPACE = SPACES.images("ssa-me")


def put(gallery: Gallery, rows: np.ndarray, sizes: list[tuple[int, int]] | None = None) -> list[int]:
    """Store images with these vectors; they get the ids 1, 2, 3 … Sizes are 10 × 10 where none are given."""
    images = [
        NewImage(f"{n:064x}", f"{n}.png", gallery.folder / f"{n}.png", *(sizes[n] if sizes else (10, 10)))
        for n in range(len(rows))
    ]
    vectors = np.asarray(rows, np.float32)
    return gallery.write(images, NewVectors(SPACES.head, [()] * len(rows), {SPACE: list(vectors[:, None])}))


def turned(*degrees: float) -> np.ndarray:
    """Unit vectors in a plane, so that cosines are those of differences of angles."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_groups_by_hand(gallery):
    put(gallery, turned(0, 90, 5, 180, 92, 3))
    found = near_duplicates(gallery, SPACE, 0.99)
    assert [group.ids for group in found.groups] == [(1, 3, 6), (2, 5)]
    assert [group.representative for group in found.groups] == [1, 2]
    assert found.groups[0].cosines == pytest.approx(np.cos(np.radians([0, 5, 3])), abs=1e-6)
    assert [id for id, _ in found.groups[0].others] == [6, 3], "the most alike first"
    assert found.copies == [6, 3, 5]
    assert (found.kind, found.searched.tolist(), found.cancelled) == ("exact", [1, 2, 3, 4, 5, 6], False)
    assert near_duplicates(gallery, SPACE, 0.9999).groups == ()


def test_a_chain_is_one_group_and_its_ends_say_how_little_they_have_in_common(gallery):
    put(gallery, turned(0, 20, 40, 60, 200), [(10, 10), (9, 9), (9, 9), (9, 9), (9, 9)])
    (group,) = near_duplicates(gallery, SPACE, np.cos(np.radians(21))).groups
    assert (group.ids, group.representative) == ((1, 2, 3, 4), 1)
    assert group.cosines[-1] == pytest.approx(0.5, abs=1e-6), "below the threshold: linked by way of others"


def test_the_threshold_belongs_to_near_duplicates(gallery):
    put(gallery, np.array([[1, 0], [0.8, 0.6], [1, 0]]))
    assert [group.ids for group in near_duplicates(gallery, SPACE, 0.8).groups] == [(1, 2, 3)]
    assert [group.ids for group in near_duplicates(gallery, SPACE, 0.80001).groups] == [(1, 3)]


def test_equal_vectors_are_alike_at_a_threshold_of_one(gallery):
    rows = np.random.default_rng(0).normal(size=(20, 7))
    put(gallery, np.repeat(rows / np.linalg.norm(rows, axis=1, keepdims=True), 2, axis=0))
    found = near_duplicates(gallery, SPACE, 1.0)
    assert [group.ids for group in found.groups] == [(n, n + 1) for n in range(1, 41, 2)]
    assert all(max(group.cosines) <= 1 for group in found.groups)


def test_the_largest_image_stands_for_its_group_and_of_equal_ones_the_first(gallery):
    put(gallery, turned(0, 1, 2, 90, 91), [(10, 10), (20, 10), (10, 20), (30, 1), (30, 1)])
    assert [group.representative for group in near_duplicates(gallery, SPACE).groups] == [2, 4]


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_small_blocks_find_what_one_block_finds(gallery, block):
    rows = np.random.default_rng(1).normal(size=(60, 4))
    put(gallery, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    whole, parts = (near_duplicates(gallery, SPACE, 0.9, block=size).groups for size in (1000, block))
    assert len(whole) > 3 and max(len(group.ids) for group in whole) > 2
    assert [(group.ids, group.representative) for group in parts] == [
        (group.ids, group.representative) for group in whole
    ]


def test_the_lists_of_a_large_gallery_are_used_and_find_the_same(gallery, monkeypatch):
    monkeypatch.setattr(indexes, "EXACT", 500)
    random = np.random.default_rng(2)
    rows = random.normal(size=(1500, 12))
    rows[1000:1100] = rows[:100] + 0.02 * random.normal(size=(100, 12))
    put(gallery, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    exact = near_duplicates(gallery, SPACE)
    gallery.prepare(SPACES)
    gallery.remove([1, 1102])
    listed = near_duplicates(gallery, SPACE, block=256)
    assert (exact.kind, listed.kind) == ("exact", "approximate")
    assert 100 <= len(exact.groups) <= 110 and exact.groups[0] != listed.groups[0]
    assert [group.ids for group in listed.groups] == [
        group.ids for group in exact.groups if not {1, 1102} & set(group.ids)
    ]
    again = near_duplicates(gallery, SPACE, among=listed.searched)
    assert again.kind == "exact" and again.groups == listed.groups


def test_images_behind_the_lists_count(gallery, monkeypatch):
    monkeypatch.setattr(indexes, "EXACT", 100)
    rows = np.random.default_rng(3).normal(size=(420, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    put(gallery, rows[:400])
    gallery.prepare(SPACES)
    late = NewImage("f" * 64, "late.png", gallery.folder / "late.png", 5, 5)
    gallery.write([late], NewVectors(SPACES.head, [()], {SPACE: [rows[6:7].astype(np.float32)]}))
    found = near_duplicates(gallery, SPACE, 0.9999)
    assert found.kind == "approximate"
    assert [group.ids for group in found.groups] == [(7, 401)]


def test_removed_images_and_all_but_some_do_not_count(gallery):
    put(gallery, turned(0, 1, 2, 90))
    gallery.remove([2])
    assert near_duplicates(gallery, SPACE).groups[0].ids == (1, 3)
    assert near_duplicates(gallery, SPACE, among=np.array([1, 2, 4])).groups == ()


def test_it_says_how_far_it_is_and_stops(gallery):
    put(gallery, turned(*range(40)))
    told: list[float] = []
    whole = near_duplicates(gallery, SPACE, block=10, progress=told.append)
    assert told == sorted(told) and told[-1] == 1 and len(told) == 10 and len(whole.groups) == 1
    asked = iter([False, True])
    stopped = near_duplicates(gallery, SPACE, block=10, cancelled=lambda: next(asked))
    assert stopped.cancelled and stopped.groups == ()


@pytest.mark.parametrize("threshold", [1.01, -2.0, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(gallery, threshold):
    with pytest.raises(InputError, match="between -1 and 1"):
        near_duplicates(gallery, SPACE, threshold)


def test_nothing_is_found_in_an_empty_gallery_and_a_gallery_without_vectors_is_refused(gallery):
    assert near_duplicates(gallery, SPACE).groups == ()
    put(gallery, turned(0, 1))
    with pytest.raises(InputError, match="Embed the gallery again"):
        near_duplicates(gallery, "another/images")


def test_join_by_hand():
    roots = np.arange(6)
    join(roots, np.array([5, 3]), np.array([4, 1]))
    assert roots.tolist() == [0, 1, 2, 1, 4, 4]
    join(roots, np.array([3, 2, 2]), np.array([5, 5, 2]))
    assert roots.tolist() == [0, 1, 1, 1, 1, 1]


def test_a_group_s_others_leave_the_representative_out():
    assert Group((1, 2, 3), 2, (0.95, 1.0, 0.97)).others == ((3, 0.97), (1, 0.95))
