"""Shared by the peers: the encoded samples, the decoders, and the size of a batch."""

from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from dsetkit.compositing import resize_depth, resize_image
from dsetkit.compositing.compositor import has_recipe
from dsetkit.datasets import reader as dataset
from dsetkit.store.codecs import CODECS, DEFAULT_CODECS

BATCH = 64
START_METHODS = ("fork", "spawn")  # of workers, as multiprocessing names them
FIELDS = ("composite", "mask", "depth")
SUFFIXES = {"composite": "jpg", "mask": "png", "depth": "png"}

Batch = dict[str, torch.Tensor]
Encoded = dict[str, bytes]  # the files of a sample by field
Decode = Callable[[Encoded, int], dict[str, np.ndarray]]  # see DECODERS


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

    def __getitem__(self, index: int) -> Encoded:
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


# ---- decoders ----------------------------------------------------------------------------------


def decode_with_pillow(encoded: Encoded, size: int) -> dict[str, np.ndarray]:
    """Decode as most libraries do: Pillow, and its linear filter, which averages."""
    composite, mask, depth = (Image.open(BytesIO(encoded[name])) for name in FIELDS)
    metric = Image.fromarray(np.asarray(depth, np.float32))  # Pillow cannot resize 16 bits
    images = {"composite": composite.convert("RGB"), "mask": mask, "depth": metric}
    return {
        name: np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
        for name, image in images.items()
    }


def decode_with_opencv(encoded: Encoded, size: int) -> dict[str, np.ndarray]:
    """Decode with OpenCV, and shrink with its area filter."""
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


def decode_with_torchvision(encoded: Encoded, size: int) -> dict[str, np.ndarray]:
    """Decode to tensors with torchvision, and shrink with torch's linear filter, which averages."""
    from torchvision.io import decode_image  # here: torchvision will remove it, for TorchCodec

    return {
        name: _resize_tensor(
            decode_image(torch.frombuffer(bytearray(encoded[name]), dtype=torch.uint8)), size
        )
        for name in FIELDS
    }


def decode_with_torchcodec(encoded: Encoded, size: int) -> dict[str, np.ndarray]:
    """Decode to tensors with TorchCodec, and shrink as `decode_with_torchvision`."""
    from torchcodec.decoders import decode_jpeg, decode_png  # here: it is not installed everywhere

    return {
        "composite": _resize_tensor(decode_jpeg(encoded["composite"]), size),
        "mask": _resize_tensor(decode_png(encoded["mask"], mode="GRAY"), size),
        "depth": _resize_tensor(
            decode_png(encoded["depth"], mode="GRAY", output_dtype=torch.uint16), size
        ),
    }


def _resize_tensor(image: torch.Tensor, size: int) -> np.ndarray:
    """(C,H,W) to (S,S,3), or (S,S) of one channel."""
    if image.dtype == torch.uint16:
        image = image.float()  # torch cannot resize 16 bits
    resized = interpolate(image[None], size=(size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).squeeze(2).numpy()


def decode_as_dsetkit(encoded: Encoded, size: int) -> dict[str, np.ndarray]:
    """Decode as dsetkit does: JPEG at half size where that suffices, PNG by zlib-ng."""
    codecs = {name: CODECS[DEFAULT_CODECS[name]] for name in FIELDS}
    mask = codecs["mask"].decode(encoded["mask"])
    decode_composite = codecs["composite"].decode
    for divisor, reduced in codecs["composite"].reduced.items():
        if size * divisor <= min(mask.shape):
            decode_composite = reduced
    depth = codecs["depth"].decode(encoded["depth"]).astype(np.float32)
    return {
        "composite": resize_image(decode_composite(encoded["composite"]), (size, size)),
        "mask": resize_image(mask, (size, size)),
        "depth": resize_depth(depth, (size, size)),
    }


# Name -> function of the files of a sample and a side S [px]: composite uint8 (S,S,3) RGB, mask
# uint8 (S,S), depth float32 (S,S) in the stored unit.
OURS = "dsetkit's decoders"
DECODERS: dict[str, Decode] = {
    "Pillow": decode_with_pillow,
    "torchvision": decode_with_torchvision,
    "TorchCodec": decode_with_torchcodec,
    "OpenCV": decode_with_opencv,
    OURS: decode_as_dsetkit,
}


# ---- batches -----------------------------------------------------------------------------------


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
