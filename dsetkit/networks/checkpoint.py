"""A checkpoint of a training, run by torch; its network lies in the repository's `models`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from dsetkit.devices import pick_device, prepare_device
from dsetkit.errors import NetworkError
from dsetkit.networks.network import NetworkFacts
from dsetkit.networks.repository_models import repository_models
from dsetkit.networks.resizing import as_batch


class CheckpointNetwork:
    """The network of a `.safetensors` file.

    Args:
        path: The file, written by a training.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: Threads on a CPU; None = torch's own choice.

    Attributes:
        module: The network of torch, in evaluation mode.

    Raises:
        NetworkError: The repository's networks cannot be imported, or the file is missing, damaged
            or does not say what a training writes.
        DsetkitError: There is no such device.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int | None = None) -> None:
        models = repository_models(str(path))
        if threads:
            torch.set_num_threads(threads)
        self._device = prepare_device(pick_device(device))
        try:
            self.module, metadata = models.load_model(path, device=self._device)
        except models.ModelError as error:
            raise NetworkError(str(error)) from None
        self._answer = models.answer
        maps = tuple(self.module.heads)
        needed = ("inputs", "img_size", *(("depth_kind", "max_depth_m") if "depth" in maps else ()))
        for entry in needed:
            if entry not in metadata:
                raise NetworkError(
                    f"{path} does not say its {entry}: expected a weights file of a training, such "
                    "as best.safetensors"
                )
        height, width = metadata["img_size"]
        kind = metadata["depth_kind"] if "depth" in maps else None
        self.facts = NetworkFacts(
            name=str(path),
            inputs=tuple(metadata["inputs"]),
            maps=maps,
            size=(height, width),
            takes_any_size=True,
            stride=self.module.stride,
            depth_kind=kind,
            max_depth_m=float(metadata["max_depth_m"]) if kind == "metric" else 0.0,
        )

    @torch.inference_mode()
    def __call__(self, pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        batches = [as_batch(pictures[name], device=self._device) for name in self.facts.inputs]
        outputs = self.module(torch.cat(batches, dim=1))
        answers = {name: self._answer(self.module, outputs, name)[:, 0] for name in self.facts.maps}
        if self.facts.max_depth_m:
            answers["depth"] = answers["depth"] * self.facts.max_depth_m
        return {name: answer.cpu().numpy() for name, answer in answers.items()}
