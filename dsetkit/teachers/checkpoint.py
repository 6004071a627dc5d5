"""The teacher made here: a depth model trained by train_depth.py, frozen."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from dsetkit.errors import TeacherError
from models import ModelError, answer, load_model


class CheckpointTeacher:
    """A depth checkpoint as a teacher.

    Args:
        path: A `.safetensors` file written by train_depth.py.
        name: What the manifest calls it.
        device: Where it runs.

    Raises:
        TeacherError: The file is missing, no depth checkpoint, or needs more than the composite.
    """

    def __init__(self, path: Path, *, name: str = "checkpoint", device: str = "cpu") -> None:
        try:
            self._net, about = load_model(path, device=device, needs="depth")
        except ModelError as error:
            raise TeacherError(f"teacher {name}: {error}") from None
        if about["inputs"] != ["composite"]:
            raise TeacherError(
                f"teacher {name}: {path} was trained on {' + '.join(about['inputs'])}; "
                "a teacher sees the composite alone"
            )
        self._device = device
        self._trained_height = about["img_size"][0]
        self.name = name
        self.kind = about["depth_kind"]
        self.max_depth_m = about["max_depth_m"]
        self.weights_hash = hashlib.sha256(Path(path).read_bytes()).hexdigest()

    @torch.inference_mode()
    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """Depth of uint8 (N,H,W,3) RGB: float32 (N,h,w), metres or relative inverse depth.

        A network tells depth by apparent size, so pictures are shown at the height it was trained
        at: shown larger, everything would seem nearer. The sides fit the network's stride.
        """
        batch = torch.from_numpy(composites).permute(0, 3, 1, 2)  # (N, 3, H, W)
        batch = batch.to(self._device).float() / 255
        size = self._input_size(*batch.shape[2:])
        if size != tuple(batch.shape[2:]):
            batch = interpolate(batch, size=size, mode="bilinear", antialias=True)
        share = answer(self._net, self._net(batch), "depth")[:, 0]
        scale = self.max_depth_m if self.kind == "metric" else 1
        return (share * scale).cpu().numpy()

    def _input_size(self, height: int, width: int) -> tuple[int, int]:
        """The trained height, and the width that keeps the shape as nearly as the stride lets."""
        stride = self._net.stride
        columns = max(1, round(width / height * self._trained_height / stride))
        return self._trained_height, columns * stride
