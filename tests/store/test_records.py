"""Tests of records and codecs: round trips, and detection of damage."""

import msgpack
import numpy as np
import pytest

from dsetkit.errors import DatasetError
from dsetkit.store.codecs import CODECS
from dsetkit.store.records import (
    Record,
    depth_share,
    pack_record,
    quantise_metric,
    quantise_relative,
    unpack_record,
)

IMAGES = {
    "jpeg95": ((48, 40, 3), np.uint8),
    "png": ((48, 40, 3), np.uint8),
    "png8": ((48, 40), np.uint8),
    "png16": ((48, 40), np.uint16),
    "zstd8": ((48, 40), np.uint8),
    "zstd16": ((48, 40), np.uint16),
    "pco16": ((48, 40), np.uint16),
}


def smooth_image(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Ramps with a different direction in each channel."""
    y, x = np.mgrid[0 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
    ramps = np.stack([x, y, (2 - x - y) / 2], axis=-1) * np.iinfo(dtype).max
    return ramps.astype(dtype) if len(shape) == 3 else ramps[..., 0].astype(dtype)


def test_the_codecs_of_existing_datasets_are_registered() -> None:
    assert list(CODECS) == list(IMAGES)


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_gives_the_image_back(name: str) -> None:
    image = smooth_image(*IMAGES[name])
    decoded = CODECS[name].decode(CODECS[name].encode(image))
    assert decoded.shape == image.shape and decoded.dtype == image.dtype
    if CODECS[name].lossless:
        assert np.array_equal(decoded, image)
    else:
        assert np.abs(decoded.astype(int) - image).mean() < 3  # also: channels not swapped


def record() -> Record:
    fields = {"composite": b"c" * 900, "mask": b"m" * 90, "depth": b"d" * 300}
    return Record(3, 5, {"index": 77, "flip": True, "box": [1, 2, 30, 40]}, fields)


def test_a_record_comes_back() -> None:
    assert unpack_record(pack_record(record())) == record()


def test_a_record_without_fields_or_assets_comes_back() -> None:
    bare = Record(None, None, {"name": "0001_color.jpg"}, {"composite": b"c"})
    assert unpack_record(pack_record(bare)) == bare


@pytest.mark.parametrize("kind, number", [("background", 3), ("foreground", 5)])
def test_asset_ids(kind: str, number: int) -> None:
    assert record().asset_id(kind) == number
    imported = Record(None, None, {"name": "0001_color.jpg"}, {})
    with pytest.raises(DatasetError, match=f"the sample has no {kind}: it was imported without"):
        imported.asset_id(kind)


def test_a_flipped_bit_is_always_detected() -> None:
    packed = pack_record(record())
    for place in range(len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 0x04
        with pytest.raises(DatasetError):
            unpack_record(bytes(damaged))


@pytest.mark.parametrize("packed", [b"", b"\xc1", msgpack.packb([1, 2]), msgpack.packb({"a": 1})])
def test_bytes_that_are_not_a_record_are_refused(packed: bytes) -> None:
    with pytest.raises(DatasetError, match="not a record"):
        unpack_record(packed)


def test_metric_depth_is_millimetres_and_zero_is_invalid() -> None:
    depth = np.array([[0.0, -1.0, 0.0002, 1.2344, 10.0, 10.001, np.nan]], np.float32)
    assert quantise_metric(depth, 10.0).tolist() == [[0, 0, 1, 1234, 10000, 0, 0]]


def test_relative_depth_never_becomes_invalid() -> None:
    assert quantise_relative(np.array([[-0.1, 0.0, 0.5, 1.0, 2.0]])).tolist() == [
        [1, 1, 32768, 65535, 65535]
    ]


def test_targets_are_shares_of_full_scale() -> None:
    metric = depth_share(np.array([[0, 5000, 10000]], np.uint16), kind="metric", max_depth_m=10.0)
    assert metric.dtype == np.float32
    assert metric.tolist() == [[0, 0.5, 1]]
    relative = depth_share(np.array([[0, 65535]], np.uint16), kind="relative", max_depth_m=0)
    assert relative.tolist() == [[0, 1]]
