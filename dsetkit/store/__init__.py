"""The stored bytes: records, codecs, manifest, LMDB files, shards and cache."""

from dsetkit.store import manifest
from dsetkit.store.codecs import CODECS, DEFAULT_CODECS, LAYOUT_CODECS, chosen_codecs
from dsetkit.store.environments import ENGINE_VERSION
from dsetkit.store.lmdb_store import LARGEST_MAP_SIZE, StoreReader, StoreWriter, u32_key, u64_key
from dsetkit.store.manifest import (
    CELL_NAMES,
    CELLS_KEY,
    SPLITS,
    TEST,
    TEST_BACKGROUND,
    TEST_BOTH,
    TEST_FOREGROUND,
    TEST_SEEN,
    TRAIN,
    VAL,
    Manifest,
    manifest_entry,
)
from dsetkit.store.records import (
    LARGEST_DEPTH_M,
    Record,
    depth_share,
    pack_record,
    quantise_metric,
    quantise_relative,
    unpack_record,
)
from dsetkit.store.remote import is_remote
from dsetkit.store.shards import (
    SHARD_NAME,
    FolderShards,
    Shards,
    UrlShards,
    list_shards,
    shard_number,
    shard_path,
    shard_ranges,
)

__all__ = [
    "CELLS_KEY",
    "CELL_NAMES",
    "CODECS",
    "DEFAULT_CODECS",
    "ENGINE_VERSION",
    "LARGEST_DEPTH_M",
    "LARGEST_MAP_SIZE",
    "LAYOUT_CODECS",
    "SHARD_NAME",
    "SPLITS",
    "TEST",
    "TEST_BACKGROUND",
    "TEST_BOTH",
    "TEST_FOREGROUND",
    "TEST_SEEN",
    "TRAIN",
    "VAL",
    "FolderShards",
    "Manifest",
    "Record",
    "Shards",
    "StoreReader",
    "StoreWriter",
    "UrlShards",
    "chosen_codecs",
    "depth_share",
    "is_remote",
    "list_shards",
    "manifest",
    "manifest_entry",
    "pack_record",
    "quantise_metric",
    "quantise_relative",
    "shard_number",
    "shard_path",
    "shard_ranges",
    "u32_key",
    "u64_key",
    "unpack_record",
]
