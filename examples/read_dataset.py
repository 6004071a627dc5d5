"""Reads a dataset without dsetkit, with lmdb, msgpack and cv2: read_dataset.py DATASET"""

import sys
from pathlib import Path

import cv2
import lmdb
import msgpack
import numpy as np

PICTURES = {"composite", "mask", "depth"}

for shard in sorted(Path(sys.argv[1]).glob("shard-*.lmdb")):
    env = lmdb.open(str(shard), subdir=False, lock=False, max_dbs=4, readonly=True)
    with env.begin(env.open_db(b"manifest", create=False)) as txn:
        manifest = msgpack.unpackb(txn.get(b"manifest"))
    if manifest["layout"] == "recipe":
        raise SystemExit(
            f"{shard} holds recipes in place of composites and masks: read them with dsetkit, or "
            "write them out with `dsetkit convert --layout rendered`"
        )
    with env.begin(env.open_db(b"samples", create=False)) as txn:
        for key, value in txn.cursor():
            sample = msgpack.unpackb(value)
            print(int.from_bytes(key, "big"), sample["objects"], end=" ")
            for field in sorted(sample.keys() & PICTURES):
                image = np.frombuffer(sample[field], np.uint8)
                image = cv2.imdecode(image, cv2.IMREAD_UNCHANGED)  # BGR
                print(field, image.shape, image.dtype, end=" ")
            print()
