"""Tests of reading one picture: each kind of file, and each reason to refuse it."""

import os
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dsetkit.assets.pictures import read_background, read_foreground, shrink_rgba
from dsetkit.errors import AssetError

ORANGE = (200, 100, 50)


def cut_out(colour: tuple[int, int, int] = ORANGE) -> np.ndarray:
    """A coloured square with a transparent black hole: uint8 (12,12,4)."""
    rgba = np.full((12, 12, 4), (*colour, 255), np.uint8)
    rgba[4:8, 4:8] = 0
    return rgba


def photograph(height: int = 20, width: int = 20) -> np.ndarray:
    """A smooth gradient: uint8 (height,width,3)."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.stack([255 * x, 255 * y, 128 + 0 * x], axis=2).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> None:
    Image.fromarray(pixels).save(path, **options)


def write_png(path: Path, pixels: np.ndarray, *, colour_type: int, bits: int, key=None) -> None:
    """A PNG of kinds that no library here writes; pixels (h,w) or (h,w,3) of `bits` each."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    if bits == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        ones_and_zeros = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., -bits:]
        packed = np.packbits(ones_and_zeros.reshape(height, -1), axis=1)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))]
    if key is not None:
        chunks.append((b"tRNS", np.array(key, ">u2").tobytes()))
    chunks.append((b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))))
    write_chunks(path, [*chunks, (b"IEND", b"")])


def write_chunks(path: Path, chunks: list[tuple[bytes, bytes]]) -> None:
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)


