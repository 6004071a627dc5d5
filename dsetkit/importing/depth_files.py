"""Measured depth of other programs: 16-bit PNG, `.npy`, `.npz`, `.pfm` and `.exr`.

| file                 | a value counts                    | invalid                          |
|----------------------|-----------------------------------|----------------------------------|
| whole numbers        | 1/1000 m, or 1 / `units_per_m`    | 0, and beyond the largest depth  |
| floating point       | 1 m, or 1 / `units_per_m`         | the same; negative, NaN and inf  |

The header is checked before anything of the promised size is allocated. Nothing is unpickled. All
functions raise AssetError with the reason alone; the caller adds the file.
"""

import io
import re
import zipfile
from dataclasses import dataclass

import numpy as np

from dsetkit.assets import MAX_MEGAPIXELS, decode_picture
from dsetkit.errors import AssetError, one_line
from dsetkit.importing import exr
from dsetkit.importing.decoding import Label
from dsetkit.importing.sources import read_member
from dsetkit.store import quantise_metric

DEPTH_SUFFIXES = (".png", ".npy", ".npz", ".pfm", ".exr")  # in any case

UNITS_PER_M = 1000.0  # of whole numbers, if nothing else is said: millimetres
NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK\x03\x04"
NPY_SUFFIX, DEPTH_MEMBER = ".npy", "depth.npy"
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
MAX_NPY_HEADER = 10_000  # bytes
PFM_HEADER = re.compile(rb"(Pf|PF)\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,20})\s")


@dataclass(frozen=True)
class MeasuredDepth:
    """The depth of a file.

    Attributes:
        label: uint16 (h,w) [mm], 0 = invalid, as stored: not turned.
        num_valid: Pixels with a valid depth.
        num_far: Pixels beyond the largest depth.
    """

    label: Label
    num_valid: int
    num_far: int


def read_depth(content: bytes, *, units_per_m: float | None, max_depth_m: float) -> MeasuredDepth:
    """Decodes a depth file.

    Args:
        content: The file's bytes; they, not its suffix, decide on the format.
        units_per_m: How much a metre counts in the file; None: 1000 for whole numbers, 1 for
            floating point.
        max_depth_m: Larger depths are invalid [m].

    Raises:
        AssetError: It cannot be decoded, or is not a map of one number for each pixel.
    """
    values, orientation = _values(content)
    is_float = values.dtype.kind == "f"
    units = units_per_m or (1.0 if is_float else UNITS_PER_M)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and the like are invalid below
        depth_m = values.astype(np.float64)
        depth_m /= units
        num_far = int(((depth_m > max_depth_m) & np.isfinite(depth_m)).sum())
        stored = quantise_metric(depth_m, max_depth_m)
    return MeasuredDepth(Label(stored, orientation), int(np.count_nonzero(stored)), num_far)


def _values(content: bytes) -> tuple[np.ndarray, int]:
    """Numbers (h,w) as they stand in the file, and its EXIF orientation."""
    if content.startswith(NPY_MAGIC):
        return _array(content), 1
    if content.startswith(ZIP_MAGIC):
        return _array_in_zip(content), 1
    if content.startswith(exr.MAGIC):
        _check_pixels(*exr.exr_size(content)[::-1])
        return exr.read_exr(content), 1
    if PFM_HEADER.match(content):
        return _pfm(content), 1
    try:
        picture = decode_picture(content, formats=("PNG",))
    except AssetError as error:
        if content.startswith(b"\x89PNG"):
            raise
        raise AssetError(f"not a PNG, .npy, .npz, .pfm or .exr file ({error})") from None
    if not picture.has_16_bit_grey:
        raise AssetError(
            f"a PNG of {picture.png_bits} bits, {picture.image.mode}: expected 16-bit grey"
        )
    return picture.grey_16(), picture.orientation


# ---- NumPy -------------------------------------------------------------------------------------


def _array(content: bytes) -> np.ndarray:
    """The array of a .npy file: (h,w), whole numbers or floating point."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read_header = NPY_HEADERS[version]
        shape, is_fortran, dtype = read_header(file, max_header_size=MAX_NPY_HEADER)
    except Exception as error:  # damaged headers raise errors of many types
        raise AssetError(f"damaged or cut off (.npy: {one_line(error)})") from None
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise AssetError(f"an array of {dtype}: expected whole numbers or floating point")
    sides = tuple(side for side in shape if side != 1)
    if len(sides) != 2:
        raise AssetError(f"an array of shape {_shown(shape)}: expected height x width")
    _check_pixels(*sides)
    body = memoryview(content)[file.tell() :]
    expected = sides[0] * sides[1] * dtype.itemsize
    if len(body) != expected:
        raise AssetError(
            f"damaged or cut off (.npy: {len(body):,} bytes of data, expected {expected:,})"
        )
    array = np.frombuffer(body, dtype)
    return array.reshape(sides[::-1]).T if is_fortran else array.reshape(sides)


def _array_in_zip(content: bytes) -> np.ndarray:
    """The array `depth` of a .npz file, or its only array."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # damaged data raises errors of many types
        raise AssetError(f"damaged or cut off (.npz: {one_line(error)})") from None
    with archive:
        names = [name for name in archive.namelist() if name.endswith(NPY_SUFFIX)]
        if DEPTH_MEMBER not in names and len(names) != 1:
            raise AssetError(
                f"{len(names)} arrays in a .npz file: expected one, or one that is named depth"
            )
        return _array(read_member(archive, DEPTH_MEMBER if DEPTH_MEMBER in names else names[0]))


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[:8])) or "()"


# ---- PFM ---------------------------------------------------------------------------------------


def _pfm(content: bytes) -> np.ndarray:
    """The map of a portable float map, float32 (h,w); its rows lie from bottom to top.

    Source: netpbm's `pfm` (the sign of the scale gives the order of bytes).
    """
    header = PFM_HEADER.match(content)
    assert header is not None  # the caller has asked
    kind, width, height = header[1], int(header[2]), int(header[3])
    if kind == b"PF":
        raise AssetError("a PFM of three channels: expected one (Pf)")
    _check_pixels(height, width)
    try:
        scale = float(header[4])
    except ValueError:
        scale = 0.0
    if abs(scale) != 1:  # programs disagree on what another one means
        raise AssetError(f"a PFM of scale {header[4].decode()}: expected 1 or -1")
    body = memoryview(content)[header.end() :]
    expected = 4 * width * height
    if len(body) != expected:
        raise AssetError(
            f"damaged or cut off (.pfm: {len(body):,} bytes of data, expected {expected:,})"
        )
    return np.frombuffer(body, "<f4" if scale < 0 else ">f4").reshape(height, width)[::-1]


def _check_pixels(height: int, width: int) -> None:
    if not 0 < height * width <= MAX_MEGAPIXELS * 1_000_000:
        raise AssetError(
            f"{width} x {height} px, expected at least 1 and at most {MAX_MEGAPIXELS} megapixels"
        )
