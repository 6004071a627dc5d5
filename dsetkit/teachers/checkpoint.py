"""A frozen depth model of train_depth.py; its network lies in the repository's `models`."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from dsetkit.arguments import DEPTH_M
from dsetkit.errors import TeacherError
from dsetkit.networks.repository_models import repository_models
from dsetkit.networks.resizing import as_batch, fitted_size
from dsetkit.teachers.options import check_height
from dsetkit.teachers.running import PLAIN, Runner


class CheckpointTeacher:
    """A depth checkpoint as a teacher.

    Args:
        path: A `.safetensors` file written by train_depth.py.
        name: What the manifest calls it.
        runner: Where and how it runs.
        size: Height at which it sees composites [px]; None = the one it was trained at.

    Raises:
        TeacherError: The networks of the repository cannot be imported, or the file is missing, is
            no depth checkpoint, needs more than the composite, or cannot be shown that size.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str = "checkpoint",
        runner: Runner = PLAIN,
        size: int | None = None,
    ) -> None:
        models = repository_models(f"teacher {name}")
        try:
            self.network, metadata = models.load_model(path, device=runner.device, needs="depth")
        except models.ModelError as error:
            raise TeacherError(f"teacher {name}: {error}") from None
        for entry in ("inputs", "img_size", "depth_kind", "max_depth_m"):
            if entry not in metadata:
                raise TeacherError(
                    f"teacher {name}: {path} does not say its {entry}: expected a weights file of "
                    "train_depth.py"
                )
        if metadata["inputs"] != ["composite"]:
            raise TeacherError(
                f"teacher {name}: {path} was trained on {' + '.join(metadata['inputs'])}; "
                "a teacher sees the composite alone"
            )
        if metadata["depth_kind"] == "metric":
            DEPTH_M.check(metadata["max_depth_m"], f"teacher {name}: max_depth_m", TeacherError)
        self._answer = models.answer
        check_height(name, size, step=self.network.stride)
        self._device, self._run = runner.device, runner.prepare(self.network)
        self.height = size or metadata["img_size"][0]
        self.settings = ({"size": size} if size else {}) | runner.settings
        self.name = name
        self.kind = metadata["depth_kind"]
        self.max_depth_m = metadata["max_depth_m"]
        self.weights_hash = hashlib.sha256(Path(path).read_bytes()).hexdigest()

    @torch.inference_mode()
    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """Depth of uint8 (N,H,W,3) RGB: float32 (N,h,w), metres or relative inverse depth.

        A network tells depth by apparent size, so pictures are shown at the height it was trained
        at: shown larger, everything would seem nearer. The sides fit the network's stride.
        """
        size = fitted_size(
            *composites.shape[1:3], to_height=self.height, stride=self.network.stride
        )
        batch = as_batch(composites, size=size, device=self._device)
        share = self._answer(self.network, self._run(batch), "depth")[:, 0]
        scale = self.max_depth_m if self.kind == "metric" else 1
        return (share * scale).cpu().numpy()
