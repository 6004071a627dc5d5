"""LitData: chunks written by `optimize`, streamed from the local folder with its own shuffling."""

from pathlib import Path

import litdata

from benchmarks.peers.shared import BATCH, Decode, EncodedSamples, collate


def build(samples: EncodedSamples, root: Path) -> None:
    litdata.optimize(
        fn=samples.__getitem__,
        inputs=list(range(len(samples))),
        output_dir=str(root),
        chunk_bytes="64MB",
        num_workers=1,
    )


def batches(root: Path, workers: int, size: int, decode: Decode) -> litdata.StreamingDataLoader:
    return litdata.StreamingDataLoader(
        _Decoded(root, size, decode),
        batch_size=BATCH,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
    )


class _Decoded(litdata.StreamingDataset):
    def __init__(self, root: Path, size: int, decode: Decode) -> None:
        super().__init__(str(root), shuffle=True, drop_last=False)
        self.pixels_a_side, self.decode = size, decode

    def __getitem__(self, index: int) -> dict:
        return self.decode(super().__getitem__(index), self.pixels_a_side)
