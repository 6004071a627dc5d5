"""files: one file for each field of each sample, and a table.

DIR/dataset.json              the manifest (units of depth!), the split, the depth format
DIR/composite/000000.jpg      the stored bytes
DIR/mask/000000.png           8-bit alpha
DIR/depth/000000.png|.npy     uint16 as stored, or float32: metres, or inverse depth in [0, 1];
                              0 = invalid
DIR/background/0000.png       backgrounds, by id
DIR/index.csv                 the columns of `SampleTable`, and a file for each field
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dsetkit.datasets import COLUMNS, Dataset, SampleTable
from dsetkit.files import write_whole
from dsetkit.store import Record
from dsetkit.verbs.exporting.common import Row, as_picture, suffix_of, write_new
from dsetkit.verbs.splits import as_csv


def write_files(
    dataset: Dataset,
    indices: list[int],
    output: Path,
    *,
    depth_format: str,
    progress: Callable[[int, int], None],
) -> None:
    """Writes samples as files; existing files are kept.

    Args:
        dataset: The dataset.
        indices: Samples to write.
        output: The claimed folder.
        depth_format: `png16` or `npy`.
        progress: Called with (samples done, samples in all).
    """
    # The table is written last: if it exists, so do all files that it names.
    columns = (*COLUMNS, *(f"{name}_file" for name in dataset.manifest.fields))
    rows = _export_samples(dataset, indices, output, depth_format, progress)
    write_whole(output / "index.csv", as_csv(rows, columns))


def _export_samples(
    dataset: Dataset,
    indices: list[int],
    output: Path,
    depth_format: str,
    progress: Callable[[int, int], None],
) -> Iterator[Row]:
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
        files.append(f"background/{number:04d}{suffix_of(asset.image)}")
        write_new(output / files[-1], asset.image)
    return files


def _export_field(
    dataset: Dataset, record: Record, field: str, index: int, output: Path, depth_format: str
) -> str:
    """Writes a field of a sample; returns its file, relative to the output."""
    if field == "depth" and depth_format == "npy":
        content, suffix = _depth_npy(dataset, record), ".npy"
    else:
        content = as_picture(dataset, record, field)
        suffix = suffix_of(content)
    file = f"{field}/{index:06d}{suffix}"
    write_new(output / file, content)
    return file


def _depth_npy(dataset: Dataset, record: Record) -> bytes:
    """Depth as a .npy file, float32: metres or inverse depth in [0, 1]; 0 = invalid."""
    manifest = dataset.manifest
    scale = manifest.max_depth_m if manifest.depth_kind == "metric" else 1.0
    buffer = io.BytesIO()
    np.save(buffer, dataset.depth(record) * np.float32(scale))
    return buffer.getvalue()
