"""Killed at any moment, a gallery opens with what was done before and goes on: SIGKILL in a forked process at random points.

The points are events with files and the database, drawn from a seed; the places between them change nothing on disk.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.gallery import Gallery, ingest
from ssa_me.gallery.items import Spaces
from ssa_me.gallery.store import DATABASE
from tests.gallery import crashing
from tests.gallery.crashing import points


@pytest.fixture
def source(tmp_path, draw) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    colours = ("red", "green", "blue", "white", "yellow")
    for n in range(20):
        draw(colours[n % 5], colours[n % 3], dot=n).save(folder / f"{n:02d}.png")
    return folder


@pytest.fixture
def full(tmp_path, source, make_embedder) -> Path:
    """A whole gallery of twenty images."""
    gallery = Gallery.create(tmp_path / "full", "Test", "fake-0")
    ingest(gallery, source, make_embedder(), copy=True)
    return gallery.folder


def check(gallery: Gallery, embedder: Any) -> None:
    """All that the database says is true: it is sound, files are there, vectors belong to their images."""
    with closing(sqlite3.connect(gallery.folder / DATABASE)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM images").fetchone() == (len(gallery),)
        assert db.execute(
            "SELECT count(*) FROM vectors WHERE image NOT IN (SELECT id FROM images)"
        ).fetchone() == (0,)
    for item in gallery.items(limit=100):
        assert item.path.is_file() and item.thumbnail.is_file()
    for version in ("baseline", "ssa-me"):
        index = gallery.index(Spaces(embedder.info.fingerprints).images(version))
        for item in gallery.items(limit=100) if index else []:
            if item.id in index:
                expected = embedder.embed_query(None, gallery.image(item.id))[version]
                np.testing.assert_allclose(index.of(item.id)[0], expected, atol=0.02)  # JPEG


def test_ingest(tmp_path, source, kill, make_embedder):
    Gallery.create(tmp_path / "g0", "Test", "fake-0")
    shutil.copytree(tmp_path / "g0", tmp_path / "whole")
    there = []
    for n, last in enumerate(points(kill(crashing.add, tmp_path / "whole", source), 1)):
        folder = tmp_path / f"g{n + 1}"
        shutil.copytree(tmp_path / "g0", folder)
        kill(crashing.add, folder, source, last=last)
        gallery = Gallery.open(folder)
        check(gallery, make_embedder())
        there.append(len(gallery))
        assert gallery.lacking(Spaces(make_embedder().info.fingerprints)) == []
        assert ingest(gallery, source, make_embedder()).added == 20 - there[-1]
        check(gallery, make_embedder())
        assert len(gallery) == 20
    assert there[0] == 0 and any(0 < count < 20 for count in there)
    assert {count % 4 for count in there} == {0}  # whole batches


def test_removal(tmp_path, full, kill, make_embedder):
    ids = [2, 3, 5, 7, 11, 20]
    shutil.copytree(full, tmp_path / "whole")
    left = []
    for n, last in enumerate(points(kill(crashing.remove, tmp_path / "whole", ids), 2)):
        folder = tmp_path / f"g{n}"
        shutil.copytree(full, folder)
        kill(crashing.remove, folder, ids, last=last)
        gallery = Gallery.open(folder)
        check(gallery, make_embedder())
        left.append(len(gallery))
        assert {item.id for item in gallery.items(limit=100)} == set(range(1, 21)) - set(ids[: 20 - left[-1]])
        assert gallery.remove(ids) == left[-1] - 14
        for kind in ("thumbnails", "images"):
            assert len(list((folder / kind).rglob("*.jpg"))) == 14
    assert left == sorted(left, reverse=True), left
    assert left[0] == 20 and left[-1] == 14 and any(14 < count < 20 for count in left), left


def test_embedding_again_keeps_the_old_vectors_until_it_is_done(tmp_path, full, kill, make_embedder):
    old, new = make_embedder("0"), make_embedder("1")
    shutil.copytree(full, tmp_path / "whole")
    lacking = []
    for n, last in enumerate(points(kill(crashing.embed_again, tmp_path / "whole"), 3)):
        folder = tmp_path / f"g{n}"
        shutil.copytree(full, folder)
        kill(crashing.embed_again, folder, last=last)
        gallery = Gallery.open(folder)
        check(gallery, old)
        check(gallery, new)
        assert gallery.lacking(Spaces(old.info.fingerprints)) == []
        lacking.append(len(gallery.lacking(Spaces(new.info.fingerprints))))
        assert gallery.checkpoint == "fake-0" or lacking[-1] == 0
        assert ingest(gallery, [], new).again == lacking[-1]
        assert gallery.checkpoint == "fake-1"
        check(gallery, new)
    assert lacking[0] == 20 and any(0 < count < 20 for count in lacking)


def test_forgetting_another_version(tmp_path, full, kill, make_embedder):
    ingest(Gallery.open(full), [], make_embedder("1"))
    shutil.copytree(full, tmp_path / "whole")
    for n, last in enumerate(points(kill(crashing.forget, tmp_path / "whole"), 4)):
        folder = tmp_path / f"g{n}"
        shutil.copytree(full, folder)
        kill(crashing.forget, folder, last=last)
        gallery = Gallery.open(folder)
        check(gallery, make_embedder("0"))
        gallery.forget_others(Spaces(make_embedder("0").info.fingerprints))
        assert len(list((folder / "vectors").rglob("*.f32"))) == 4
        assert ingest(gallery, [], make_embedder("1")).again == 20
        check(gallery, make_embedder("1"))


def test_making_an_approximate_index(tmp_path, source, kill, make_embedder, draw, monkeypatch):
    for n in range(20, 60):
        draw("red", "white", "blue", dot=n).save(source / f"{n}.png")
    full = Gallery.create(tmp_path / "full", "Test", "fake-0").folder
    ingest(Gallery.open(full), source, make_embedder())
    shutil.copytree(full, tmp_path / "whole")
    space = Spaces(make_embedder().info.fingerprints).images("ssa-me")
    for n, last in enumerate(points(kill(crashing.index, tmp_path / "whole"), 5)):
        folder = tmp_path / f"g{n}"
        shutil.copytree(full, folder)
        kill(crashing.index, folder, last=last)
        gallery = Gallery.open(folder)
        check(gallery, make_embedder())
        vector = gallery.index(space).of(60)[0]
        assert gallery.index(space).best(vector, 1).scores[0] == pytest.approx(1.0, abs=1e-6)
    monkeypatch.setattr("ssa_me.gallery.indexes.EXACT", 40)
    gallery.prepare(Spaces(make_embedder().info.fingerprints))
    assert len(Gallery.open(folder).index(space).approximate) == 60


def test_creation(tmp_path, kill):
    for n, last in enumerate(points(kill(crashing.create, tmp_path / "whole"), 6)):
        folder = tmp_path / f"g{n}"
        kill(crashing.create, folder, last=last)
        try:
            gallery = Gallery.open(folder)
        except InputError:
            gallery = Gallery.create(folder, "Test", "fake-0")
        assert (gallery.name, len(gallery), len(Gallery.open(folder))) == ("Test", 0, 0)
