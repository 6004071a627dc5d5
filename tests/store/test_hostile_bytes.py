"""Decoders of stored bytes: whatever comes, they give what they promise or a DatasetError.

Damage is found by the checksums. Here the checksums are right and the content is not, as if it was
written by another program, or with malice.
"""

import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
import zstandard
from zlib_ng import zlib_ng

from dsetkit.assets.folders import decode_asset, encode_asset
from dsetkit.errors import DatasetError
from dsetkit.store import manifest as m
from dsetkit.store import png
from dsetkit.store.codecs import CODECS
from dsetkit.store.lmdb_store import u32_key, u64_key
from dsetkit.store.records import (
    PlacedObject,
    Record,
    StoredAsset,
    pack_asset,
    pack_record,
    unpack_asset,
    unpack_record,
)
from dsetkit.store.sealed import seal
from dsetkit.store.shard_list import Shard, ShardList
from dsetkit.store.shards import shard_ranges
from tests.helpers.mutations import FUZZ_INPUTS, mutations

MOST_BYTES = 200 << 20  # of memory for one input

EXTREMES: list[Any] = [
    *(None, True, 0, -1, 1, 255, 30_000, 2**31, 2**62, -(2**63), 2**64 - 1, 1e308),
    *(float("nan"), float("inf"), "", "x", "nosuch", "\n" * 5000, b"", b"\xff" * 9, [], {}),
    *([[]] * 3, {"a": {}}, [0] * 3, [0, 0, 30_000, 30_000]),
]