def write_png_header(path: Path, width: int, height: int) -> None:
    """A PNG that promises a size but holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    write_chunks(path, [(b"IHDR", header), (b"IDAT", b"")])


def cut_short(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


# ---- formats -----------------------------------------------------------------------------------


def palette_with_transparency(path: Path, rgba: np.ndarray) -> None:
    picture = Image.fromarray((rgba[..., 3] == 0).astype(np.uint8)).convert("P")
    picture.putpalette([*rgba[0, 0, :3], 0, 0, 0])
    picture.save(path, transparency=1)


def sixteen_bits(path: Path, rgba: np.ndarray) -> None:
    cv2.imwrite(str(path), rgba[..., [2, 1, 0, 3]].astype(np.uint16) * 256 + 200)


def sixteen_bits_with_key(path: Path, rgba: np.ndarray) -> None:
    write_png(path, rgba[..., :3] * np.uint16(257), colour_type=2, bits=16, key=(0, 0, 0))


COLOUR_WRITERS = {
    "rgba.png": save,
    "rgba.webp": lambda path, rgba: save(path, rgba, lossless=True, exact=True),
    "a_png_called.webp": lambda path, rgba: save(path, rgba, format="PNG"),
    "palette.png": palette_with_transparency,
    "rgb_with_key.png": lambda path, rgba: save(path, rgba[..., :3].copy(), transparency=(0, 0, 0)),
    "rgba_of_16_bits.png": sixteen_bits,
    "rgb_with_key_of_16_bits.PNG": sixteen_bits_with_key,
}


@pytest.mark.parametrize("name", COLOUR_WRITERS)
def test_every_kind_of_colour_cut_out_gives_straight_rgba(tmp_path, name):
    COLOUR_WRITERS[name](tmp_path / name, cut_out())
    assert np.array_equal(read_foreground(tmp_path / name, max_side=64), cut_out())


def grey_and_alpha(path: Path, grey: np.ndarray) -> None:
    alpha = np.where(grey == 0, 0, 255).astype(np.uint8)
    Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]).save(path)


def grey_with_key(bits: int):
    def write(path: Path, grey: np.ndarray) -> None:
        samples = grey.astype(np.uint16) * 257 >> (16 - bits)
        write_png(path, samples, colour_type=0, bits=bits, key=[0])

    return write


@pytest.mark.parametrize(
    "write", [grey_and_alpha, *map(grey_with_key, (1, 2, 4, 8, 16))], ids=lambda _: ""
)
def test_every_kind_of_grey_cut_out_gives_straight_rgba(tmp_path, write):
    rgba = cut_out((255, 255, 255))
    write(tmp_path / "grey.png", rgba[..., 0])
    assert np.array_equal(read_foreground(tmp_path / "grey.png", max_side=64), rgba)


@pytest.mark.parametrize("bits, key", [(2, 1), (4, 5), (16, 20_000)])
def test_a_grey_key_is_found_at_any_depth(tmp_path, bits, key):
    samples = np.full((12, 12), 2**bits - 1, np.uint16)
    samples[4:8, 4:8] = key
    write_png(tmp_path / "grey.png", samples, colour_type=0, bits=bits, key=[key])
    alpha = read_foreground(tmp_path / "grey.png", max_side=64)[..., 3]
    assert np.array_equal(alpha, cut_out()[..., 3])


def cmyk(path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).convert("CMYK").save(path, quality=95)


BACKGROUND_WRITERS = {
    "rgb.jpg": lambda path, rgb: save(path, rgb, quality=95),
    "rgb.JPEG": lambda path, rgb: save(path, rgb, quality=95),
    "rgb.webp": lambda path, rgb: save(path, rgb, lossless=True),
    "rgb.png": save,
    "cmyk.jpe": cmyk,
    "palette.png": lambda path, rgb: Image.fromarray(rgb).quantize(256).save(path),
    "sixteen.png": lambda path, rgb: cv2.imwrite(str(path), rgb[..., ::-1].astype(np.uint16) * 256),
    "rgba.png": lambda path, rgb: save(path, np.dstack([rgb, np.zeros(rgb.shape[:2], np.uint8)])),
}


@pytest.mark.parametrize("name", BACKGROUND_WRITERS)
def test_every_kind_of_photograph_gives_rgb(tmp_path, name):
    BACKGROUND_WRITERS[name](tmp_path / name, photograph())
    pixels = read_background(tmp_path / name, size=20).astype(int)
    assert pixels.shape == (20, 20, 3)
    assert np.abs(pixels - photograph()).mean() < 5


@pytest.mark.parametrize("grey", [np.uint8(90), np.uint16(90 * 256 + 7)])
def test_grey_photographs_become_rgb(tmp_path, grey):
    save(tmp_path / "grey.png", np.full((20, 20), grey))
    pixels = read_background(tmp_path / "grey.png", size=20)
    assert np.array_equal(pixels, np.full((20, 20, 3), 90))


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_of_an_animation_the_first_picture_is_taken(tmp_path, suffix):
    frames = [Image.fromarray(cut_out(colour)) for colour in (ORANGE, (0, 0, 255))]
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(read_foreground(tmp_path / f"a.{suffix}", max_side=64), cut_out())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["foreground", "background"])
def test_exif_orientation_is_applied(tmp_path, orientation, kind):
    picture = Image.fromarray(photograph(30 if kind == "foreground" else 20, 20))
    if kind == "foreground":
        picture.putalpha(255)
    picture.getexif()[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=picture.getexif())
    if kind == "foreground":
        pixels = read_foreground(tmp_path / "a.png", max_side=64)
    else:
        pixels = read_background(tmp_path / "a.png", size=20)
    with Image.open(tmp_path / "a.png") as again:
        assert np.array_equal(pixels, np.asarray(ImageOps.exif_transpose(again)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"garbage", b"II*\0\x08\0\0\0\x05\0\x12\x01"])
def test_exif_that_cannot_be_read_counts_as_none(tmp_path, exif):
    save(tmp_path / "a.png", photograph(), exif=exif)
    assert np.array_equal(read_background(tmp_path / "a.png", size=20), photograph())


# ---- what cannot be used -----------------------------------------------------------------------


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 4), np.uint8)
    save(path, noise[..., : 3 if path.suffix == ".jpg" else 4].copy())
    cut_short(path)


def speck(path: Path) -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[10:15, :30] = 255
    save(path, rgba)


def invisible(path: Path) -> None:
    save(path, np.zeros((20, 20, 4), np.uint8))


def open_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


NO_ALPHA = (
    "no alpha: expected a cut-out, PNG or WebP with transparency (`dsetkit cut-outs` makes some "
    "from pictures and their masks)"
)
NO_PICTURE = "not a PNG, JPEG or WebP picture"

# file name: (how to make it, how the reason against it begins)
BAD_FOREGROUNDS = {
    "broken_link.png": (
        lambda path: path.symlink_to("nowhere"),
        "a link to a file that does not exist",
    ),
    "empty.png": (Path.touch, "empty (0 bytes)"),
    "pipe.png": (os.mkfifo, "a named pipe, expected a file"),
    "folder.png": (Path.mkdir, "a folder, expected a file"),
    "device.png": (lambda path: path.symlink_to("/dev/zero"), "a device, expected a file"),
    "socket.png": (open_socket, "a socket, expected a file"),
    "text.png": (lambda path: path.write_text("no picture"), NO_PICTURE),
    "a_gif_called.png": (lambda path: save(path, photograph(), format="GIF"), NO_PICTURE),
    "truncated.png": (truncated, "damaged or cut off (image file is truncated)"),
    "truncated.jpg": (truncated, "damaged or cut off (image file is truncated"),
    "truncated.webp": (truncated, "damaged or cut off ("),
    "opaque.png": (lambda path: save(path, photograph()), NO_ALPHA),
    "opaque.jpg": (lambda path: save(path, photograph()), NO_ALPHA),
    "invisible.png": (invisible, "alpha is 0 everywhere: there is nothing to see"),
    "small.png": (
        lambda path: save(path, cut_out()[:7]),
        "12 x 7 px, expected at least 8 px each way",
    ),
    "speck.png": (speck, "visible part 30 x 5 px, expected at least 8 px each way"),
    "large.png": (
        lambda path: write_png_header(path, 12_000, 9_000),
        "12000 x 9000 px, over 100 megapixels",
    ),
    "giant.png": (lambda path: write_png_header(path, 50_000, 40_000), "over 100 megapixels"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD_FOREGROUNDS)
def test_a_foreground_that_cannot_be_used_has_a_reason(tmp_path, name):
    write, reason = BAD_FOREGROUNDS[name]
    write(tmp_path / name)
    with pytest.raises(AssetError) as caught:
        read_foreground(tmp_path / name, max_side=64)
    assert str(caught.value).startswith(reason)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_background_that_cannot_be_used_has_a_reason(tmp_path):
    save(tmp_path / "small.png", photograph(7, 20))
    write_png_header(tmp_path / "allowed.png", 95_000, 1_000)  # large, but it is only damaged
    for name, reason in {
        "small.png": "20 x 7 px, expected at least 8 px each way",
        "allowed.png": "damaged or cut off (",
    }.items():
        with pytest.raises(AssetError) as caught:
            read_background(tmp_path / name, size=16)
        assert str(caught.value).startswith(reason)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_refused(tmp_path):
    save(tmp_path / "a.png", cut_out())
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(AssetError, match=r"^cannot be read \(Permission denied\)$"):
        read_foreground(tmp_path / "a.png", max_side=64)


# ---- preparing ---------------------------------------------------------------------------------


def test_foregrounds_are_cropped_to_what_is_visible(tmp_path):
    rgba = np.zeros((50, 60, 4), np.uint8)
    rgba[5:25, 10:40] = (*ORANGE, 1)
    save(tmp_path / "a.png", rgba)
    pixels = read_foreground(tmp_path / "a.png", max_side=64)
    assert np.array_equal(pixels, np.full((20, 30, 4), (*ORANGE, 1)))


@pytest.mark.parametrize("max_side, shape", [(100, (40, 80)), (80, (40, 80)), (20, (10, 20))])
def test_foregrounds_shrink_but_never_grow(tmp_path, max_side, shape):
    save(tmp_path / "a.png", np.full((40, 80, 4), 255, np.uint8))
    assert read_foreground(tmp_path / "a.png", max_side=max_side).shape == (*shape, 4)


def test_no_fringe_bleeds_in_from_transparent_pixels():
    y, x = np.mgrid[:200, :200] - 99.5
    alpha = np.clip(90.5 - np.hypot(y, x), 0, 1)
    rgba = np.zeros((200, 200, 4), np.uint8)
    rgba[...] = 0, 255, 0, 0
    rgba[alpha > 0, :3] = 255, 0, 0
    rgba[..., 3] = np.rint(255 * alpha)
    small = shrink_rgba(rgba, max_side=37)
    visible = small[..., 3] > 0
    assert 0.3 < visible.mean() < 0.9 and len(np.unique(small[..., 3])) > 10
    assert (small[visible][:, :3] == (255, 0, 0)).all()


def test_shrinking_averages_alpha_evenly_and_colours_by_alpha():
    rgba = np.zeros((8, 16, 4), np.uint8)
    rgba[:, ::2] = 240, 0, 100, 255
    rgba[:, 1::2] = 0, 90, 100, 51
    # Colours 255 : 51 = 5 : 1, alpha (255 + 51) / 2.
    assert np.array_equal(shrink_rgba(rgba, max_side=8), np.full((4, 8, 4), (200, 15, 100, 153)))


@pytest.mark.parametrize("height, width", [(30, 50), (50, 30)])
def test_backgrounds_are_the_square_in_the_middle(tmp_path, height, width):
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[height // 2 - 15 : height // 2 + 15, width // 2 - 15 : width // 2 + 15] = ORANGE
    save(tmp_path / "a.png", rgb)
    for size in (15, 30, 60):
        pixels = read_background(tmp_path / "a.png", size=size)
        assert np.array_equal(pixels, np.full((size, size, 3), ORANGE))


@pytest.mark.parametrize("size", [16, 60, 110])
def test_a_large_jpeg_loses_nothing_by_quick_decoding(tmp_path, size):
    blocks = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    rgb = cv2.resize(blocks, (320, 240), interpolation=cv2.INTER_CUBIC)
    save(tmp_path / "a.jpg", rgb, quality=95, subsampling=0)
    pixels = read_background(tmp_path / "a.jpg", size=size).astype(int)
    expected = cv2.resize(rgb[:, 40:280], (size, size), interpolation=cv2.INTER_AREA)
    assert np.abs(pixels - expected).mean() < 2
    cut_short(tmp_path / "a.jpg", 0.9)
    with pytest.raises(AssetError, match=r"^damaged or cut off \(image file is truncated"):
        read_background(tmp_path / "a.jpg", size=size)
