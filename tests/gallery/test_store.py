"""The gallery on disk: opening, damage, two writers, items."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.gallery import RANKINGS, Gallery, Query, ingest, is_gallery, search
from ssa_me.gallery.items import Spaces
from ssa_me.gallery.store import DATABASE
from ssa_me.gallery.vectors import append_rows, map_rows, whole_rows
from tests.gallery.old_formats import write_as


def test_a_gallery_remembers_its_name_and_checkpoint(tmp_path):
    Gallery.create(tmp_path / "g", "O'Hara's 写真", "assets/mini")
    opened = Gallery.open(tmp_path / "g")
    assert (opened.name, opened.checkpoint, len(opened), opened.items()) == (
        "O'Hara's 写真",
        "assets/mini",
        0,
        [],
    )


def test_create_refuses_a_folder_that_holds_something(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        Gallery.create(tmp_path, "Test", "fake")


def test_open_refuses_what_is_no_gallery_half_written_damaged_or_newer(tmp_path):
    with pytest.raises(InputError, match=r"is not a gallery\. Make one: python -m ssa_me index"):
        Gallery.open(tmp_path)
    sqlite3.connect(tmp_path / DATABASE).close()
    with pytest.raises(InputError, match="half-written"):
        Gallery.open(tmp_path)
    (tmp_path / DATABASE).write_bytes(b"garbage" * 1000)
    assert is_gallery(tmp_path)
    with pytest.raises(InputError, match="damaged"):
        Gallery.open(tmp_path)
    newer = Gallery.create(tmp_path / "newer", "Test", "fake")
    with sqlite3.connect(newer.folder / DATABASE) as db:
        db.execute("UPDATE settings SET value = '99' WHERE key = 'format'")
    db.close()
    with pytest.raises(InputError, match="format 99"):
        Gallery.open(newer.folder)


def test_regions_come_back_and_which_are_of_single_subjects(gallery, photos, make_embedder):
    ingest(gallery, photos, make_embedder(around=True))
    regions = Gallery.open(gallery.folder).item(1).regions
    assert [(r.bbox, r.single) for r in regions] == [
        ((0, 0, 20, 30), True),
        ((20, 0, 20, 30), True),
        ((0, 0, 40, 30), False),
    ]


@pytest.mark.parametrize("number", [1, 2])
def test_galleries_of_earlier_formats_are_opened_searched_and_grow(gallery, photos, make_embedder, number):
    ingest(gallery, photos, make_embedder(around=number == 2))
    before = search(gallery, make_embedder(), Query("red"), RANKINGS[:2], k=5).results
    write_as(gallery.folder, number)
    for _ in range(2):
        opened = Gallery.open(gallery.folder)
        assert [r.single for r in opened.item(1).regions] == [True, True, False][: number + 1]
        assert len(opened) == 5
        assert search(opened, make_embedder(), Query("red"), RANKINGS[:2], k=5).results == before
    assert ingest(opened, photos, make_embedder("1", around=True)).again == 5
    assert [r.single for r in opened.item(1).regions] == [True, True, False]
    assert opened.remove([2]) == 1
    assert len(Gallery.open(gallery.folder)) == 4


def test_pages_of_items_and_an_unknown_id(gallery, photos, embedder):
    ingest(gallery, photos, embedder)
    assert [item.id for item in gallery.items(1, 3)] == [2, 3, 4]
    assert gallery.items(5) == []
    with pytest.raises(InputError, match="no image 77"):
        gallery.item(77)


def test_an_image_whose_file_is_gone_says_so(gallery, photos, embedder):
    ingest(gallery, photos, embedder)
    (photos / "blue.png").unlink()
    with pytest.raises(InputError, match=r"blue\.png is no longer at"):
        gallery.image(1)


def _vector_file(gallery: Gallery, space: str) -> Path:
    return gallery.folder / "vectors" / f"{space}.f32"


def test_rows_behind_the_last_that_counts_are_written_over(gallery, photos, embedder, draw):
    ingest(gallery, photos, embedder)
    space = Spaces(embedder.info.fingerprints).images("baseline")
    with _vector_file(gallery, space).open("ab") as file:
        file.write(b"\xff" * 23)  # a writer was killed in its second row
    draw("white").save(photos / "white.png")
    reopened = Gallery.open(gallery.folder)
    assert ingest(reopened, photos, embedder).added == 1
    np.testing.assert_array_equal(
        reopened.index(space).of(6)[0], embedder.embed_query("white", None)["baseline"]
    )
    assert _vector_file(gallery, space).stat().st_size == 6 * 4 * 4


def test_a_cut_vector_file_loses_only_its_tail_and_ingest_makes_it_again(gallery, photos, embedder):
    ingest(gallery, photos, embedder)
    space = Spaces(embedder.info.fingerprints).images("ssa-me")
    before = np.array(gallery.index(space).vectors)
    with _vector_file(gallery, space).open("r+b") as file:
        file.truncate(3 * 16 + 5)
    reopened = Gallery.open(gallery.folder)
    assert reopened.lacking(Spaces(embedder.info.fingerprints)) == [4, 5]
    np.testing.assert_array_equal(reopened.index(space).vectors, before[:3])
    assert ingest(reopened, photos, embedder).again == 2
    np.testing.assert_array_equal(reopened.index(space).vectors, before)


def test_a_write_that_fails_leaves_no_trace(gallery, photos, embedder, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ssa_me.gallery.store.append_rows", full)
    with pytest.raises(OSError, match="No space"):
        ingest(gallery, photos, embedder)
    assert len(gallery) == 0
    monkeypatch.undo()
    assert ingest(gallery, photos, embedder).added == 5


def test_a_writer_killed_between_its_vectors_and_its_rows_leaves_the_gallery_as_it_was(
    gallery, photos, embedder, draw, monkeypatch
):
    ingest(gallery, photos, embedder)
    space = Spaces(embedder.info.fingerprints).subjects("ssa-me")
    before = np.array(gallery.index(space).vectors)

    def killed(path: Path, rows: np.ndarray, start: int) -> None:
        append_rows(path, rows, start)
        raise KeyboardInterrupt

    draw("white").save(photos / "white.png")
    monkeypatch.setattr("ssa_me.gallery.store.append_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        ingest(gallery, photos, embedder)
    monkeypatch.undo()
    reopened = Gallery.open(gallery.folder)
    assert len(reopened) == 5
    np.testing.assert_array_equal(reopened.index(space).vectors, before)
    assert ingest(reopened, photos, embedder).added == 1
    np.testing.assert_array_equal(
        reopened.index(space).of(6), [embedder.embed_query("white", None)["ssa-me"]] * 2
    )


def test_a_gallery_that_was_deleted_says_so_and_is_not_made_anew(gallery):
    (gallery.folder / DATABASE).unlink()
    with pytest.raises(InputError, match="no longer there"):
        len(gallery)
    assert not is_gallery(gallery.folder)


def test_two_writers_and_a_reader_at_once_keep_every_row_with_its_image(gallery, draw, embedder, tmp_path):
    sources = []
    for name in ("red", "green"):
        folder = tmp_path / name
        folder.mkdir()
        for n in range(40):
            draw(name, "white", dot=n).save(folder / f"{name}-{n}.png")
        sources.append(folder)
    others = [Gallery.open(gallery.folder) for _ in sources]
    threads = [
        threading.Thread(target=ingest, args=(g, s, embedder)) for g, s in zip(others, sources, strict=True)
    ]
    for thread in threads:
        thread.start()
    space = Spaces(embedder.info.fingerprints).images("baseline")
    while any(thread.is_alive() for thread in threads):
        index = gallery.index(space)
        if index is not None:
            assert np.isfinite(index.vectors).all()
    assert len(gallery) == 80
    index = gallery.index(space)
    for item in gallery.items(limit=80):
        expected = embedder.embed_query(None, gallery.image(item.id))["baseline"]
        np.testing.assert_array_equal(index.of(item.id)[0], expected)


def test_vector_files_by_hand(tmp_path):
    path = tmp_path / "a" / "rows.f32"
    assert whole_rows(path, 2) == 0
    append_rows(path, np.array([[1, 2], [3, 4]]), 0)
    append_rows(path, np.array([[5, 6]]), 1)
    assert map_rows(path, 2, 2).tolist() == [[1, 2], [5, 6]]
    assert path.stat().st_size == 16
    with pytest.raises(ValueError, match="fewer than 3 rows"):
        append_rows(path, np.array([[7, 8]]), 3)
    assert map_rows(path, 0, 2).shape == (0, 2)


# Read-only


def test_a_read_only_gallery_is_searched_and_refuses_what_writes(gallery, photos, embedder, monkeypatch):
    ingest(gallery, photos, embedder)
    before = search(gallery, embedder, Query("red"), k=5).results
    monkeypatch.setattr("ssa_me.gallery.database.os.access", lambda path, mode: mode != os.W_OK)
    files = sorted(gallery.folder.rglob("*"))
    opened = Gallery.open(gallery.folder)
    assert opened.read_only
    assert search(opened, embedder, Query("red"), k=5).results == before
    for write in (
        lambda: ingest(opened, photos, embedder),
        lambda: opened.remove([1]),
        lambda: opened.adopt("x", Spaces({"ssa-me": "x"})),
    ):
        with pytest.raises(InputError, match=r"read-only\. Make its folder writable"):
            write()
    assert sorted(gallery.folder.rglob("*")) == files


def test_an_old_gallery_that_is_read_only_says_what_to_do(gallery, photos, embedder, monkeypatch):
    ingest(gallery, photos, embedder)
    write_as(gallery.folder, 2)
    monkeypatch.setattr("ssa_me.gallery.database.os.access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(InputError, match="format 2 is an older one"):
        Gallery.open(gallery.folder)


def test_a_folder_where_nothing_can_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="No gallery can be made in"):
        Gallery.create(tmp_path / "file" / "gallery", "Test", "fake")


def test_a_full_disk_and_a_stubborn_writer_are_told_in_a_sentence(gallery):
    for reason, words in (("database or disk is full", "is full"), ("database is locked", "Another program")):
        with pytest.raises(InputError, match=words), gallery.database.reading():
            raise sqlite3.OperationalError(reason)


# Removing


def test_removal_takes_what_the_gallery_made_and_leaves_originals(gallery, photos, embedder):
    ingest(gallery, photos, embedder)
    items = gallery.items()
    space = Spaces(embedder.info.fingerprints).images("ssa-me")
    before = gallery.index(space)
    assert gallery.remove([2, 4, 99]) == 2
    assert [item.id for item in gallery.items()] == [1, 3, 5]
    assert len(gallery) == 3
    assert not items[1].thumbnail.exists() and items[1].path.is_file() and items[0].thumbnail.is_file()
    assert len(gallery.index(space)) == 3 and len(before) == 5  # an index in use stays what it is
    result = search(gallery, embedder, Query("red"), RANKINGS, k=3)
    assert {hit.id for hits in result.results.values() for hit in hits} == {1, 3, 5}
    assert result.notes == ()


def test_what_was_removed_can_come_again_and_gets_an_id_of_its_own(gallery, photos, embedder):
    ingest(gallery, photos, embedder)
    gallery.remove([5, 1])
    assert ingest(gallery, photos, embedder).added == 2
    assert [item.id for item in gallery.items()] == [2, 3, 4, 6, 7]
    assert all(item.thumbnail.is_file() for item in gallery.items())
    assert gallery.remove(range(10)) == 5
    assert (len(gallery), gallery.items()) == (0, [])
    with pytest.raises(InputError, match="empty"):
        search(gallery, embedder, Query("red"))
    assert ingest(gallery, photos, embedder).added == 5


def test_an_image_removed_while_it_is_embedded_again_stays_removed(gallery, photos, make_embedder):
    ingest(gallery, photos, make_embedder("0"))
    other = Gallery.open(gallery.folder)

    class Removing(make_embedder):
        def embed(self, samples, **named):
            other.remove([3])
            return super().embed(samples, **named)

    assert ingest(gallery, [], Removing("1")).again == 5
    assert [item.id for item in gallery.items()] == [1, 2, 4, 5]
    assert 3 not in gallery.index(Spaces(make_embedder("1").info.fingerprints).images("ssa-me"))


def test_other_versions_are_forgotten_only_once_this_one_is_whole(gallery, photos, make_embedder):
    ingest(gallery, photos, make_embedder("0"))
    new = Spaces(make_embedder("1").info.fingerprints)
    with pytest.raises(InputError, match=r"5 images lack vectors of this checkpoint\. Embed them first"):
        gallery.forget_others(new)
    ingest(gallery, [], make_embedder("1"))
    assert gallery.forget_others(new) == 4
    assert {card.space for card in gallery.cards()} == set(new.all())
    assert len(list((gallery.folder / "vectors").rglob("*.f32"))) == 4
    assert len(gallery.item(1).regions) == 2
