"""Pictures of other programs: one meaning of EXIF orientation, metadata without a say, bounds."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dsetkit.assets.foreign import (
    FORMATS,
    MAX_PARTS,
    MAX_SCANS,
    decode_picture,
    stored_orientation,
    turn,
    turned_size,
)
from dsetkit.errors import AssetError
from tests.helpers.mutations import mutations

HEIGHT, WIDTH = 20, 28
PIXELS = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8), (WIDTH, HEIGHT)
)


def encoded(kind: str, *, pixels: np.ndarray = PIXELS, **options) -> bytes:
    buffer = io.BytesIO()
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    Image.fromarray(pixels).save(buffer, kind, **lossless, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png_chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A chunk behind IHDR."""
    return png[:33] + png_chunk(name, content) + png[33:]


def with_segments(jpeg: bytes, marker: int, contents: list[bytes]) -> bytes:
    """Segments behind the start of a JPEG."""
    segments = [
        bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content
        for content in contents
    ]
    return b"".join([jpeg[:2], *segments, jpeg[2:]])


# ---- which way up ------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_the_orientation_means_in_every_format_what_it_means_to_pillow(
    kind: str, orientation: int
) -> None:
    content = encoded(kind, exif=exif(orientation))
    picture = decode_picture(content)
    assert picture.orientation == orientation and picture.size == (HEIGHT, WIDTH)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(picture.upright("RGB"), expected)
    assert turned_size(picture.size, orientation) == expected.shape[:2]
    if kind != "WEBP":
        assert stored_orientation(content) == orientation


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind, form", [(3, "H"), (4, "I")])
def test_the_orientation_is_read_in_every_spelling(order: str, kind: int, form: str) -> None:
    signature = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(f"{order}{form}", 6).ljust(4, b"\0")
    entries = struct.pack(f"{order}HHI", 0x010F, 2, 1) + b"x\0\0\0"
    entries += struct.pack(f"{order}HHI", 0x0112, kind, 1) + value
    tiff = signature + struct.pack(f"{order}IH", 8, 2) + entries + bytes(4)
    assert decode_picture(with_chunk(encoded("PNG"), b"eXIf", tiff)).orientation == 6
    assert stored_orientation(with_segments(encoded("JPEG"), 0xE1, [b"Exif\0\0" + tiff])) == 6


def test_the_orientation_stands_behind_the_pixels_of_a_png_too() -> None:
    png = encoded("PNG")
    late = png[:-12] + png_chunk(b"eXIf", exif(3).removeprefix(b"Exif\0\0")) + png[-12:]
    assert decode_picture(late).orientation == stored_orientation(late) == 3


@pytest.mark.parametrize("number", [0, 9, 255, 65535])
def test_orientations_that_mean_nothing_count_as_upright(number: int) -> None:
    assert decode_picture(encoded("JPEG", exif=exif(number))).orientation == 1


# ---- metadata ----------------------------------------------------------------------------------

LARGE = b"x" * 3_000_000
PNG_METADATA = {
    "text": (b"tEXt", b"note\0" + LARGE),
    "packed text": (b"zTXt", b"note\0\0" + zlib.compress(LARGE)),
    "international text": (b"iTXt", b"note\0\1\0\0\0" + zlib.compress(LARGE)),
    "colour profile": (b"iCCP", b"profile\0\0" + zlib.compress(LARGE)),
    "no colour profile": (b"iCCP", b"profile\0\0nonsense"),
    "no text": (b"zTXt", b""),
    "odd gamma": (b"gAMA", b""),
    "odd time": (b"tIME", b"x"),
    "unknown": (b"abCd", LARGE),
}


@pytest.mark.parametrize("name", PNG_METADATA)
@pytest.mark.parametrize("copies", [1, 40])
def test_metadata_of_a_png_does_not_matter(name: str, copies: int) -> None:
    content = encoded("PNG")
    for _ in range(copies):
        content = with_chunk(content, *PNG_METADATA[name])
    assert np.array_equal(decode_picture(content).pixels("RGB"), PIXELS)


@pytest.mark.parametrize("marker", [*range(0xE1, 0xEE), 0xEF, 0xFE])
def test_metadata_of_a_jpeg_does_not_matter(marker: int) -> None:
    plain = encoded("JPEG")
    odd = [b"", b"MPF\0" + b"\xff" * 60, b"ICC_PROFILE\0\1\x02x", b"Photoshop 3.0\0" + b"8BIM" * 9]
    for contents in (odd, [b"\xff\xda" * 30_000] * 50):
        content = with_segments(plain, marker, contents)
        assert np.array_equal(
            decode_picture(content).pixels("RGB"), decode_picture(plain).pixels("RGB")
        )


def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    plain = encoded("JPEG", progressive=True)
    for film in (b"\0" * 9, encoded("JPEG", pixels=PIXELS[:9, :9].copy()) * 200, b"\xff\xda" * 500):
        picture = decode_picture(plain + film)
        assert np.array_equal(picture.pixels("RGB"), decode_picture(plain).pixels("RGB"))


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restart_marker_blocks", [0, 2])
def test_every_kind_of_jpeg_is_decoded_as_pillow_does(
    subsampling: int, progressive: bool, restart_marker_blocks: int
) -> None:
    content = encoded(
        "JPEG",
        subsampling=subsampling,
        progressive=progressive,
        restart_marker_blocks=restart_marker_blocks,
        comment=b"\xff\xd9 no end",
        exif=exif(6),
    )
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(decode_picture(content).pixels("RGB"), np.asarray(image))


