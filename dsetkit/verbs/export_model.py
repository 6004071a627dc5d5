"""export-model: a depth checkpoint as a pair for `--teacher onnx:FILE`: FILE.onnx and FILE.json."""

from pathlib import Path

from dsetkit.errors import TeacherError
from dsetkit.teachers import export_checkpoint


def export_model(checkpoint: Path, output: Path, *, size: tuple[int, int] | None = None) -> float:
    """Writes a depth checkpoint as ONNX, with the JSON that tells how to use it.

    Args:
        checkpoint: A `.safetensors` of train_depth.py or train_joint.py that sees the composite.
        output: The `.onnx` file to write; the `.json` gets the same stem.
        size: Height and width at which the network sees composites [px], multiples of its stride;
            None = a square of the height it was trained at, as the checkpoint sees a dataset's.

    Returns:
        The largest difference between the two teachers' answers for drawn composites [m, or share
        of the range when relative].

    Raises:
        TeacherError: A package or the repository's networks are missing, no such checkpoint, a size
            that does not fit, the network cannot be exported, or the two differ.
    """
    if output.suffix != ".onnx":
        raise TeacherError(f"--output {output}: expected a name that ends in .onnx")
    return export_checkpoint(checkpoint, output, size=size)
