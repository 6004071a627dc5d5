"""export: a dataset as plain files, for programs that do not read LMDB.

    DIR/dataset.json              the manifest (units of depth!), the split, the depth format
    DIR/composite/000000.jpg      the stored bytes
    DIR/mask/000000.png           8-bit alpha
    DIR/depth/000000.png|.npy     uint16 as stored, or float32: metres, or inverse depth in [0, 1];
                                  0 = invalid
    DIR/background/0000.png       backgrounds, by id
    DIR/index.csv                 the columns of `SampleTable`, and a file for each field

Every file with its final name is complete, so an interrupted export can be continued.
"""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.assets import stored_orientation
from dsetkit.datasets import COLUMNS, Dataset, SampleTable, indices_of
from dsetkit.errors import DatasetError
from dsetkit.files import write_whole
from dsetkit.store import CODECS, DEFAULT_CODECS, Record
from dsetkit.verbs.splits import as_csv

PNG_SIGNATURE = b"\x89PNG"
JPEG_SIGNATURE = b"\xff\xd8\xff"


def export(
    path: Path,
    output: Path,
    *,
    split: str | None = None,
    depth_format: str = "png16",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes samples as files; existing files are kept.

    Args:
        path: The dataset's directory.
        output: Directory to write, or to continue.
        split: `train`, `val`, `test`, or None for all samples.
        depth_format: `png16` or `npy`.
        progress: Called with (samples done, samples in all).

    Returns:
        Number of samples.

    Raises:
        DatasetError: As `Dataset`; an empty split; or an output that holds other files.
    """
    dataset = Dataset(path)
    indices = indices_of(dataset, split)
    _claim(output, _describe(dataset, split, depth_format))
    # The table is written last: if it exists, so do all files that it names.
    columns = (*COLUMNS, *(f"{name}_file" for name in dataset.manifest.fields))
    rows = _export_samples(dataset, indices.tolist(), output, depth_format, progress)
    write_whole(output / "index.csv", as_csv(rows, columns))
    return len(indices)


def _describe(dataset: Dataset, split: str | None, depth_format: str) -> dict[str, Any]:
    """The content of dataset.json."""
    return {"manifest": asdict(dataset.manifest), "split": split, "depth_format": depth_format}


def _claim(output: Path, description: dict[str, Any]) -> None:
    """Writes dataset.json, which marks the directory as that of this export.

    Raises:
        DatasetError: The directory belongs to another export, or holds other files.
    """
    marker = output / "dataset.json"
    content = json.dumps(description, indent=2).encode()
    if marker.exists():
        if marker.read_bytes() != content:
            raise DatasetError(
                f"{output} holds the export of another dataset, split or depth format: "
                "choose another --output"
            )
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DatasetError(f"{output} exists and is not an export: choose another --output")
    write_whole(marker, content)


def _export_samples(
    dataset: Dataset,
    indices: list[int],
    output: Path,
    depth_format: str,
    progress: Callable[[int, int], None],
) -> Iterator[dict[str, int | str]]:
    """Writes the files of samples; yields their rows of the table."""
    backgrounds = _export_assets(dataset, output)
    fields = [name for name in dataset.manifest.fields if name != "background"]
    table = SampleTable(dataset)
    for done, index in enumerate(indices, start=1):
        record = dataset.record(index)
        row = table.row(index, record)
        if record.background is not None:
            row["background_file"] = backgrounds[record.background]
        for field in fields:
            row[f"{field}_file"] = _export_field(
                dataset, record, field, index, output, depth_format
            )
        yield row
        progress(done, len(indices))


def _export_assets(dataset: Dataset, output: Path) -> list[str]:
    """Writes the backgrounds; returns their files by id, relative to the output."""
    files: list[str] = []
    for number, asset in enumerate(dataset.assets("backgrounds")):
        files.append(f"background/{number:04d}{_suffix(asset.image)}")
        _write_new(output / files[-1], asset.image)
    return files


def _export_field(
    dataset: Dataset, record: Record, field: str, index: int, output: Path, depth_format: str
) -> str:
    """Writes a field of a sample; returns its file, relative to the output."""
    if field == "depth" and depth_format == "npy":
        content, suffix = _depth_npy(dataset, record), ".npy"
    else:
        content = _as_picture(dataset, record, field)
        suffix = _suffix(content)
    file = f"{field}/{index:06d}{suffix}"
    _write_new(output / file, content)
    return file


def _as_picture(dataset: Dataset, record: Record, field: str) -> bytes:
    """A field as PNG or JPEG: its own bytes if it is stored so.

    Bytes with an EXIF orientation are encoded anew without it. Readers of datasets ignore it, but
    other programs would turn the picture away from its mask and depth.
    """
    content = record.fields.get(field, b"")
    if content.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)) and stored_orientation(content) == 1:
        return content
    return CODECS[DEFAULT_CODECS[field]].encode(dataset.image(record, field))


def _write_new(file: Path, content: bytes) -> None:
    if not file.exists():
        write_whole(file, content)


def _suffix(encoded: bytes) -> str:
    # From the bytes: an imported dataset may hold both JPEG and PNG composites.
    return ".png" if encoded.startswith(PNG_SIGNATURE) else ".jpg"


def _depth_npy(dataset: Dataset, record: Record) -> bytes:
    """Depth as a .npy file, float32: metres or inverse depth in [0, 1]; 0 = invalid."""
    manifest = dataset.manifest
    scale = manifest.max_depth_m if manifest.depth_kind == "metric" else 1.0
    buffer = io.BytesIO()
    np.save(buffer, dataset.depth(record) * np.float32(scale))
    return buffer.getvalue()