def changed(content: Any, rng: random.Random) -> Any:
    """A copy of a tree of maps and lists with one to three nodes replaced, removed or doubled."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = _changed_once(content, rng)
    return content


def _changed_once(node: Any, rng: random.Random) -> Any:
    if not isinstance(node, dict | list) or not node or rng.random() < 0.15:
        return rng.choice(EXTREMES)
    node = dict(node) if isinstance(node, dict) else list(node)
    place = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
    kind = rng.randrange(6)
    if kind == 0:
        del node[place]
    elif kind == 1 and isinstance(node, dict):
        node[rng.choice(("x", 7, None, "", *node))] = rng.choice(EXTREMES)
    elif kind == 1:
        node.insert(place, node[place])
    else:
        node[place] = _changed_once(node[place], rng)
    return node


def trees(sound: Any) -> Iterator[Any]:
    rng = random.Random(0)
    for _ in range(FUZZ_INPUTS):
        yield changed(sound, rng)


def check(decode: Callable[[Any], Any], inputs: Iterator[Any], use: Callable[[Any], Any]) -> None:
    """Decodes each input; what is accepted is used. Only DatasetError may come out."""
    refused = 0
    for given in inputs:
        try:
            use(decode(given))
        except DatasetError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} for {given!r:.500}") from error
    assert refused > FUZZ_INPUTS // 10


# ---- maps --------------------------------------------------------------------------------------

KEY = u64_key(7)
PLACED = PlacedObject(foreground=1, name="n", flip=True, box=(1, 2, 3, 4), plane=2000)
RECORD = Record(3, (PLACED,), {"composite": b"c", "depth": b"d"}, 7, "name", b"12345678")
ASSET = StoredAsset("a", "train", b"picture", b"depth")
MANIFEST = m.Manifest(
    num_samples=40,
    complete=True,
    size=[32, 32],
    fields=["background", "composite", "mask", "depth"],
    codecs={"composite": "jpeg95", "mask": "png8", "depth": "png16"},
    depth_kind="metric",
    max_depth_m=10.0,
    teacher={"name": "t", "hash": "", "batch_size": 8, "teachers": [{"name": "t"}] * 2},
    recipe={"seed": 0, "merged": ["a", "b"], "samples": [15, 25], "recipes": [{}, {}]},
    splits={"by": "asset", "merged": [{"by": "asset"}]},
    assets_fingerprint="00",
    skipped=[["a", "b"]],
    num_backgrounds=4,
    num_foregrounds=4,
    shard={"number": 0, "shards": 2},
    label_quality={"boundary_recall": 0.5, "samples": 40},
)


def sealed(content: Any, database: str, key: bytes) -> bytes:
    return seal(
        content if isinstance(content, dict) else {"x": content}, database=database, key=key
    )


def test_records() -> None:
    sound = msgpack.unpackb(pack_record(RECORD, KEY))
    del sound["checksum"]

    def use(record: Record) -> None:
        assert all(isinstance(value, bytes) for value in record.fields.values())
        for one in record.objects:
            assert one.box is None or (min(one.box) >= 0 and max(one.box) <= 16_384)

    check(lambda c: unpack_record(sealed(c, "samples", KEY), KEY), trees(sound), use)


def test_assets() -> None:
    key = u32_key(1)
    sound = msgpack.unpackb(pack_asset(ASSET, database="backgrounds", key=key))
    del sound["checksum"]

    def decode(content: Any) -> StoredAsset:
        packed = sealed(content, "backgrounds", key)
        return unpack_asset(packed, database="backgrounds", key=key)

    check(decode, trees(sound), lambda asset: asset.name.encode())


def test_manifests() -> None:
    """What is accepted can be described, and its shards take no long list."""
    sound = msgpack.unpackb(MANIFEST.to_bytes())
    del sound["checksum"]

    def use(manifest: m.Manifest) -> None:
        assert len(shard_ranges(manifest)) <= 100_000
        assert manifest.fingerprint

    def decode(content: Any) -> m.Manifest:
        return m.Manifest.from_bytes(sealed(content, "manifest", m.MANIFEST_KEY))

    check(decode, trees(sound), use)


def test_split_cells() -> None:
    sound = {"cells": bytes(range(7))}
    check(
        lambda c: m.unpack_cells(sealed(c, "manifest", m.CELLS_KEY)),
        trees(sound),
        lambda cells: cells.max(initial=0),
    )


def test_msgpack_that_is_cut_or_changed() -> None:
    """With the checksum made right again, so that the parser sees it."""
    packed = pack_record(RECORD, KEY)[:-8]

    def decode(content: bytes) -> Record:
        return unpack_record(seal_bytes(content), KEY)

    check(decode, mutations([packed]), lambda record: record.objects)


def seal_bytes(content: bytes) -> bytes:
    from dsetkit.store.sealed import _digest

    return content + _digest(content, "samples", KEY)


def test_deep_nesting_is_refused() -> None:
    for start in (b"\x91", b"\x81\xa1a"):
        with pytest.raises(DatasetError):
            unpack_record(seal_bytes(start * 100_000), KEY)


def test_shard_lists() -> None:
    shards = tuple(Shard(f"shard-{i:05d}.lmdb", 10 + i, "0" * 32) for i in range(3))
    sound = json.loads(ShardList("00", shards).to_json())

    def encoded() -> Iterator[str]:
        for tree in trees(sound):
            try:
                yield json.dumps(tree)
            except (TypeError, ValueError):  # bytes are no JSON
                yield "{"

    check(ShardList.from_json, encoded(), lambda found: found.num_bytes)


# ---- images ------------------------------------------------------------------------------------

SHAPES = {"composite": (8, 9, 3), "mask": (8, 9), "depth": (8, 9)}


@pytest.mark.parametrize("name", CODECS)
def test_images(name: str) -> None:
    codec = CODECS[name]
    dtype = np.uint16 if codec.fields == ("depth",) else np.uint8
    rng = np.random.default_rng(0)
    image = rng.integers(0, np.iinfo(dtype).max, SHAPES[codec.fields[0]], dtype)
    sound = [codec.encode(image), codec.encode(image // 7 * 7)]
    axes = image.ndim

    def use(decoded: np.ndarray) -> None:
        assert decoded.dtype == dtype and decoded.ndim == axes and decoded.size < 1 << 28

    for decode in (codec.decode, *codec.reduced.values()):
        check(decode, mutations(sound), use)


def test_assets_pixels() -> None:
    sound = [encode_asset(np.full((5, 6, channels), 90, np.uint8)) for channels in (3, 4)]

    def use(pixels: np.ndarray) -> None:
        assert pixels.dtype == np.uint8 and pixels.shape[2] in (3, 4)

    check(decode_asset, mutations(sound), use)


def png_of(width: int, height: int, bits: int, content: bytes) -> bytes:
    header = png._HEADER.pack(width, height, bits, 0, 0, 0, 0)
    chunks = (png._chunk(b"IHDR", header), png._chunk(b"IDAT", content), png._chunk(b"IEND", b""))
    return b"".join((b"\x89PNG\r\n\x1a\n", *chunks))


SIDE = np.array([65_535, 65_535], "<u2").tobytes()


def bomb(name: str) -> bytes:
    """A small field that promises, or unpacks to, gigabytes."""
    zeros = bytes(64 << 20)
    if name == "pco16":
        return SIDE + CODECS[name].encode(np.zeros((4, 4), np.uint16))[4:]
    if name.startswith("zstd"):
        return SIDE + zstandard.ZstdCompressor().compress(zeros)
    deflated = zlib_ng.compress(zeros, 1)
    if name == "png8":  # the header promises less than there is
        return png_of(9, 8, 8, deflated)
    return png_of(60_000, 60_000, 16 if name == "png16" else 8, deflated)


@pytest.mark.parametrize("name", ["png8", "png16", "zstd8", "zstd16", "pco16", "png"])
def test_a_small_field_that_promises_much_takes_little_memory(name: str) -> None:
    encoded = bomb(name)
    tracemalloc.start()
    try:
        with suppress(DatasetError):  # what follows the promised pixels may be passed over
            assert CODECS[name].decode(encoded).size <= 9 * 8
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
