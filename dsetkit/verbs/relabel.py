"""relabel(...): the same samples with another teacher's depth, as a dataset of its own.

Assets, recipes, composites, masks and splits are copied as they lie; only the depth is new. The
teacher sees what it would see in `generate`: the composite is drawn again from the assets in the
file, which gives the pixels before they were stored as JPEG. Where that cannot be done (imported
pictures; a composite that an earlier version drew otherwise) it sees the stored one.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from dsetkit.compositing import (
    CompositeBatch,
    concatenate,
    has_recipe,
    pixels_checksum,
    stores_same_pixels,
)
from dsetkit.datasets import Dataset, DatasetWriter, stored_assets
from dsetkit.errors import DatasetError, TeacherError
from dsetkit.labels import TeacherChoice, evenly_spread, label_batches, score_labels
from dsetkit.store import LAYOUT_CODECS, Record
from dsetkit.store import manifest as m
from dsetkit.teachers import Teacher, with_range


def relabel(
    path: Path,
    output: Path,
    *,
    teacher: TeacherChoice,
    at_most: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Makes a dataset of the same samples with another depth, or continues one that was cut off.

    Args:
        path: A complete dataset; it is only read.
        output: Directory of the new one.
        teacher: What gives the depth. Edges are corrected only where there are masks.
        at_most: Only that many samples, spread evenly, for a look at a few.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete new dataset.

    Raises:
        DsetkitError: Anything a user can mend.
    """
    source = Dataset(path)
    if Path(output).resolve() == Path(path).resolve():
        raise DatasetError(f"--output {output} is the dataset itself: choose another directory")
    network = teacher.load()
    if network is None:
        raise TeacherError("--teacher none gives no depth: expected bundled, hf:MODEL or another")
    chosen = evenly_spread(len(source), at_most or len(source))

    def composites(positions: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        for position in positions:
            yield [position], _composite(source, source.record(chosen[position])).composites

    network = with_range(network, output=output, count=len(chosen), show=composites)
    if "mask" not in source.manifest.fields:
        teacher = replace(teacher, edge_reach=0)
    manifest = _describe(source.manifest, network, teacher.describe(network), len(chosen))
    with DatasetWriter(
        output,
        manifest,
        source.cells[chosen],
        backgrounds=stored_assets(source, "backgrounds"),
        foregrounds=stored_assets(source, "foregrounds"),
    ) as writer:
        # As in `generate`, commits fall between batches.
        for first in range(writer.count, len(chosen), teacher.batch_size):
            batch = source.records(chosen[first : first + teacher.batch_size])
            writer.add(_label(batch, source, network, manifest, first=first))
            progress(writer.count, len(chosen))
        finished = writer.finish()
    return score_labels(output) or finished


def _label(
    records: list[Record],
    source: Dataset,
    teacher: Teacher,
    manifest: m.Manifest,
    *,
    first: int,
) -> list[Record]:
    """A batch with its new depth; imported pictures of several sizes go in runs of one size."""
    samples = [_composite(source, record) for record in records]
    runs = [
        concatenate(run) for _, run in groupby(samples, key=lambda batch: batch.composites.shape)
    ]
    return list(chain.from_iterable(label_batches(runs, teacher, manifest, first=first)))


def _composite(source: Dataset, record: Record) -> CompositeBatch:
    """A sample as a batch of one, its composite as the teacher sees it."""
    if has_recipe(record):
        image, mask = source.compositor.composite(record)
        keeps_recipe = source.manifest.layout == "recipe"
        if keeps_recipe:
            record = replace(record, drawn=pixels_checksum(image, mask))
        if keeps_recipe or stores_same_pixels(source.manifest, record, image, mask):
            return CompositeBatch([record], image[None], mask[None])
    composite = source.image(record, "composite")
    has_mask = "mask" in source.manifest.fields
    mask = source.image(record, "mask")[None] if has_mask else None
    return CompositeBatch([record], composite[None], mask)


def _describe(
    there: m.Manifest, teacher: Teacher, about_teacher: dict, num_samples: int
) -> m.Manifest:
    """The new dataset's manifest: the old one's but for the depth, and which one it came from."""
    fields = [name for name in there.fields if name != "depth"] + ["depth"]
    return replace(
        there,
        num_samples=num_samples,
        complete=False,
        shard=m.ONLY_SHARD,
        label_quality={},  # of the old depth
        fields=fields,
        codecs={"depth": LAYOUT_CODECS[there.layout]["depth"]} | there.codecs,
        depth_kind=teacher.kind,
        max_depth_m=teacher.max_depth_m,
        teacher=about_teacher | {"relabelled": there.fingerprint},
    )
