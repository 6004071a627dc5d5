"""One protocol for networks that give masks and depths, and `open_network`, which opens a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dsetkit.errors import NetworkError

INPUTS = ("composite", "background")
MAPS = ("mask", "depth")
DEPTH_KINDS = ("metric", "relative")
SUFFIXES = (".safetensors", ".onnx")


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """What is known of a network without running it.

    Attributes:
        name: Its file, for messages.
        inputs: The pictures it sees, of INPUTS, in its order.
        maps: What it answers, of MAPS.
        size: Height and width it was trained at, or the only ones it takes [px].
        takes_any_size: Whether it takes other sizes, too: multiples of `stride`.
        stride: Height and width are multiples of it [px].
        depth_kind: Of DEPTH_KINDS; None without depth.
        max_depth_m: The greatest metric depth [m]; 0 otherwise.
    """

    name: str
    inputs: tuple[str, ...]
    maps: tuple[str, ...]
    size: tuple[int, int]
    takes_any_size: bool
    stride: int
    depth_kind: str | None
    max_depth_m: float


class Network(Protocol):
    """A frozen network."""

    facts: NetworkFacts

    def __call__(self, pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The maps for pictures.

        Args:
            pictures: Input -> uint8 (N, H, W, 3) RGB, all of one size that the network takes.

        Returns:
            Map -> float32 (N, h, w), maybe smaller than the pictures. A mask is 0..1, the share of
            the foreground; metric depth is in metres; relative depth is inverse depth in 0..1.

        Raises:
            NetworkError: It cannot be run on them.
        """


def open_network(path: Path, *, device: str = "auto", threads: int | None = None) -> Network:
    """Opens a checkpoint of a training, or an ONNX file that `export-model` wrote.

    Args:
        path: A `.safetensors` file, which needs a clone's `models`, or an `.onnx` file, which needs
            no torch.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: Threads on a CPU; None = `OMP_NUM_THREADS`, or one for each core.

    Raises:
        NetworkError: It is missing, damaged or no such file, or a package is missing.
        DsetkitError: There is no such device.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise NetworkError(
            f"{path}: expected a network in a file ending in {' or '.join(SUFFIXES)}"
        )
    if suffix == ".onnx":
        from dsetkit.networks.onnx_network import open_onnx

        return open_onnx(path, device=device, threads=threads)
    from dsetkit.networks.repository_models import repository_models

    repository_models(str(path))  # first: it says at once what is missing
    from dsetkit.networks.checkpoint import CheckpointNetwork  # loads torch

    return CheckpointNetwork(path, device=device, threads=threads)
