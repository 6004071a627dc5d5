"""Pictures of other programs: bytes are checked, then decoded; nothing about them is trusted.

Every reader of foreign pictures in dsetkit decodes with `decode_picture` and turns pixels with
`turn`. So a picture is never upright in one place and as stored in another.

What is bounded: the bytes of a file, the pixels of a picture (by its header, before anything is
decoded), the scans of a JPEG. What is ignored: all metadata but the EXIF orientation. Text, colour
profiles and the like are cut out of PNG and JPEG before Pillow sees them, because Pillow refuses
pictures for them, and unpacks them.
"""

import io
import os
import re
import stat
import struct
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dsetkit.errors import AssetError

FORMATS = ("PNG", "JPEG", "WEBP")

NOT_UTF_8 = "its name is not UTF-8: rename it"

MAX_MEGAPIXELS = 100
STRIP_PIXELS = 2**22  # that are converted at once
CHANNELS: dict[str, tuple[int, ...]] = {"L": (), "RGB": (3,), "RGBA": (4,)}
MAX_FILE_BYTES = 256 * 2**20  # of a picture, a table, a member of an archive
MAX_SCANS = 100  # of a JPEG. Each passes over all pixels, and may take as few as ten bytes
MAX_PARTS = 100_000  # chunks of a PNG, segments of a JPEG

# EXIF orientation -> (mirrored left to right, then quarter turns counter-clockwise)
ORIENTATIONS = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}

ORIENTATION_TAG = 0x0112
TIFF_ENTRY = 12  # bytes
TIFF_TYPES = {1: "B", 3: "H", 4: "I"}  # of whole numbers

PNG_SIGNATURE, JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# Chunks that a PNG's pixels and its orientation need, besides all whose names begin with a capital.
PNG_CHUNKS_KEPT = (b"tRNS", b"eXIf")
PNG_BIT_DEPTH = 24  # its offset: signature 8, length 4, "IHDR" 4, width 4, height 4
# Markers (second byte) of JPEG segments without need: APP0 to APP15 and comments ...
JPEG_METADATA = (*range(0xE0, 0xF0), 0xFE)
JPEG_KEPT = (0xE0, 0xEE)  # ... but JFIF and Adobe, which say what the channels are
JPEG_EXIF, JPEG_START_OF_SCAN, JPEG_END = 0xE1, 0xDA, 0xD9
JPEG_END_BYTES = b"\xff\xd9"
JPEG_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")  # what a scan itself cannot hold
EXIF_PREFIX = b"Exif\0\0"


# ---- files -------------------------------------------------------------------------------------


def read_file(path: Path, *, at_most: int = MAX_FILE_BYTES) -> bytes:
    """Reads a regular file; never waits for a pipe or a device.

    Args:
        path: The file.
        at_most: Limit of its size [bytes].

    Raises:
        AssetError: It cannot be read, is empty, or is too large; the message is the reason alone.
    """
    try:
        _check_file(
            path.stat(), at_most
        )  # first, because opening a device may already do something
        # Without O_NONBLOCK, opening a pipe waits until another program writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            _check_file(os.fstat(handle), at_most)
            content = file.read(at_most + 1)
    except OSError as error:
        if path.is_symlink() and not path.exists():
            raise AssetError("a link to a file that does not exist") from None
        raise AssetError(f"cannot be read ({error.strerror})") from None
    except ValueError:  # the system knows no such name
        raise AssetError("cannot be read (a null character in its name)") from None
    if len(content) > at_most:  # it grows
        raise AssetError(too_many_bytes(len(content), at_most))
    if not content:
        raise AssetError("empty (0 bytes)")
    return content