# ---- bounds ------------------------------------------------------------------------------------


def png_of(width: int, height: int) -> bytes:
    """A PNG that promises a size but holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", b""), png_chunk(b"IEND", b""))
    return b"".join((b"\x89PNG\r\n\x1a\n", *chunks))


def jpeg_of(width: int, height: int) -> bytes:
    content = encoded("JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def webp_of(width: int, height: int) -> bytes:
    content = encoded("WEBP")  # lossless: 14 bits of width - 1, 14 bits of height - 1
    at = content.index(b"VP8L") + 9
    bits = (width - 1) | (height - 1) << 14
    return content[:at] + struct.pack("<I", bits) + content[at + 4 :]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("promise", [png_of, jpeg_of, webp_of])
@pytest.mark.parametrize("size", [(16_000, 16_000), (10_001, 10_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(
    promise: Callable[[int, int], bytes], size: tuple[int, int]
) -> None:
    content = promise(*size)
    tracemalloc.start()
    with pytest.raises(AssetError, match="over 100 megapixels"):
        decode_picture(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    content = encoded("JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    scan = content[start:-2]
    assert decode_picture(content[:start] + scan + content[-2:]).size == (HEIGHT, WIDTH)
    with pytest.raises(AssetError, match=f"a JPEG of over {MAX_SCANS} scans"):
        decode_picture(content[:start] + scan * (MAX_SCANS + 1) + content[-2:])


def test_a_picture_of_endless_parts_is_refused() -> None:
    for content in (
        encoded("PNG")[:33] + png_chunk(b"teXt", b"") * (MAX_PARTS + 1),
        encoded("JPEG")[:2] + b"\xff\xfe\0\2" * (MAX_PARTS + 1),
        b"\xff\xd8" + b"\xff" * (MAX_PARTS + 100),
    ):
        with pytest.raises(AssetError, match="over 100,000 parts"):
            decode_picture(content)


@pytest.mark.parametrize("transparency", [b"", png_chunk(b"tRNS", b"\0\xff")])
@pytest.mark.parametrize("bits, width", [(2, 8), (8, 2)])
def test_a_colour_that_the_palette_lacks_is_refused(
    transparency: bytes, bits: int, width: int
) -> None:
    def png(colour: int) -> bytes:
        """Four rows of two bytes, the second begins with the colour; three colours are known."""
        row = bytes([0, 0, colour << (8 - bits)])
        parts = (
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, 4, bits, 3, 0, 0, 0)),
            png_chunk(b"PLTE", bytes(9)),
            transparency,
            png_chunk(b"IDAT", zlib.compress(row * 4)),
            png_chunk(b"IEND", b""),
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

    assert decode_picture(png(2)).pixels("RGB").max() == 0
    with pytest.raises(AssetError, match="a pixel has colour 3, the palette has 3"):
        decode_picture(png(3))


SOUND = [
    encoded("PNG"),
    encoded("PNG", exif=exif(6)),
    encoded("PNG", pixels=PIXELS[..., 0].astype(np.uint16) * 257),
    encoded("JPEG"),
    encoded("JPEG", progressive=True, exif=exif(3)),
    encoded("WEBP", exif=exif(8)),
    encoded("WEBP"),
]


@pytest.mark.filterwarnings("ignore:::PIL")
def test_damaged_pictures_are_decoded_or_refused_in_one_line() -> None:
    refused = 0
    for content in mutations(SOUND):
        try:
            picture = decode_picture(content)
            pixels = picture.upright("RGBA")
            assert pixels.shape[:2] == turned_size(picture.size, picture.orientation)
            assert np.array_equal(turn(picture.pixels("RGBA"), picture.orientation), pixels)
            stored_orientation(content)
        except AssetError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 300
    assert refused > 100


@pytest.mark.parametrize("kind", ["RGB", "P", "L with a transparent colour", "I;16"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_picture_is_the_same_in_strips(
    monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    grey = PIXELS[..., 0].copy()
    content = {
        "RGB": lambda: encoded("PNG"),
        "P": lambda: encoded_by_pillow(Image.fromarray(PIXELS).quantize(9), transparency=3),
        "L with a transparent colour": lambda: encoded(
            "PNG", pixels=grey, transparency=int(grey[0, 0])
        ),
        "I;16": lambda: encoded("PNG", pixels=grey.astype(np.uint16) * 257),
    }[kind]()
    whole = decode_picture(content).pixels(mode)
    for rows in (1, 7, HEIGHT - 1):
        monkeypatch.setattr("dsetkit.assets.foreign.STRIP_PIXELS", rows * WIDTH)
        assert np.array_equal(decode_picture(content).pixels(mode), whole)


def encoded_by_pillow(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()
