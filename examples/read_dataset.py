"""Reads a rendered dataset with lmdb, msgpack and cv2 alone: read_dataset.py DATASET"""

import sys

import cv2
import lmdb
import msgpack
import numpy as np

env = lmdb.open(
    f"{sys.argv[1]}/shard-00000.lmdb", subdir=False, readonly=True, lock=False, max_dbs=4
)
samples = env.open_db(b"samples", create=False)
with env.begin(samples) as txn:
    for key, value in txn.cursor():
        sample = msgpack.unpackb(value)
        images = {
            f: np.frombuffer(sample[f], np.uint8)
            for f in ("composite", "mask", "depth")
            if f in sample
        }
        images = {
            f: cv2.imdecode(image, cv2.IMREAD_UNCHANGED) for f, image in images.items()
        }  # BGR
        print(
            int.from_bytes(key, "big"),
            sample["recipe"],
            {f: (i.shape, i.dtype) for f, i in images.items()},
        )
