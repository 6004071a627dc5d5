"""MosaicML Streaming: MDS shards with columns of bytes, read from the local folder, shuffled."""

from pathlib import Path

from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory

from benchmarks.peers.shared import BATCH, FIELDS, Decode, EncodedSamples, collate


def build(samples: EncodedSamples, root: Path) -> None:
    with MDSWriter(out=str(root), columns=dict.fromkeys(FIELDS, "bytes")) as writer:
        for index in range(len(samples)):
            writer.write(samples[index])


def batches(root: Path, workers: int, size: int, decode: Decode) -> StreamingDataLoader:
    clean_stale_shared_memory()  # leftovers of an interrupted run would stop this one
    return StreamingDataLoader(
        _Decoded(root, size, decode),
        batch_size=BATCH,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
    )


class _Decoded(StreamingDataset):
    def __init__(self, root: Path, size: int, decode: Decode) -> None:
        super().__init__(local=str(root), shuffle=True, batch_size=BATCH)
        self.pixels_a_side, self.decode = size, decode

    def __getitem__(self, index: int) -> dict:
        return self.decode(super().__getitem__(index), self.pixels_a_side)
