"""`open_network`: a file becomes a network."""

from pathlib import Path

from dsetkit.errors import NetworkError
from dsetkit.networks.network import Network

SUFFIXES = (".safetensors", ".onnx")


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
