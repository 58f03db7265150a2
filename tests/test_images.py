"""Reading images: every odd file gives the right pixels, every bad one a sentence that names it."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssa_me.errors import InputError
from ssa_me.images import MAX_PIXELS, content_hash, load_image, thumbnail


def _encode(image: Image.Image, format: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def _noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _png(width: int, height: int) -> bytes:
    """A PNG that claims a size, with hardly any pixels behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


# Good images


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_pixels_come_through(format):
    image = load_image(_encode(_noise(), format))
    assert (image.mode, image.size) == ("RGB", (64, 48))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(_noise()))


def test_a_path_bytes_and_a_stream_give_the_same(tmp_path):
    data = _encode(_noise(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    images = [load_image(source) for source in (tmp_path / "a.png", data, io.BytesIO(data))]
    assert len({image.tobytes() for image in images}) == 1


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format, orientation):
    upright = Image.new("RGB", (32, 16), "white")
    upright.paste((255, 0, 0), (0, 0, 16, 8))  # red stands at the top left
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # transpositions that undo what a reader will do
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(_encode(stored, format, exif=exif))
    pixels = np.asarray(image, dtype=int)
    assert image.size == (32, 16)
    assert abs(pixels[2:6, 2:14] - [255, 0, 0]).max() < 40
    assert pixels[10:, 18:].min() > 215


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_exif_block_does_not_cost_the_image():
    data = _encode(_noise(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert load_image(data).size == (64, 48)


def test_cmyk_is_converted():
    image = load_image(_encode(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG", quality=95))
    assert abs(np.asarray(image, dtype=int) - [255, 0, 0]).max() < 12


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format):
    grey = np.array([[0, 257, 32768, 65535]], dtype=np.uint16).repeat(8, 0).repeat(3, 1)
    image = load_image(_encode(Image.fromarray(grey), format))
    assert np.asarray(image)[0, ::3].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


def test_big_endian_16_bit_32_bit_and_floating_grey():
    ramp = np.linspace(0, 1, 16)[None].repeat(8, 0)
    eight_bit = np.rint(ramp * 255)
    for grey in (
        (ramp * 65535).astype(np.int32),
        ramp.astype(np.float32),
        (ramp * 9e6 - 4e6).astype(np.int32),
    ):
        image = load_image(_encode(Image.fromarray(grey), "TIFF"))
        assert abs(np.asarray(image)[..., 0] - eight_bit).max() <= 1
    big_endian = Image.fromarray((ramp * 65535).astype(">u2"))
    assert abs(np.asarray(load_image(_encode(big_endian, "TIFF")))[..., 0] - eight_bit).max() <= 1


def test_transparency_lies_on_white():
    half = Image.new("RGBA", (16, 8), (0, 0, 0, 0))
    half.paste((0, 0, 255, 128), (8, 0, 16, 8))
    pixels = np.asarray(load_image(_encode(half, "PNG")))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 12].tolist() == [127, 127, 255]


def test_palettes_with_and_without_transparency():
    red = Image.new("P", (16, 8), 1)
    red.putpalette([0, 255, 0, 255, 0, 0])
    assert load_image(_encode(red, "PNG")).getpixel((3, 3)) == (255, 0, 0)
    assert load_image(_encode(red, "GIF", transparency=1)).getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "YCbCr"])
def test_other_modes_become_rgb(mode):
    format = "JPEG" if mode == "YCbCr" else "PNG"
    image = load_image(_encode(Image.new("RGB", (16, 8), "white").convert(mode), format))
    assert (image.mode, image.getpixel((3, 3))) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = _encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert load_image(data).getpixel((3, 3)) == (255, 0, 0)


def test_a_phones_multi_picture_jpeg_gives_its_first_picture():
    data = _encode(
        Image.new("RGB", (16, 16), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))]
    )
    assert load_image(data).size == (16, 16)


def test_8_pixels_a_side_and_100_to_1_are_accepted():
    for size in ((8, 8), (800, 8)):
        assert load_image(_encode(Image.new("RGB", size), "PNG")).size == size


# Bad images


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"^cat\.png is empty \(0 bytes\)"),
        (b"hello, I am a text", r"^cat\.png is not a JPEG, PNG, WebP, BMP, GIF or TIFF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", r"^cat\.png is not a JPEG"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, r"^cat\.png is (not a JPEG|damaged)"),
        (_encode(Image.new("RGB", (1, 1)), "PNG"), r"^cat\.png is 1 × 1 pixels, smaller than 8 px"),
        (_encode(Image.new("RGB", (7, 50)), "PNG"), r"^cat\.png is 7 × 50 pixels, smaller than 8 px"),
        (_encode(Image.new("RGB", (8, 808)), "PNG"), r"^cat\.png is 8 × 808 pixels, over 100 times"),
        (_encode(Image.new("RGB", (70_000, 700)), "PNG"), r"^cat\.png is 70000 × 700 pixels, over 65,000"),
        (_encode(Image.new("RGB", (20, 20)), "ICO"), r"^cat\.png is not a JPEG"),
        (_encode(Image.new("RGB", (20, 20)), "EPS"), r"^cat\.png is not a JPEG"),
    ],
)
def test_a_bad_image_is_refused_by_name_with_the_reason(data, words):
    with pytest.raises(InputError, match=words):
        load_image(data, "cat.png")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused(format, share):
    data = _encode(_noise(), format)
    with pytest.raises(InputError, match=r"^cut\.img "):
        load_image(data[: int(len(data) * share)], "cut.img")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_random_damage_gives_an_image_or_an_input_error():
    generator = np.random.default_rng(0)
    refused = 0
    for format in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"):
        whole = np.frombuffer(_encode(_noise(24, 24), format), dtype=np.uint8)
        for _ in range(60):
            data = whole.copy()
            data[generator.integers(0, len(data), 8)] = generator.integers(0, 256, 8)
            try:
                assert load_image(data.tobytes(), "x").mode == "RGB"
            except InputError:
                refused += 1
    assert refused > 60


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(10_000, 6_000), (12_000, 10_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_before_decoding(size):
    data = _png(*size)
    with pytest.raises(InputError, match=r"megapixels.*Make it smaller"):
        load_image(data, "poster.png")


def test_a_60_megapixel_image_is_refused_with_both_numbers():
    with pytest.raises(
        InputError, match=r"poster\.png is 10000 × 6000 pixels: 60 megapixels, the limit is 50\."
    ):
        load_image(_png(10_000, 6_000), "poster.png")
    assert MAX_PIXELS == 50_000_000


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="not there"):
        load_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="a folder"):
        load_image(tmp_path)


# Thumbnails, hashes, threads


def test_a_thumbnail_keeps_proportions_and_never_grows():
    assert thumbnail(Image.new("RGB", (1600, 900))).size == (320, 180)
    assert thumbnail(Image.new("RGB", (900, 1600)), 100).size == (56, 100)
    assert thumbnail(Image.new("RGB", (3000, 30))).size == (320, 3)
    small = Image.new("RGB", (40, 20))
    assert thumbnail(small).size == (40, 20)
    assert thumbnail(small) is not small


def test_the_content_hash_is_sha256():
    assert content_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_threads_read_what_one_thread_reads():
    sources = [_encode(_noise(60 + n, 40), format) for n in range(10) for format in ("PNG", "JPEG")] + [
        _png(9_000, 9_000)
    ]

    def read(data: bytes) -> bytes | str:
        try:
            return load_image(data, "x").tobytes()
        except InputError as error:
            return str(error)

    serial = [read(data) for data in sources]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, sources)) == serial
