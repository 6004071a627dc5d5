"""Reads a rendered dataset without dsetkit, with lmdb, msgpack and cv2: read_dataset.py DATASET"""

import sys

import cv2
import lmdb
import msgpack
import numpy as np

shard = f"{sys.argv[1]}/shard-00000.lmdb"
env = lmdb.open(shard, subdir=False, lock=False, max_dbs=4, readonly=True)
with env.begin(env.open_db(b"samples", create=False)) as txn:
    for key, value in txn.cursor():
        sample = msgpack.unpackb(value)
        print(int.from_bytes(key, "big"), sample["objects"], end=" ")
        for field in sample.keys() & {"composite", "mask", "depth"}:
            image = np.frombuffer(sample[field], np.uint8)
            image = cv2.imdecode(image, cv2.IMREAD_UNCHANGED)  # BGR
            print(field, image.shape, image.dtype, end=" ")
        print()
