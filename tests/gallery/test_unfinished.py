"""The note of what an ingest has left to do: when it is there, what it says, and that uploads stay as long as it does."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from ssa_me.errors import InputError
from ssa_me.gallery import Gallery, ingest
from ssa_me.gallery import unfinished as module
from ssa_me.gallery.database import set_setting
from ssa_me.gallery.hub_data import HubData
from ssa_me.gallery.ingest import BATCH
from ssa_me.gallery.unfinished import UPLOADS, Left, forget, hold, sweep, unfinished, working
from ssa_me.jobs.processes import Process


@pytest.fixture
def many(tmp_path, draw) -> Path:
    """A folder of two batches and three."""
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(2 * BATCH + 3):
        draw("red", "blue", dot=n).save(folder / f"{n:03d}.png")
    return folder


def cancel(gallery: Gallery, source, embedder) -> None:
    """Put in the first batch of `source`."""
    seen = []
    assert ingest(
        gallery, source, embedder, progress=seen.append, cancelled=lambda: seen[-1].added >= BATCH
    ).cancelled


def pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, path.name)
    return archive


def test_an_ingest_is_noted_while_it_runs_and_not_afterwards(gallery, photos, embedder):
    seen = []
    ingest(gallery, photos, embedder, progress=lambda _: seen.append(unfinished(gallery.database)))
    assert {(state.left, state.at_work, state.total) for state in seen} == {
        ((Left(photos, False, 5),), True, 5)
    }
    assert unfinished(gallery.database) is None


def test_a_cancelled_ingest_stays_noted_until_another_ends_it(gallery, many, embedder):
    cancel(gallery, many, embedder)
    state = unfinished(Gallery.open(gallery.folder).database)
    assert (state.left, state.at_work, state.before) == ((Left(many, False, 2 * BATCH + 3),), False, 0)
    ingest(gallery, many, embedder)
    assert unfinished(gallery.database) is None


def test_a_model_that_fails_leaves_the_note(gallery, many, make_embedder):
    with pytest.raises(RuntimeError, match="the model failed"):
        ingest(gallery, many, make_embedder(fails_at=BATCH + 1))
    assert unfinished(gallery.database).left == (Left(many, False, 2 * BATCH + 3),)
    assert not unfinished(gallery.database).at_work


def test_a_source_that_cannot_be_opened_is_kept_only_where_it_was_noted_before(gallery, many, embedder):
    cancel(gallery, many, embedder)
    many.rename(many.with_name("unplugged"))
    for source in (many, many.with_name("never")):
        with pytest.raises(InputError, match="does not exist"):
            ingest(gallery, source, embedder)
    assert [left.source for left in unfinished(gallery.database).left] == [many]
    many.with_name("unplugged").rename(many)
    assert ingest(gallery, many, embedder).added == BATCH + 3
    assert unfinished(gallery.database) is None


def test_embedding_again_alone_is_not_noted(gallery, photos, make_embedder):
    ingest(gallery, photos, make_embedder("0"))
    seen = []
    ingest(gallery, [], make_embedder("1"), progress=lambda _: seen.append(unfinished(gallery.database)))
    assert seen and set(seen) == {None}


def test_sources_are_counted_together(gallery, photos, many, embedder):
    ingest(gallery, photos, embedder)
    cancel(gallery, many, embedder)
    hold(gallery.database, [[("red.png", photos / "red.png")]])
    state = unfinished(gallery.database)
    assert (state.before, state.total, len(state.left)) == (5, None, 2)
    ingest(gallery, state.left[1].source, embedder)
    state = unfinished(gallery.database)
    assert (state.before, state.through, state.total, len(state.left)) == (5, 1, 2 * BATCH + 4, 1)
    ingest(gallery, many, embedder, copy=True)
    assert unfinished(gallery.database) is None


def test_the_note_holds_every_kind_of_source_and_moves_with_the_gallery(gallery, photos, tmp_path):
    odd = [("a\udcff.png", photos / "red.png"), ("b.png", gallery.folder / UPLOADS / "b.png")]
    with working(gallery.database, tmp_path / "a.zip"), working(gallery.database, HubData("me/x", "test")):
        with suppress(RuntimeError), working(gallery.database, odd, copy=True) as tell:
            tell(2)
            raise RuntimeError
        gallery.folder.rename(tmp_path / "moved")
        moved = Gallery.open(tmp_path / "moved")
        expected = [odd[0], ("b.png", moved.folder / UPLOADS / "b.png")]
        assert unfinished(moved.database).left == (
            Left(tmp_path / "a.zip"),
            Left(HubData("me/x", "test")),
            Left(expected, True, 2),
        )
        assert [str(left) for left in unfinished(moved.database).left] == [
            str(tmp_path / "a.zip"),
            "hub:me/x:test",
            "2 files",
        ]
        moved.folder.rename(gallery.folder)


@pytest.mark.parametrize(
    "note",
    [
        "no JSON",
        "[]",
        '{"left": 1}',
        '{"left": [{"hub": "me/x"}], "before": 0, "through": 0, "by": null}',
        '{"left": [{"hub": "../..", "copy": false, "total": 1}], "before": 0, "through": 0, "by": null}',
        '{"left": [{"path": "x", "copy": false, "total": "many"}], "before": 0, "through": 0, "by": null}',
        '{"left": [{"path": "x", "copy": false, "total": 1}], "before": 0, "through": 0, "by": [1]}',
    ],
)
def test_a_note_that_cannot_be_read_is_none(gallery, photos, embedder, note):
    with gallery.database.writing() as db:
        set_setting(db, "unfinished", note)
    assert unfinished(gallery.database) is None
    assert ingest(gallery, photos, embedder).added == 5


def test_a_process_that_is_gone_is_not_at_work(gallery, photos, embedder, monkeypatch):
    mine = Process.of(os.getpid())
    monkeypatch.setattr(Process, "of", classmethod(lambda cls, pid: cls(pid, mine.started - 100)))
    seen = []
    ingest(gallery, photos, embedder, progress=lambda _: seen.append(unfinished(gallery.database).at_work))
    assert seen and set(seen) == {False}


@pytest.mark.parametrize("links", [True, False])
def test_uploads_stay_in_the_gallery_until_they_are_in(
    gallery, photos, many, embedder, tmp_path, monkeypatch, links
):
    def refuse(*_):
        raise OSError(errno.EXDEV, "another disk")

    if not links:
        monkeypatch.setattr(module.os, "link", refuse)
    files = [(path.name, path) for path in sorted(photos.iterdir())]
    hold(gallery.database, [pack(many, tmp_path / "many.zip"), [*files, ("gone.png", tmp_path / "gone.png")]])
    shutil.rmtree(photos)
    (tmp_path / "many.zip").unlink()
    archive, images = (left.source for left in unfinished(gallery.database).left)
    assert archive.name == "many.zip"
    cancel(gallery, archive, embedder)
    assert ingest(gallery, archive, embedder).added == BATCH + 3
    assert (gallery.folder / UPLOADS).is_dir()
    report = ingest(gallery, images, embedder)
    assert (report.added, [name for name, _ in report.skipped]) == (5, ["gone.png"])
    assert unfinished(gallery.database) is None and not (gallery.folder / UPLOADS).exists()


def test_an_upload_that_cannot_be_opened_is_not_tried_again(gallery, embedder, tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    hold(gallery.database, [tmp_path / "bad.zip"])
    with pytest.raises(InputError, match="no zip file"):
        ingest(gallery, unfinished(gallery.database).left[0].source, embedder)
    assert unfinished(gallery.database) is None and not (gallery.folder / UPLOADS).exists()


def test_without_room_nothing_is_kept_and_nothing_noted(gallery, photos, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "link", full)
    monkeypatch.setattr(module.shutil, "copyfile", full)
    with pytest.raises(InputError, match="cannot be kept in the gallery: No space left"):
        hold(gallery.database, [[("red.png", photos / "red.png")]])
    assert unfinished(gallery.database) is None and not list((gallery.folder / UPLOADS).iterdir())


def test_what_is_left_can_be_forgotten(gallery, photos):
    hold(gallery.database, [[("red.png", photos / "red.png")]])
    sweep(gallery.database)
    assert (gallery.folder / UPLOADS).is_dir(), "it is noted still"
    forget(gallery.database)
    assert unfinished(gallery.database) is None and not (gallery.folder / UPLOADS).exists()


def test_uploads_that_nothing_is_left_of_are_swept(gallery, photos):
    lost = gallery.folder / UPLOADS / "lost"
    lost.mkdir(parents=True)
    hold(gallery.database, [[("red.png", photos / "red.png")]])
    assert not lost.exists()
    forget(gallery.database)
    lost.mkdir(parents=True)
    sweep(gallery.database)
    assert not lost.exists()
