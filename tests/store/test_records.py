"""Tests of records and codecs: round trips, and detection of damage."""

import msgpack
import numpy as np
import pytest

from dsetkit.errors import DatasetError
from dsetkit.store.codecs import CODECS
from dsetkit.store.lmdb_store import u32_key, u64_key
from dsetkit.store.records import (
    PlacedObject,
    Record,
    StoredAsset,
    depth_share,
    pack_asset,
    pack_record,
    quantise_metric,
    quantise_relative,
    unpack_asset,
    unpack_record,
)
from dsetkit.store.sealed import seal

KEY = u64_key(9)

IMAGES = {
    "jpeg95": ((48, 40, 3), np.uint8),
    "jpeg95+half": ((48, 40, 3), np.uint8),
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
    placed = PlacedObject(foreground=5, flip=True, box=(1, 2, 30, 40), plane=2500)
    named = PlacedObject(name="a goose.png")
    return Record(3, (placed, named), fields, index=77, pixels=b"12345678")


def test_a_record_comes_back() -> None:
    assert unpack_record(pack_record(record(), KEY), KEY) == record()


def test_a_record_without_fields_or_assets_comes_back() -> None:
    bare = Record(None, (), {"composite": b"c"}, name="0001_color.jpg")
    assert unpack_record(pack_record(bare, KEY), KEY) == bare


def test_a_sample_without_background_says_so() -> None:
    assert record().background_id() == 3
    with pytest.raises(DatasetError, match="the sample has no background: it was imported without"):
        Record(None, (), {}).background_id()


def test_every_flipped_bit_is_detected() -> None:
    packed = pack_record(record(), KEY)
    for bit in range(8 * len(packed)):
        damaged = bytearray(packed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DatasetError, match="checksum differs"):
            unpack_record(bytes(damaged), KEY)


def test_a_record_under_another_key_is_detected() -> None:
    with pytest.raises(DatasetError, match="checksum differs"):
        unpack_record(pack_record(record(), KEY), u64_key(10))


def test_an_asset_comes_back_under_its_own_key_alone() -> None:
    asset = StoredAsset("a", "test", b"picture", b"depth")
    packed = pack_asset(asset, database="backgrounds", key=u32_key(1))
    assert unpack_asset(packed, database="backgrounds", key=u32_key(1)) == asset
    for database, key in (("foregrounds", u32_key(1)), ("backgrounds", u32_key(2))):
        with pytest.raises(DatasetError, match="checksum differs"):
            unpack_asset(packed, database=database, key=key)


def test_a_sealed_map_is_plain_msgpack() -> None:
    """Other programs can read a record without dsetkit."""
    content = msgpack.unpackb(pack_record(record(), KEY))
    assert list(content)[-1] == "checksum" and content["depth"] == b"d" * 300
    assert content["objects"][0] == {
        "foreground": 5,
        "flip": True,
        "box": [1, 2, 30, 40],
        "plane": 2500,
    }


@pytest.mark.parametrize("packed", [b"", b"\xc1", msgpack.packb([1, 2]), msgpack.packb({"a": 1})])
def test_bytes_that_are_not_a_record_are_refused(packed: bytes) -> None:
    with pytest.raises(DatasetError, match="checksum differs"):
        unpack_record(packed, KEY)


BAD_CONTENTS = [
    {},
    {"objects": 3},
    {"objects": [{"box": [0, 0, 0, 5]}]},
    {"objects": [{"box": [0, 0, 30_000, 5]}]},
    {"objects": [{"box": [-1, 0, 3, 5]}]},
    {"objects": [{"box": [1, 2, 3]}]},
    {"objects": [{"foreground": 2**40}]},
    {"objects": [{"plane": 65_536}]},
    {"objects": [{}] * 256},
    {"objects": [], "background": -1},
    {"objects": [], "index": 2**63},
    {"objects": [], "pixels": b"short"},
    {"objects": [], "depth": "text"},
]


@pytest.mark.parametrize("content", BAD_CONTENTS, ids=str)
def test_sealed_content_is_checked_against_the_schema(content: dict) -> None:
    with pytest.raises(DatasetError, match="not as dsetkit writes it"):
        unpack_record(seal(content, database="samples", key=KEY), KEY)


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
