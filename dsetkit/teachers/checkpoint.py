"""The teacher made here: a depth model trained by train_depth.py, frozen."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from dsetkit.errors import TeacherError
from models import ModelError, load_model


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
            self._net, about = load_model(path, device=device, expect_task="depth")
        except ModelError as error:
            raise TeacherError(f"teacher {name}: {error}") from None
        if about["inputs"] != ["composite"]:
            raise TeacherError(
                f"teacher {name}: {path} was trained on {' + '.join(about['inputs'])}; "
                "a teacher sees the composite alone"
            )
        self._net = self._net.to(memory_format=torch.channels_last)
        self._device = device
        self.name = name
        self.kind = about["depth_kind"]
        self.max_depth_m = about["max_depth_m"]
        self.weights_hash = hashlib.sha256(Path(path).read_bytes()).hexdigest()

    @torch.inference_mode()
    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """Depth of uint8 (N,H,W,3) RGB: float32 (N,h,w), metres or relative inverse depth.

        Pictures whose sides the network's stride does not divide are resized to the next that do.
        """
        batch = torch.from_numpy(composites).permute(0, 3, 1, 2)  # (N,3,H,W), channels last
        batch = batch.to(self._device).float() / 255
        stride = self._net.stride
        fitting = [-(-side // stride) * stride for side in batch.shape[2:]]
        if fitting != list(batch.shape[2:]):
            batch = interpolate(batch, size=fitting, mode="bilinear", align_corners=False)
        share = self._net(batch)[:, 0].clamp(0, 1)
        scale = self.max_depth_m if self.kind == "metric" else 1
        return (share.float() * scale).cpu().numpy()
