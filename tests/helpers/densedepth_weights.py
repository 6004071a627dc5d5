"""Random DenseDepth weights, the same wherever they are drawn, and the Keras files that hold them.

Every array is a pure function of its layer's and its variable's name, so the golden outputs need no
165 MB of weights beside them: `tools/prove_densedepth.py` draws them for Keras, the tests draw them
for the teacher.
"""

import hashlib
import math
from pathlib import Path

import h5py
import numpy as np

BLOCK_LAYERS = (6, 12, 32, 32)
GROWTH = 32
ENCODER_CHANNELS = 1664
SKIP_CHANNELS = (256, 128, 64, 64)

Shapes = dict[str, dict[str, tuple[int, ...]]]


def keras_shapes(decoder_width: int = ENCODER_CHANNELS) -> Shapes:
    """Layer -> variable -> shape, written down apart from the code under test."""
    shapes: Shapes = {"conv1/conv": {"kernel": (7, 7, 3, 64)}, "conv1/bn": _norm(64)}
    channels = 64
    for block, layers in enumerate(BLOCK_LAYERS, start=2):
        for layer in range(1, layers + 1):
            name = f"conv{block}_block{layer}"
            shapes[f"{name}_0_bn"] = _norm(channels)
            shapes[f"{name}_1_conv"] = {"kernel": (1, 1, channels, 4 * GROWTH)}
            shapes[f"{name}_1_bn"] = _norm(4 * GROWTH)
            shapes[f"{name}_2_conv"] = {"kernel": (3, 3, 4 * GROWTH, GROWTH)}
            channels += GROWTH
        if block < 5:
            shapes[f"pool{block}_bn"] = _norm(channels)
            shapes[f"pool{block}_conv"] = {"kernel": (1, 1, channels, channels // 2)}
            channels //= 2
    shapes["bn"] = _norm(channels)
    shapes["conv2"] = _conv(1, channels, decoder_width)
    width = decoder_width
    for step, skip in enumerate(SKIP_CHANNELS, start=1):
        shapes[f"up{step}_convA"] = _conv(3, width + skip, width // 2)
        shapes[f"up{step}_convB"] = _conv(3, width // 2, width // 2)
        width //= 2
    shapes["conv3"] = _conv(3, width, 1)
    return shapes


def draw(layer: str, variable: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 values of one variable.

    Kernels keep the variance of what passes (He et al. 2015); the statistics and scales of the
    normalisations are far from the identity, so that none is left out or mixed up unnoticed. The
    last bias lifts the output to inverse depths of a room.
    """
    if (layer, variable) == ("conv3", "bias"):
        return np.full(shape, 10, np.float32)
    seed = int.from_bytes(hashlib.sha256(f"{layer}/{variable}".encode()).digest()[:8], "big")
    # raw bits: numpy promises the same ones in every version, of its distributions it does not
    count = math.prod(shape)
    bits = np.random.PCG64(seed).random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
    uniform = (bits >> 8).astype(np.float32).reshape(shape) / np.float32(2**24)  # 0..1
    if variable in ("gamma", "moving_variance"):
        return uniform + np.float32(0.5)
    limit = math.sqrt(6 / math.prod(shape[:-1])) if variable == "kernel" else 0.2
    return (2 * uniform - 1) * np.float32(limit)


def write_keras2(path: Path, *, group: str = "model_weights/") -> None:
    """Write `[model_weights/]<layer>/<layer>/<variable>:0`, as Keras 2 saves models and weights."""
    with h5py.File(path, "w") as file:
        for layer, variables in keras_shapes().items():
            for name, shape in variables.items():
                file[f"{group}{layer}/{layer}/{name}:0"] = draw(layer, name, shape)


def write_keras3(path: Path) -> None:
    """Write `model_weights/<layer>/<layer>/<variable>`, as `save` of Keras 3 does to an `.h5`."""
    with h5py.File(path, "w") as file:
        for layer, variables in keras_shapes().items():
            new = layer.replace("/", "_")
            for name, shape in variables.items():
                file[f"model_weights/{new}/{new}/{name}"] = draw(layer, name, shape)


def _norm(channels: int) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (channels,))


def _conv(size: int, in_channels: int, out_channels: int) -> dict[str, tuple[int, ...]]:
    return {"kernel": (size, size, in_channels, out_channels), "bias": (out_channels,)}
