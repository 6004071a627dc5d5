"""Plain files: three per sample, all in one folder."""

from pathlib import Path

from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.shared import FIELDS, SUFFIXES, Decode, EncodedSamples, shuffled


def build(samples: EncodedSamples, root: Path) -> None:
    root.mkdir()
    for index in range(len(samples)):
        for name, encoded in samples[index].items():
            _path(root, index, name).write_bytes(encoded)


def batches(root: Path, workers: int, size: int, decode: Decode) -> DataLoader:
    return shuffled(_Files(root, size, decode), workers)


def _path(root: Path, index: int, name: str) -> Path:
    return root / f"{index:08d}_{name}.{SUFFIXES[name]}"


class _Files(Dataset):
    def __init__(self, root: Path, size: int, decode: Decode) -> None:
        self.root, self.size, self.decode = root, size, decode
        self.count = sum(1 for _ in root.iterdir()) // len(FIELDS)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        read = {name: _path(self.root, index, name).read_bytes() for name in FIELDS}
        return self.decode(read, self.size)
