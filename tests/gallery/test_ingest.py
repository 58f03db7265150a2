"""Ingest: what comes in, what is left out and why, and that stopping loses no whole batch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.gallery import Gallery, Progress, ingest
from ssa_me.gallery.ingest import BATCH
from ssa_me.gallery.items import Spaces


def _many(folder: Path, draw, count: int) -> Path:
    folder.mkdir()
    for n in range(count):
        draw("red", "blue", dot=n).save(folder / f"{n:03d}.png")
    return folder


def test_a_folder_comes_in_with_thumbnails_regions_and_both_versions_vectors(gallery, photos, embedder):
    report = ingest(gallery, photos, embedder)
    assert (report.found, report.added, report.duplicates, report.skipped) == (5, 5, (), ())
    item = gallery.items()[3]
    assert (item.file_name, item.path, item.width, item.height) == (
        "red-blue.png",
        photos / "red-blue.png",
        40,
        30,
    )
    assert Image.open(item.thumbnail).size == (40, 30)
    assert [region.bbox for region in item.regions] == [(0, 0, 20, 30), (20, 0, 20, 30)]
    spaces = Spaces(embedder.info.fingerprints)
    stored = gallery.index(spaces.images("ssa-me")).of(item.id)
    expected = embedder.embed_query(None, gallery.image(item.id))["ssa-me"]
    np.testing.assert_array_equal(stored[0], expected)
    red = gallery.index(spaces.subjects("baseline")).of(item.id)[0]
    np.testing.assert_allclose(red, np.array([1, 0, 0, 0.05]) / np.hypot(1, 0.05), atol=1e-6)


def test_the_same_folder_again_adds_nothing_and_embeds_nothing(gallery, photos, embedder):
    ingest(gallery, photos, embedder)
    calls = len(embedder.calls)
    report = ingest(gallery, photos, embedder)
    assert (report.added, len(report.duplicates), len(gallery)) == (0, 5, 5)
    assert len(embedder.calls) == calls


def test_duplicates_within_the_source_are_named_with_their_original(gallery, photos, embedder):
    (photos / "zz.png").write_bytes((photos / "blue.png").read_bytes())
    report = ingest(gallery, photos, embedder)
    assert report.duplicates == (("zz.png", "blue.png"),)
    assert (report.found, report.added) == (6, 5)


def test_bad_images_are_skipped_by_name_with_a_reason_and_the_rest_comes_in(gallery, photos, embedder):
    whole = (photos / "red.png").read_bytes()
    (photos / "a-empty.png").write_bytes(b"")
    (photos / "b-text.jpg").write_bytes(b"not an image at all")
    (photos / "c-cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (1, 1)).save(photos / "d-dot.png")
    Image.new("1", (10_000, 6_000)).save(photos / "e-huge.png")
    report = ingest(gallery, photos, embedder)
    reasons = dict(report.skipped)
    assert list(reasons) == ["a-empty.png", "b-text.jpg", "c-cut.png", "d-dot.png", "e-huge.png"]
    assert reasons["a-empty.png"].startswith("empty")
    assert reasons["b-text.jpg"].startswith("not a JPEG")
    assert reasons["c-cut.png"].startswith("damaged or cut short")
    assert "smaller than 8 px" in reasons["d-dot.png"]
    assert "60 megapixels" in reasons["e-huge.png"]
    assert (report.found, report.added, len(gallery)) == (10, 5, 5)


def test_metadata_comes_along(gallery, photos, embedder):
    line = {"file_name": "red.png", "captions": ["a red wall"], "source": "me", "split": "val"}
    line["subjects"] = [{"phrase": "wall", "bbox": [1, 2, 30, 20], "note": 7}]
    (photos / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    ingest(gallery, photos, embedder)
    item = next(item for item in gallery.items() if item.file_name == "red.png")
    assert item.captions == ("a red wall",)
    assert (item.subjects[0].phrase, item.subjects[0].bbox, item.subjects[0].extra) == (
        "wall",
        (1, 2, 30, 20),
        {"note": 7},
    )
    assert item.extra == {"source": "me", "split": "val"}


def test_a_zip_is_copied_into_the_gallery_without_its_exif_and_nothing_else_stays(
    gallery, photos, embedder, draw, tmp_path
):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "where I live"
    draw("red", "blue").save(photos / "turned.jpg", exif=exif, quality=95)
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(photos.iterdir()):
            packed.write(path, f"trip/{path.name}")
        packed.writestr("notes.txt", "hello")
        packed.writestr("broken.jpg", b"no image")
    report = ingest(gallery, archive, embedder)
    archive.unlink()
    assert (report.found, report.added) == (8, 6)
    assert dict(report.skipped) == {
        "notes.txt": "not an image",
        "broken.jpg": "not a JPEG, PNG, WebP, BMP, GIF or TIFF image. Give one of these.",
    }
    turned = next(item for item in gallery.items() if item.file_name == "trip/turned.jpg")
    assert (turned.width, turned.height) == (30, 40)
    assert turned.path.is_relative_to(gallery.folder / "images")
    assert gallery.image(turned.id).size == (30, 40)
    assert not Image.open(turned.path).getexif()
    assert [path.name for path in gallery.folder.iterdir() if path.name.startswith(".")] == []


def test_a_gallery_of_copies_can_be_moved(gallery, photos, embedder, tmp_path):
    ingest(gallery, photos, embedder, copy=True)
    gallery.folder.rename(tmp_path / "elsewhere")
    for path in photos.iterdir():
        path.unlink()
    moved = Gallery.open(tmp_path / "elsewhere")
    assert all(item.path.is_file() and item.thumbnail.is_file() for item in moved.items())
    assert moved.image(1).size == (40, 30)


def test_uploaded_files_come_in_under_their_own_names(gallery, photos, embedder):
    report = ingest(gallery, [("holiday.png", photos / "red.png"), ("x.png", photos / "none.png")], embedder)
    assert [item.file_name for item in gallery.items()] == ["holiday.png"]
    assert report.skipped[0][0] == "x.png"
    assert gallery.item(1).path.is_relative_to(gallery.folder)


def test_a_gallery_inside_the_folder_does_not_take_in_itself(photos, embedder):
    gallery = Gallery.create(photos / "gallery", "Inside", "fake")
    ingest(gallery, photos, embedder, copy=True)
    assert ingest(gallery, photos, embedder).found == 5
    assert len(gallery) == 5
    other = Gallery.create(photos.parent / "other", "Another", "fake")
    assert ingest(other, photos, embedder).found == 5


@pytest.mark.parametrize(("name", "words"), [("nothing", "does not exist"), ("empty", "holds no image")])
def test_a_source_without_images_is_refused(gallery, embedder, tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=words):
        ingest(gallery, tmp_path / name, embedder)


def test_a_bad_metadata_line_in_a_zip_names_the_zip_not_a_temporary_folder(
    gallery, photos, embedder, tmp_path
):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(photos / "red.png", "red.png")
        packed.writestr("metadata.jsonl", '{"captions": ["no file name"]}\n')
    with pytest.raises(InputError, match=r"^set\.zip/metadata\.jsonl, line 1: "):
        ingest(gallery, archive, embedder)
    assert [path.name for path in gallery.folder.iterdir() if path.name.startswith(".")] == []


def test_progress_counts_up_to_the_end(gallery, draw, embedder, tmp_path):
    seen = []
    ingest(gallery, _many(tmp_path / "many", draw, BATCH + 5), embedder, progress=seen.append)
    assert [(p.stage, p.done, p.added) for p in seen] == [
        ("embedding", 0, 0),
        ("embedding", BATCH, BATCH),
        ("embedding", BATCH + 5, BATCH + 5),
    ]
    assert {p.total for p in seen} == {BATCH + 5}


def test_cancelling_keeps_what_is_done_and_another_run_goes_on(gallery, draw, embedder, tmp_path):
    source = _many(tmp_path / "many", draw, 2 * BATCH + 3)
    seen = []
    report = ingest(gallery, source, embedder, progress=seen.append, cancelled=lambda: seen[-1].done >= BATCH)
    assert (report.cancelled, report.added, len(gallery)) == (True, BATCH, BATCH)
    report = ingest(gallery, source, embedder)
    assert (report.cancelled, report.added, len(report.duplicates), len(gallery)) == (
        False,
        BATCH + 3,
        BATCH,
        2 * BATCH + 3,
    )


def test_a_model_that_fails_in_the_middle_leaves_a_whole_gallery(gallery, draw, make_embedder, tmp_path):
    source = _many(tmp_path / "many", draw, 2 * BATCH + 3)
    with pytest.raises(RuntimeError, match="the model failed"):
        ingest(gallery, source, make_embedder(fails_at=BATCH + 1))
    reopened = Gallery.open(gallery.folder)
    assert len(reopened) == BATCH
    assert reopened.lacking(Spaces(make_embedder().info.fingerprints)) == []
    assert ingest(reopened, source, make_embedder()).added == BATCH + 3


def test_another_checkpoint_embeds_the_images_of_the_gallery_again(gallery, photos, make_embedder):
    ingest(gallery, photos, make_embedder("0"))
    report = ingest(gallery, photos, make_embedder("1"))
    assert (report.added, report.again, len(report.duplicates)) == (0, 5, 5)
    assert gallery.checkpoint == "fake-1"
    for fingerprint in "01":
        assert gallery.lacking(Spaces(make_embedder(fingerprint).info.fingerprints)) == []
    assert ingest(gallery, photos, make_embedder("0")).again == 0


def test_an_image_that_is_gone_when_it_should_be_embedded_again_is_reported(gallery, photos, make_embedder):
    ingest(gallery, photos, make_embedder("0"))
    (photos / "red.png").unlink()
    report = ingest(gallery, photos, make_embedder("1"))
    assert report.again == 4
    assert report.skipped[0][0] == "red.png"
    assert "no longer at" in report.skipped[0][1]


def test_progress_tells_the_time_that_is_left(gallery, draw, embedder, tmp_path):
    seen = []
    ingest(gallery, _many(tmp_path / "many", draw, 2 * BATCH + 1), embedder, progress=seen.append)
    assert seen[0].seconds_left is None and seen[1].seconds_left > 0 and seen[-1].seconds_left == 0
    texts = [str(Progress("embedding", 64, 1000, seconds_left=s)) for s in (None, 50.4, 700.0, 12600.0)]
    assert texts[0] == "embedding, 64 of 1,000"
    assert [text.rpartition(", ")[2] for text in texts[1:]] == ["50 s left", "12 min left", "3.5 h left"]


def test_cancelling_an_embedding_again_keeps_the_checkpoint_that_was(gallery, draw, make_embedder, tmp_path):
    ingest(gallery, _many(tmp_path / "many", draw, BATCH + 3), make_embedder("0"))
    gallery.adopt("fake-0", Spaces(make_embedder("0").info.fingerprints))
    seen = []
    report = ingest(
        gallery, [], make_embedder("1"), progress=seen.append, cancelled=lambda: seen[-1].done >= BATCH
    )
    assert (report.cancelled, report.again, gallery.checkpoint) == (True, BATCH, "fake-0")
    assert gallery.item(1).regions  # of the head that was
    assert (ingest(gallery, [], make_embedder("1")).again, gallery.checkpoint) == (3, "fake-1")
