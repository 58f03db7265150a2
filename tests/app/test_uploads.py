import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.uploads import UploadStore
from app.workspace import Workspace
from ssa_me.errors import InputError


def test_the_same_image_is_kept_once_and_re_encoded(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    store = UploadStore(tmp_path)
    data = picture("red", "BMP")
    first, second = store.add(data, "a.bmp"), store.add(data, "b.bmp")
    assert first == second
    assert (first.width, first.height) == (64, 48)
    kept = list(tmp_path.iterdir())
    assert [path.name for path in kept] == [first.hash]
    assert kept[0].read_bytes()[:4] == b"\x89PNG"
    assert store.describe(first.hash) == first
    assert store.image(first.hash).getpixel((5, 5)) == (205, 50, 45)


def test_large_images_are_made_smaller(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    upload = UploadStore(tmp_path).add(picture("blue", "JPEG", size=(2400, 1200)), "wide.jpg")
    assert (upload.width, upload.height) == (1600, 800)


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_other_colour_modes_come_out_as_rgb(mode: str, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    store = UploadStore(tmp_path)
    assert store.image(store.add(picture("red", "JPEG", mode=mode), "x.jpg").hash).mode == "RGB"


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_image_is_refused_by_name_and_leaves_nothing(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holiday\.png"):
        UploadStore(tmp_path).add(data, "holiday.png")
    assert list(tmp_path.iterdir()) == []


def test_a_one_pixel_image_is_refused(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    with pytest.raises(InputError, match=r"dot\.png"):
        UploadStore(tmp_path).add(picture("red", size=(1, 1)), "dot.png")


@pytest.mark.parametrize("digest", ["../secret", "ab", "", None, 5, "AB" * 32, "ab" * 32])
def test_a_hash_that_is_not_there_is_bad_input(digest: object, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(InputError):
        UploadStore(tmp_path / "uploads").path(digest)


def test_the_store_stays_below_its_cap(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    store = UploadStore(tmp_path)
    old = store.add(picture("red"), "red.png")
    os.utime(tmp_path / old.hash, (1, 1))
    capped = UploadStore(tmp_path, capacity=(tmp_path / old.hash).stat().st_size + 10)
    new = capped.add(picture("blue"), "blue.png")
    assert [path.name for path in tmp_path.iterdir()] == [new.hash]


def test_an_upload_is_found_by_its_whole_hash_alone(
    workspace: Workspace, address: str, picture: Callable[..., bytes]
) -> None:
    """A link that names it opens it for anyone; nothing lists what there is, and no part of a hash leads to it."""
    digest = workspace.uploads.add(picture("purple", size=(91, 57)), "mine.png").hash
    assert len(digest) == 64
    assert httpx.get(f"{address}studio/upload/{digest}").status_code == 200
    for other in (
        "",
        digest[:63],
        f"{digest[:63]}{'0' if digest[63] != '0' else '1'}",
        "*",
        "..",
        f".{digest}",
    ):
        assert httpx.get(f"{address}studio/upload/{other}").status_code == 404
    for place in ("/uploads/", f"/uploads/{digest}"):
        for path in (f"{workspace.folder}{place}", f"workspace{place}"):
            assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)
