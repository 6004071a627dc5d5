"""Assets: checked pictures from folders, each with an id and a split."""

from dsetkit.assets.folders import (
    MAX_JOBS,
    Asset,
    BadFile,
    assign_splits,
    decode_asset,
    describe_bad,
    encode_asset,
    fingerprint,
    load_backgrounds,
    load_foregrounds,
    raise_if_bad,
)
from dsetkit.assets.shared import SharedAssets

__all__ = [
    "MAX_JOBS",
    "Asset",
    "BadFile",
    "SharedAssets",
    "assign_splits",
    "decode_asset",
    "describe_bad",
    "encode_asset",
    "fingerprint",
    "load_backgrounds",
    "load_foregrounds",
    "raise_if_bad",
]
