"""Shows a network composites at the height it knows: networks tell depth by apparent size.

Pictures are resized bilinearly, with a filter as wide as a pixel of the result, by torch for
networks of torch (`as_batch`) and by ONNX Runtime for ONNX files (`OnnxResizer`). The two agree
within 2e-5 of 0..1, and the second needs no torch and half the time.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsetkit.networks.sessions import open_session

if TYPE_CHECKING:
    import torch

RESIZE_GRAPH = Path(__file__).with_name("resize.onnx")  # made by tools/resize_graph.py


def fitted_size(height: int, width: int, *, to_height: int, stride: int) -> tuple[int, int]:
    """`to_height`, and the width that keeps the shape as nearly as the stride lets [px]."""
    columns = max(1, round(width / height * to_height / stride))
    return to_height, columns * stride


def as_batch(
    composites: np.ndarray,
    *,
    size: tuple[int, int] | None = None,
    device: "str | torch.device",
) -> "torch.Tensor":
    """Composites as a network of torch takes them.

    Args:
        composites: uint8 (N, H, W, 3) RGB; may be read-only or a reversed view.
        size: Height and width to resize to [px]; None leaves them as they are.
        device: Where the batch goes.

    Returns:
        float32 (N, 3, h, w) RGB in 0..1.
    """
    import torch  # here: it takes seconds to load, and ONNX files do without
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(np.array(composites))  # torch knows no read-only, reversed arrays
    batch = pixels.to(device).permute(0, 3, 1, 2).float() / 255  # (N, 3, H, W)
    if size is None or size == tuple(batch.shape[2:]):
        return batch
    return interpolate(batch, size=size, mode="bilinear", antialias=True)


class OnnxResizer:
    """Composites as an ONNX network takes them: resized, then normalised.

    Args:
        name: What messages call the network.
        mean: float32 (3,), taken from red, green, blue in 0..1.
        std: float32 (3,), by which they are then divided.
        threads: As of `open_session`.
    """

    def __init__(
        self, *, name: str, mean: np.ndarray, std: np.ndarray, threads: int | None = None
    ) -> None:
        self._session = open_session(RESIZE_GRAPH, name=name, threads=threads)
        self._normalise = {
            "scale": (1 / (255 * std)).astype(np.float32).reshape(1, 3, 1, 1),
            "shift": (-mean / std).astype(np.float32).reshape(1, 3, 1, 1),
        }

    def __call__(self, composites: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
        """uint8 (N, H, W, 3) RGB -> float32 (N, 3, h, w); without a size h and w stay H and W."""
        wanted = np.array(size or composites.shape[1:3], np.int64)
        pixels = np.ascontiguousarray(composites)
        inputs = {"composites": pixels, "size": wanted} | self._normalise
        return self._session.run(["batch"], inputs)[0]
