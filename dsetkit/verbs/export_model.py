"""export-model: a checkpoint as a pair of files, FILE.onnx and FILE.json, that need no torch."""

from pathlib import Path

from dsetkit.errors import NetworkError
from dsetkit.networks.repository_models import repository_models


def export_model(
    checkpoint: Path,
    output: Path,
    *,
    size: tuple[int, int] | None = None,
    any_size: bool = False,
) -> dict[str, float]:
    """Writes a checkpoint as ONNX, with the JSON that tells how to use it.

    `predict.py` reads the pair; `--teacher onnx:FILE` does, too, if the network gives depth and
    sees the composite alone.

    Args:
        checkpoint: A `.safetensors` of a training: mask, depth or both.
        output: The `.onnx` file to write; the `.json` gets the same stem.
        size: Height and width at which the network sees pictures [px], multiples of its stride;
            None = those it was trained at.
        any_size: Leave height and width free.

    Returns:
        Map -> the largest difference between the answers of the two for drawn pictures: a share of
        a mask or of relative depth, metres of metric depth.

    Raises:
        NetworkError: A package or the repository's networks are missing, no such checkpoint, a size
            that does not fit, the network cannot be exported, or the two differ.
    """
    if output.suffix != ".onnx":
        raise NetworkError(f"--output {output}: expected a name that ends in .onnx")
    repository_models("export-model")  # first: it says at once what is missing
    from dsetkit.networks import onnx_export  # loads torch

    return onnx_export.export_checkpoint(checkpoint, output, size=size, any_size=any_size)
