"""What a network that gives masks and depths is, whatever runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

INPUTS = ("composite", "background")
MAPS = ("mask", "depth")


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
        depth_kind: `metric` or `relative`; None without depth.
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
