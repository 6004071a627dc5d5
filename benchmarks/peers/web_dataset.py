"""WebDataset: eight tar files in shuffled order, then a buffer in which samples are shuffled."""

from functools import partial
from pathlib import Path

import webdataset as wds

from benchmarks.peers.shared import BATCH, FIELDS, SUFFIXES, Decode, EncodedSamples, collate

SHARDS = 8
SHUFFLE_BUFFER = 1000  # samples

_MEMBERS = {name: f"{name}.{SUFFIXES[name]}" for name in FIELDS}


def build(samples: EncodedSamples, root: Path) -> None:
    root.mkdir()
    per_shard = -(-len(samples) // SHARDS)
    with wds.ShardWriter(str(root / "%05d.tar"), maxcount=per_shard, verbose=0) as writer:
        for index in range(len(samples)):
            files = {_MEMBERS[name]: encoded for name, encoded in samples[index].items()}
            writer.write({"__key__": f"{index:08d}"} | files)


def batches(root: Path, workers: int, size: int, decode: Decode) -> wds.WebLoader:
    urls = sorted(str(path) for path in root.glob("*.tar"))
    data = wds.WebDataset(urls, shardshuffle=SHARDS).shuffle(SHUFFLE_BUFFER)
    data = data.map(partial(_decoded, size=size, decode=decode))
    data = data.batched(BATCH, collation_fn=collate)
    return wds.WebLoader(data, batch_size=None, num_workers=workers, persistent_workers=workers > 0)


def _decoded(sample: dict, size: int, decode: Decode) -> dict:
    return decode({name: sample[member] for name, member in _MEMBERS.items()}, size)
