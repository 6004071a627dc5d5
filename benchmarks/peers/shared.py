"""Shared by the peers: the encoded samples, their decoder, and the size of a batch."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dsetkit.compositing.compositor import has_recipe
from dsetkit.datasets import reader as dataset
from dsetkit.store.codecs import DEFAULT_CODECS

BATCH = 64
FIELDS = ("composite", "mask", "depth")
SUFFIXES = {"composite": "jpg", "mask": "png", "depth": "png"}

Batch = dict[str, torch.Tensor]


class EncodedSamples:
    """The samples of a rendered dataset as three image files each; can be pickled.

    Raises:
        ValueError: They use codecs that other programs cannot read.
    """

    def __init__(self, path: Path) -> None:
        self._dataset = dataset.Dataset(path)
        if not self._dataset.manifest.codecs.items() <= DEFAULT_CODECS.items():
            raise ValueError(f"{path} keeps {self._dataset.manifest.codecs}, not {DEFAULT_CODECS}")

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, bytes]:
        """Return the files of a sample by field: RGB JPEG, 8-bit grey PNG, 16-bit grey PNG."""
        fields = self._dataset.record(index).fields
        return {name: fields[name] for name in FIELDS}

    def pixels(self, index: int) -> dict[str, np.ndarray]:
        """Return a sample before encoding: uint8 (H,W,3), uint8 (H,W), uint16 (h,w)."""
        record = self._dataset.record(index)
        images = {name: self._dataset.image(record, name) for name in FIELDS}
        if has_recipe(record):  # a peer with its own encoder must not get JPEG artefacts
            images["composite"] = self._dataset.compositor.composite(record)[0]
        return images


def decode(encoded: dict[str, bytes], size: int) -> dict[str, np.ndarray]:
    """Decode a sample to one size: uint8 (S,S,3), uint8 (S,S), float32 (S,S)."""
    composite = _imdecode(encoded["composite"], cv2.IMREAD_COLOR_RGB)
    mask = _imdecode(encoded["mask"], cv2.IMREAD_GRAYSCALE)
    depth = _imdecode(encoded["depth"], cv2.IMREAD_UNCHANGED)
    return {
        "composite": _resize(composite, size),
        "mask": _resize(mask, size),
        "depth": _resize(depth, size).astype(np.float32),
    }


def _imdecode(encoded: bytes, flags: int) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[:2] == (size, size):
        return image
    shrinks = size * size < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=interpolation)


def collate(samples: Iterable[dict[str, np.ndarray]]) -> Batch:
    """Stack decoded samples to one batch."""
    samples = list(samples)
    return {
        name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in FIELDS
    }


def shuffled(data: Dataset, workers: int) -> DataLoader:
    """Return shuffled batches of a dataset of decoded samples, from a plain DataLoader."""
    return DataLoader(
        data,
        BATCH,
        shuffle=True,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
    )
