"""Hugging Face datasets: columns of bytes in memory-mapped Arrow files, read by position."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import datasets
from torch.utils.data import DataLoader

from benchmarks.peers.shared import FIELDS, Decode, EncodedSamples, shuffled


def build(samples: EncodedSamples, root: Path) -> None:
    datasets.disable_progress_bars()
    columns = datasets.Features({name: datasets.Value("binary") for name in FIELDS})
    with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
        made = datasets.Dataset.from_generator(
            _rows, features=columns, gen_kwargs={"samples": samples}, cache_dir=scratch
        )
        made.save_to_disk(root)


def batches(root: Path, workers: int, size: int, decode: Decode) -> DataLoader:
    data = datasets.load_from_disk(root)
    return shuffled(data.with_transform(partial(_decoded, size=size, decode=decode)), workers)


def _rows(samples: EncodedSamples) -> Iterator[dict[str, bytes]]:
    for index in range(len(samples)):
        yield samples[index]


def _decoded(columns: dict[str, list[bytes]], size: int, decode: Decode) -> dict[str, list]:
    rows = zip(*(columns[name] for name in FIELDS), strict=True)
    decoded = [decode(dict(zip(FIELDS, row, strict=True)), size) for row in rows]
    return {name: [sample[name] for sample in decoded] for name in FIELDS}
