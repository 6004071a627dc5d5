"""export: a dataset in the formats of other programs.

| format       | what is written                            | module in `exporting` |
|--------------|--------------------------------------------|-----------------------|
| files        | a file for each field, index.csv           | plain_files           |
| webdataset   | tar shards                                 | webdataset            |
| hf           | parquet files of Hugging Face `datasets`   | hugging_face          |
| coco         | pictures, annotations as RLE               | coco                  |
| yolo-seg     | pictures, polygons                         | yolo                  |
| folder-pairs | NAME_color.jpg and NAME_depth.png          | folder_pairs          |

Every file with its final name is complete, so an interrupted export can be continued.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dsetkit.arguments import COUNT, JOBS
from dsetkit.datasets import Dataset, indices_of
from dsetkit.errors import DatasetError
from dsetkit.verbs.exporting import coco, folder_pairs, hugging_face, webdataset, yolo
from dsetkit.verbs.exporting.common import Order, claim
from dsetkit.verbs.exporting.plain_files import write_files

DEPTH_FORMATS = ("png16", "npy")
SHARD_SIZE = 1000  # samples


@dataclass(frozen=True)
class _Format:
    """A format beside `files`.

    Attributes:
        write: Writes it into a claimed folder.
        check: Refuses a dataset that does not suit it.
        has_shards: Whether several samples share a file.
    """

    write: Callable[[Order], None]
    check: Callable[[Order], None] = lambda order: None
    has_shards: bool = False


FILES = "files"
FORMATS = {
    "webdataset": _Format(webdataset.write, has_shards=True),
    "hf": _Format(hugging_face.write, hugging_face.check, has_shards=True),
    "coco": _Format(coco.write, coco.check),
    "yolo-seg": _Format(yolo.write, yolo.check),
    "folder-pairs": _Format(folder_pairs.write, folder_pairs.check),
}
FORMAT_NAMES = (FILES, *FORMATS)


def export(
    path: Path | str,
    output: Path,
    *,
    output_format: str = FILES,
    split: str | None = None,
    depth_format: str = "png16",
    shard_size: int | None = None,
    jobs: int = 1,
    push_to_hub: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes samples for other programs; complete files are kept.

    Args:
        path: The dataset's directory, or its address.
        output: Directory to write, or to continue.
        output_format: One of FORMAT_NAMES.
        split: `train`, `val`, `test`, or None for all samples.
        depth_format: Of `files`: `png16` or `npy`.
        shard_size: Of `webdataset` and `hf`: samples of a shard; None is SHARD_SIZE.
        jobs: Processes of all formats but `files`; the files do not depend on how many.
        push_to_hub: Of `hf`: the repository to upload to.
        progress: Called with (samples done, samples in all).

    Returns:
        Number of samples.

    Raises:
        DsetkitError: As `Dataset`; an empty split; settings or a dataset that do not suit the
            format; a missing package; or an output that holds other files.
    """
    _check_settings(output_format, depth_format, shard_size, jobs, push_to_hub)
    dataset = Dataset(path)
    indices = indices_of(dataset, split)
    description: dict[str, Any] = {"manifest": asdict(dataset.manifest), "split": split}
    if output_format == FILES:
        claim(output, description | {"depth_format": depth_format})
        write_files(dataset, indices.tolist(), output, depth_format=depth_format, progress=progress)
        return len(indices)
    chosen = FORMATS[output_format]
    order = Order(
        dataset=dataset,
        output=output,
        split=split,
        shard_size=shard_size or SHARD_SIZE,
        jobs=jobs,
        progress=progress,
    )
    chosen.check(order)
    description["format"] = output_format
    if chosen.has_shards:
        description["shard_size"] = order.shard_size
    claim(output, description)
    chosen.write(order)
    if push_to_hub:
        hugging_face.push(output, push_to_hub)
    return len(indices)


def _check_settings(
    output_format: str,
    depth_format: str,
    shard_size: int | None,
    jobs: int,
    push_to_hub: str | None,
) -> None:
    """Refuses settings that say nothing, or do not go together.

    Raises:
        DsetkitError: There are some.
    """
    JOBS.check(jobs, "--jobs", DatasetError)
    if output_format not in FORMAT_NAMES:
        raise DatasetError(f"--format {output_format}: expected one of {', '.join(FORMAT_NAMES)}")
    if depth_format not in DEPTH_FORMATS:
        expected = " or ".join(DEPTH_FORMATS)
        raise DatasetError(f"--depth-format {depth_format}: expected {expected}")
    if depth_format != DEPTH_FORMATS[0] and output_format != FILES:
        raise DatasetError(
            f"--depth-format {depth_format} with --format {output_format}: only --format files has "
            "a choice"
        )
    if shard_size is not None:
        COUNT.check(shard_size, "--shard-size", DatasetError)
        if output_format == FILES or not FORMATS[output_format].has_shards:
            raise DatasetError(
                f"--shard-size with --format {output_format}, which has no shards: leave it out"
            )
    if push_to_hub is not None:
        if output_format != "hf":
            raise DatasetError(f"--push-to-hub with --format {output_format}: expected --format hf")
        hugging_face.check_token()