def is_utf8(name: str) -> bool:
    """Whether a file name can be stored; one of other bytes cannot, see NOT_UTF_8."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def too_many_bytes(count: int, at_most: int) -> str:
    """The reason for refusing a file of so many bytes."""
    return f"{count:,} bytes, expected at most {at_most:,}"


def _check_file(facts: os.stat_result, at_most: int) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise AssetError(f"{_kind_of(facts.st_mode)}, expected a file")
    if facts.st_size > at_most:
        raise AssetError(too_many_bytes(facts.st_size, at_most))


def _kind_of(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


# ---- pictures ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """A decoded picture, its pixels as they are stored.

    Attributes:
        image: All pixels, 8 bits in a channel, or 16 bits in modes `I;16` and `I`.
        format: One of FORMATS.
        orientation: From the EXIF data, a key of ORIENTATIONS; 1 if there is none.
        png_bits: Bits of a channel in the file; 0 if it is no PNG.
    """

    image: Image.Image
    format: str
    orientation: int
    png_bits: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored [px]."""
        return self.image.height, self.image.width

    @property
    def has_16_bit_grey(self) -> bool:
        """Whether it is grey, with 16 bits for a pixel."""
        return self.image.mode in ("I;16", "I;16B", "I")

    def pixels(self, mode: str) -> np.ndarray:
        """Pixels as stored, in a mode of CHANNELS: uint8 (h,w) or (h,w,channels)."""
        image = self._in_8_bits()
        width, height = image.size
        rows = max(1, STRIP_PIXELS // width)
        if rows >= height:
            return np.asarray(image.convert(mode))
        # In strips, because Pillow makes up to three copies of what it converts and gives away.
        pixels = np.empty((height, width, *CHANNELS[mode]), np.uint8)
        for top in range(0, height, rows):
            strip = image.crop((0, top, width, min(top + rows, height)))
            pixels[top : top + rows] = np.asarray(strip.convert(mode))
        return pixels

    def grey_16(self) -> np.ndarray:
        """Pixels as stored of a picture with `has_16_bit_grey`: uint16 (h,w)."""
        return np.asarray(self.image).astype(np.uint16)

    def upright(self, mode: str) -> np.ndarray:
        """As `pixels`, turned as the EXIF data says."""
        return turn(self.pixels(mode), self.orientation)

    def _in_8_bits(self) -> Image.Image:
        """The upper 8 bits of 16-bit grey pixels, and of the transparent colour of a PNG.

        Pillow converts all other pixels itself, but keeps the transparent colour in the file's
        depth.
        """
        image, key = self.image, self.image.info.get("transparency")
        if key is not None and image.mode in ("L", "RGB"):
            image = image.copy()  # for another `info`
        if self.has_16_bit_grey:
            image = Image.fromarray((self.grey_16() >> 8).astype(np.uint8))
        if key is not None and image.mode in ("L", "RGB"):
            values = np.atleast_1d(key)
            bits = self.png_bits
            values = values >> 8 if bits == 16 else values * 255 // (2**bits - 1)
            one = int(values[0])
            image.info["transparency"] = tuple(values.tolist()) if image.mode == "RGB" else one
        return image


def decode_picture(
    content: bytes, *, formats: Collection[str] = FORMATS, side_needed: int | None = None
) -> Picture:
    """Decodes a whole PNG, JPEG or WebP picture; of an animation, the first picture.

    Args:
        content: The file's bytes; they, not the file's suffix, decide on the format.
        formats: Which of FORMATS are accepted.
        side_needed: Both sides keep at least this length [px]. A larger JPEG may be decoded at 1/2,
            1/4 or 1/8 of its size, which is much faster. None decodes at full size.

    Raises:
        AssetError: The picture cannot be used; the message is the reason alone.
    """
    if not content:
        raise AssetError("empty (0 bytes)")
    content, exif = without_metadata(content)
    try:
        with Image.open(io.BytesIO(content), formats=tuple(formats)) as image:
            _check_pixels(*image.size)
            if side_needed is not None:
                image.draft(None, (side_needed, side_needed))
            image.load()
    except AssetError:
        raise
    except Image.DecompressionBombError:
        raise AssetError(f"over {MAX_MEGAPIXELS} megapixels") from None
    except UnidentifiedImageError:
        raise AssetError(f"not a {_listed(formats)} picture") from None
    except Exception as error:  # Pillow's decoders raise many types of errors for damaged data
        raise AssetError(f"damaged or cut off ({_first_line(error)})") from None
    if image.format == "WEBP":
        exif = image.info.get("exif", b"")
    if image.mode == "P":
        _check_palette(image)
    png_bits = content[PNG_BIT_DEPTH] if image.format == "PNG" else 0
    return Picture(image, str(image.format), _orientation_of(exif), png_bits)


def stored_orientation(content: bytes) -> int:
    """The EXIF orientation of a PNG or JPEG, without decoding it: a key of ORIENTATIONS."""
    return _orientation_of(without_metadata(content)[1])


@contextmanager
def pillow_warnings_ignored() -> Iterator[None]:
    """Hides warnings of sizes and transparency, which are looked after here.

    Filters belong to the whole process: enter it once, outside of threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns stored pixels (h,w) or (h,w,c) upright; `orientation` is a key of ORIENTATIONS."""
    mirrored, quarter_turns = ORIENTATIONS[orientation]
    if mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Height and width of pixels after `turn`."""
    return size[::-1] if orientation >= 5 else size


def _orientation_of(exif: bytes) -> int:
    """The orientation that EXIF data gives: a key of ORIENTATIONS.

    1 if there is none. EXIF data that cannot be read counts as none, as it does in browsers.
    XMP data is not asked.
    """
    tiff = exif.removeprefix(EXIF_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for number in range(count):
            at = start + 2 + number * TIFF_ENTRY
            tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, at)
            if tag == ORIENTATION_TAG and kind in TIFF_TYPES and values == 1:
                (found,) = struct.unpack_from(f"{order}{TIFF_TYPES[kind]}", tiff, at + 8)
                return found if found in ORIENTATIONS else 1
    except struct.error:
        pass
    return 1


# ---- checks ------------------------------------------------------------------------------------


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise AssetError(f"{width} x {height} px, over {MAX_MEGAPIXELS} megapixels")


def _check_palette(image: Image.Image) -> None:
    """Refuses pixels of a palette picture that have no colour; programs show them differently."""
    colours = len(image.getpalette("RGB") or ()) // 3
    (_, largest) = image.getextrema()
    if int(largest) >= colours:  # type: ignore[arg-type]  # one pair for a picture of one channel
        raise AssetError(f"damaged (a pixel has colour {largest}, the palette has {colours})")


def _listed(formats: Collection[str]) -> str:
    names = ["WebP" if name == "WEBP" else name for name in formats]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# ---- without metadata --------------------------------------------------------------------------


def without_metadata(content: bytes) -> tuple[bytes, bytes]:
    """A file without what its pixels do not need, and the EXIF data of a PNG or JPEG.

    Raises:
        AssetError: It has more parts or scans than a sound picture.
    """
    if content.startswith(PNG_SIGNATURE):
        return _without_png_metadata(content)
    if content.startswith(JPEG_SIGNATURE):
        return _without_jpeg_metadata(content)
    return content, b""


def _without_png_metadata(content: bytes) -> tuple[bytes, bytes]:
    """Keeps a last chunk that is cut off, for Pillow to tell."""
    parts, at, exif, count = [PNG_SIGNATURE], len(PNG_SIGNATURE), b"", 0
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        name, end = content[at + 4 : at + 8], at + 12 + length
        if end > len(content):
            break
        if name == b"eXIf":
            exif = exif or content[at + 8 : end - 4]
        if name[:1].isupper() or name in PNG_CHUNKS_KEPT:
            parts.append(content[at:end])
        at, count = end, _counted(count)
        if name == b"IEND":
            return b"".join(parts), exif
    parts.append(content[at:])
    return b"".join(parts), exif


def _without_jpeg_metadata(content: bytes) -> tuple[bytes, bytes]:
    """Also leaves out what follows the end of the picture, such as a preview or a film.

    Raises:
        AssetError: It has more scans than MAX_SCANS.
    """
    parts, at, exif, count, scans = [content[:2]], 2, b"", 0, 0
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == JPEG_END:
            break
        if marker == 0xFF:  # fills the space before a marker
            at, count = at + 1, _counted(count)
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == JPEG_EXIF and content.startswith(EXIF_PREFIX, at + 4):
            exif = exif or content[at + 4 : end]
        if marker == JPEG_START_OF_SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise AssetError(f"a JPEG of over {MAX_SCANS} scans: save it anew")
            follows = JPEG_AFTER_SCAN.search(content, end)
            end = follows.start() if follows else len(content)
        if marker not in JPEG_METADATA or marker in JPEG_KEPT:
            parts.append(content[at:end])
        at, count = end, _counted(count)
    ends_well = content[at : at + 2] == JPEG_END_BYTES
    parts.append(JPEG_END_BYTES if ends_well else content[at:])  # damage is for Pillow to tell
    return b"".join(parts), exif


def _counted(parts: int) -> int:
    """One more part of a file.

    Raises:
        AssetError: There are more than MAX_PARTS.
    """
    if parts >= MAX_PARTS:
        raise AssetError(f"damaged or cut off (over {MAX_PARTS:,} parts)")
    return parts + 1
