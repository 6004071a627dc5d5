"""folder-pairs: colour and depth side by side, as trainers of depth networks read them.

    DIR/train/000000_color.jpg|png    composites, the stored bytes
    DIR/train/000000_depth.png        16-bit grey, millimetres, 0 = invalid, as large as the colours

`import-rgbd --root DIR/train --split train` makes a dataset of them again. Depth that is stored
smaller than its composite is enlarged.
"""

from functools import partial
from pathlib import Path

import numpy as np

from dsetkit.compositing import resize_depth
from dsetkit.errors import DatasetError
from dsetkit.files import write_whole
from dsetkit.store import LARGEST_DEPTH_M
from dsetkit.verbs.exporting.common import (
    Order,
    Pack,
    Sample,
    SampleReader,
    as_png,
    decoded,
    suffix_of,
    write_new,
)

FIELDS = ("composite", "depth")
SAMPLES_PER_PACK = 200
LARGEST_MM = 1000 * LARGEST_DEPTH_M


def check(order: Order) -> None:
    """Refuses what cannot be exported, before anything is written.

    Raises:
        DatasetError: The dataset has no depth in metres.
    """
    manifest = order.dataset.manifest
    if "depth" not in manifest.fields:
        raise DatasetError(f"{order.dataset.path} has no depth, which --format folder-pairs needs")
    if manifest.depth_kind != "metric":
        raise DatasetError(
            f"the depth of {order.dataset.path} is {manifest.depth_kind}: --format folder-pairs "
            "writes millimetres and needs metric depth"
        )


def write(order: Order) -> None:
    """Writes the pairs; existing files are kept.

    Raises:
        DsetkitError: A sample is damaged, or a file cannot be written.
    """
    reader = SampleReader(order.dataset, FIELDS)
    order.run(partial(_write_pack, reader, order.output), order.packs(SAMPLES_PER_PACK))


def _write_pack(reader: SampleReader, output: Path, pack: Pack) -> None:
    for sample in reader.samples(pack.indices):
        content = sample.pictures["composite"]
        colour = output / pack.split / f"{sample.key}_color{suffix_of(content)}"
        depth = output / pack.split / f"{sample.key}_depth.png"
        if not depth.exists():
            write_whole(depth, _depth_mm(sample))
        write_new(colour, content)


def _depth_mm(sample: Sample) -> bytes:
    """The depth in the size of the composite; the stored bytes where it has that size."""
    stored, size = decoded(sample, "depth"), decoded(sample, "composite").shape[:2]
    if stored.shape == size:
        return sample.pictures["depth"]
    resized = resize_depth(stored.astype(np.float32), size)
    return as_png(np.rint(resized).clip(0, LARGEST_MM).astype(np.uint16))
