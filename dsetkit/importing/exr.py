"""OpenEXR depth maps: one channel of floating point, read by the package OpenEXR.

The header is read here first, so that nothing of the promised size is allocated before it is
checked.

Source: OpenEXR file layout, openexr.com/en/latest/OpenEXRFileLayout.html.
"""

import struct
import tempfile
from collections.abc import Iterator

import numpy as np

from dsetkit.errors import AssetError, one_line
from dsetkit.extras import extra_module

MAGIC = b"\x76\x2f\x31\x01"
FLAGS_NOT_READ = 0x800 | 0x1000  # deep data, several parts
DEPTH_CHANNELS = ("Z", "depth", "Depth", "Y", "V", "R")  # the first of these that there is
MOST_ATTRIBUTES = 1000
CHANNEL_BYTES = 16  # type, linearity, sampling, after the name


def read_exr(content: bytes) -> np.ndarray:
    """The depth channel of an OpenEXR file, or its only channel: float32 (h,w).

    Raises:
        AssetError: The package is missing, or the file cannot be used; the reason alone.
    """
    names, (width, height) = _header(content)
    name = next((one for one in DEPTH_CHANNELS if one in names), None)
    if name is None and len(names) == 1:
        (name,) = names
    if name is None:
        raise AssetError(f"an OpenEXR file with the channels {', '.join(names)[:100]}: expected Z")
    openexr = extra_module("OpenEXR", extra="exr", purpose="reading .exr files", error=AssetError)
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(content)
        file.flush()
        try:
            with openexr.File(file.name, separate_channels=True) as image:
                pixels = np.array(image.channels()[name].pixels)
        except Exception as error:  # the library raises errors of many types
            raise AssetError(f"damaged or cut off (.exr: {one_line(error)})") from None
    if pixels.shape != (height, width):
        raise AssetError(f"damaged or cut off (.exr: {pixels.shape}, expected {(height, width)})")
    return pixels.astype(np.float32)


def exr_size(content: bytes) -> tuple[int, int]:
    """Width and height that the header of an OpenEXR file promises [px].

    Raises:
        AssetError: The header cannot be read; the reason alone.
    """
    return _header(content)[1]


def _header(content: bytes) -> tuple[list[str], tuple[int, int]]:
    """Names of the channels; width and height."""
    try:
        (version,) = struct.unpack_from("<I", content, 4)
        if version & FLAGS_NOT_READ:
            raise AssetError("an OpenEXR file of several parts or of deep data: expected one map")
        values = dict(_attributes(content))
        left, top, right, bottom = struct.unpack("<4i", values["dataWindow"])
        names = list(_channels(values["channels"]))
    except (struct.error, KeyError, ValueError) as error:
        raise AssetError(f"damaged or cut off (.exr: {one_line(error)})") from None
    return names, (right - left + 1, bottom - top + 1)


def _attributes(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and value of each attribute of the header."""
    at = 8
    for _ in range(MOST_ATTRIBUTES):
        end = content.index(b"\0", at)
        if end == at:
            return
        name = content[at:end].decode("latin-1")
        at = content.index(b"\0", end + 1) + 1  # behind the type
        (size,) = struct.unpack_from("<I", content, at)
        value = content[at + 4 : at + 4 + size]
        if len(value) < size:
            raise ValueError(f"attribute {name[:40]!r} is cut off")
        yield name, value
        at += 4 + size
    raise ValueError("too many attributes")


def _channels(value: bytes) -> Iterator[str]:
    at = 0
    while at < len(value) - 1:
        end = value.index(b"\0", at)
        yield value[at:end].decode("latin-1")
        at = end + 1 + CHANNEL_BYTES
