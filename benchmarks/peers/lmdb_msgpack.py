"""LMDB as commonly used: a msgpack map of the encoded images under a decimal key."""

from pathlib import Path

import lmdb
import msgpack
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.shared import Decode, EncodedSamples, shuffled

MAP_SIZE = 1 << 40  # bytes; the greatest size, not that of the file
SAMPLES_PER_COMMIT = 1000


def build(samples: EncodedSamples, root: Path) -> None:
    with lmdb.open(str(root), map_size=MAP_SIZE) as env:
        for first in range(0, len(samples), SAMPLES_PER_COMMIT):
            with env.begin(write=True) as txn:
                for index in range(first, min(first + SAMPLES_PER_COMMIT, len(samples))):
                    txn.put(_key(index), msgpack.packb(samples[index]), append=True)


def batches(root: Path, workers: int, size: int, decode: Decode) -> DataLoader:
    return shuffled(_Store(root, size, decode), workers)


def _key(index: int) -> bytes:
    return b"%010d" % index


def _open(root: Path) -> lmdb.Environment:
    return lmdb.open(str(root), readonly=True, lock=False, readahead=False, create=False)


class _Store(Dataset):
    def __init__(self, root: Path, size: int, decode: Decode) -> None:
        self.root, self.size, self.decode = root, size, decode
        self.txn: lmdb.Transaction | None = None
        with _open(root) as env:
            self.count = env.stat()["entries"]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        if self.txn is None:  # opened in each process: it can be neither pickled nor forked
            self.txn = _open(self.root).begin(buffers=True)
        return self.decode(msgpack.unpackb(self.txn.get(_key(index))), self.size)
