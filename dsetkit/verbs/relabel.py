"""relabel: the same samples with the depth of another teacher, as a new dataset.

Assets, recipes, composites, masks and splits are copied unchanged; only the depth is new. The
teacher sees what it would see in `generate`: samples are composited again from the assets in the
dataset, which gives the pixels before JPEG. If that is impossible (imported pictures; a composite
that another version made with other pixels), the teacher sees the stored composite.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path

import numpy as np
from msgspec import structs

from dsetkit.compositing import (
    CompositeBatch,
    concatenate,
    has_recipe,
    pixels_checksum,
    stores_same_pixels,
)
from dsetkit.datasets import LABELLED_PER_COMMIT, Dataset, DatasetWriter
from dsetkit.errors import DatasetError, TeacherError
from dsetkit.files import is_same_place
from dsetkit.generating import SceneDepth
from dsetkit.labels import TeacherChoice, label_batches, score_labels
from dsetkit.numbers import evenly_spread
from dsetkit.store import Record
from dsetkit.store import manifest as m
from dsetkit.teachers import Teacher, with_range
from dsetkit.verbs.relabel_manifest import relabelled_manifest
from dsetkit.verbs.relabel_scene import relabel_scene


def relabel(
    path: Path,
    output: Path,
    *,
    teacher: TeacherChoice,
    scene: SceneDepth | None = None,
    at_most: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Makes a dataset of the same samples with other depth, or continues an interrupted run.

    Args:
        path: A complete dataset; it is not changed.
        output: Directory of the new dataset.
        teacher: The teacher. Its depth edges are corrected only if there are masks.
        scene: The teacher sees the backgrounds, and objects become planes, as in `generate`; None:
            it sees every composite.
        at_most: Relabel only that many samples, spread evenly; None relabels all.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete new dataset.

    Raises:
        TeacherError: The teacher cannot be loaded, or gives no usable depth.
        DatasetError: Anything that `Dataset` and `DatasetWriter` raise.
    """
    source = Dataset(path)
    if is_same_place(output, path):
        raise DatasetError(f"--output {output} is the dataset itself: choose another directory")
    chosen = evenly_spread(len(source), at_most or len(source))
    if scene:
        return relabel_scene(
            source, output, teacher=teacher, scene=scene, chosen=chosen, progress=progress
        )
    network = teacher.load()
    if network is None:
        raise TeacherError("--teacher none gives no depth: expected bundled, hf:MODEL or another")

    def composites(positions: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        for position in positions:
            batch = _composite(source, source.record(chosen[position]))
            yield [position], _pixels(batch)

    network = with_range(network, output=output, count=len(chosen), show=composites)
    assert network is not None  # with_range gives None only for None
    if "mask" not in source.manifest.fields:
        teacher = replace(teacher, edge_reach=0)
    manifest = relabelled_manifest(
        source.manifest,
        teacher=network,
        entry=teacher.describe(network),
        scene=None,
        num_samples=len(chosen),
    )
    with DatasetWriter(
        output,
        manifest,
        source.cells[chosen],
        backgrounds=source.assets("backgrounds"),
        foregrounds=source.assets("foregrounds"),
        samples_per_commit=LABELLED_PER_COMMIT,
    ) as writer:
        # As in `generate`, commits fall between the teacher's batches.
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
    """Labels a batch; imported pictures of several sizes are labelled in runs of one size.

    Args:
        records: Samples of the source.
        source: The dataset that is relabelled.
        teacher: Gives the depth.
        manifest: The new dataset's.
        first: Index of the first sample, for messages.
    """
    samples = [_composite(source, _without_planes(record)) for record in records]
    runs = [
        concatenate(run) for _, run in groupby(samples, key=lambda sample: _pixels(sample).shape)
    ]
    return list(chain.from_iterable(label_batches(runs, teacher, manifest, first=first)))


def _without_planes(record: Record) -> Record:
    """A sample without what belongs to scene depth alone; what hides an object needs its plane."""
    objects = tuple(
        one if one.occluded else structs.replace(one, plane=None) for one in record.objects
    )
    return replace(record, objects=objects)


def _composite(source: Dataset, record: Record) -> CompositeBatch:
    """A sample as a batch of one, with the composite that the teacher sees."""
    if has_recipe(record):
        image, mask = source.compositor.composite(record)
        keeps_recipe = source.manifest.layout == "recipe"
        if keeps_recipe:
            record = replace(record, pixels=pixels_checksum(image, mask))
        composited = {"composite": image, "mask": mask}
        if keeps_recipe or stores_same_pixels(source.manifest, record, composited):
            return CompositeBatch([record], image[None], mask[None])
    composite = source.image(record, "composite")
    has_mask = "mask" in source.manifest.fields
    masks = source.image(record, "mask")[None] if has_mask else None
    return CompositeBatch([record], composite[None], masks)


def _pixels(batch: CompositeBatch) -> np.ndarray:
    """The composites of a batch, uint8 (N,H,W,3) RGB."""
    assert batch.composites is not None  # `_composite` always gives them
    return batch.composites
