"""relabel(...): the same samples with another teacher's depth, as a dataset of its own.

Assets, recipes, composites, masks and splits are copied as they lie; only the depth is new. The
teacher sees what it would see in `generate`: the composite is drawn again from the assets in the
file, which gives the pixels before they were stored as JPEG. Where that cannot be done (imported
pictures; a composite that an earlier version drew otherwise) it sees the stored one.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from dsetkit import manifest as m
from dsetkit.assets import decode_asset
from dsetkit.compositing import ForegroundPyramid, composite
from dsetkit.dataset import Dataset
from dsetkit.dataset_writer import DatasetWriter, StoredAsset
from dsetkit.encoding import CODECS, DEFAULT_CODECS, Record
from dsetkit.errors import DatasetError, TeacherError
from dsetkit.pipeline import describe_teacher, label
from dsetkit.recipe import CompositeRecipe
from dsetkit.render import DrawnBatch
from dsetkit.teachers import Teacher, TeacherOptions, load_teacher, with_range


def relabel(
    path: Path,
    output: Path,
    *,
    teacher: str,
    teacher_options: TeacherOptions | None = None,
    batch_size: int = 32,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Makes a dataset of the same samples with another depth, or continues one that was cut off.

    Args:
        path: A complete dataset; it is only read.
        output: Directory of the new one.
        teacher: What gives the depth; see `dsetkit.teachers`.
        teacher_options: What the other `--teacher-...` flags say.
        batch_size: Samples the teacher sees at once; part of what makes the dataset repeatable.
        device: Where the teacher runs.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete new dataset.

    Raises:
        DsetkitError: Anything a user can mend.
    """
    if batch_size < 1:
        raise DatasetError(f"--batch-size {batch_size}: expected at least 1")
    source = Dataset(path)
    if Path(output).resolve() == Path(path).resolve():
        raise DatasetError(f"--output {output} is the dataset itself: choose another directory")
    network = load_teacher(teacher, device=device, options=teacher_options)
    if network is None:
        raise TeacherError("--teacher none gives no depth: expected bundled, hf:MODEL or another")
    pictures = _Pictures(source)

    def show(indices: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        for index in indices:
            yield [index], pictures.of(source.record(index))[None]

    network = with_range(network, output=output, count=len(source), show=show)
    with DatasetWriter(
        output,
        _describe(source.manifest, network, batch_size),
        source.cells,
        backgrounds=_stored(source, "backgrounds"),
        foregrounds=_stored(source, "foregrounds"),
    ) as writer:
        # As in `generate`, commits fall between batches.
        for first in range(writer.count, len(source), batch_size):
            batch = range(first, min(first + batch_size, len(source)))
            writer.add(_label(source.records(batch), pictures, network, first=first))
            progress(writer.count, len(source))
        return writer.finish()


def _label(
    records: list[Record], pictures: "_Pictures", teacher: Teacher, *, first: int
) -> list[Record]:
    """A batch with its new depth; imported pictures of several sizes go in runs of one size."""
    drawn = [(record, pictures.of(record)) for record in records]
    labelled: list[Record] = []
    for _, run in groupby(drawn, key=lambda pair: pair[1].shape):
        same_size, pixels = zip(*run, strict=True)
        batch = DrawnBatch(list(same_size), np.stack(pixels))
        labelled += label(batch, teacher, first=first + len(labelled))
    return labelled


class _Pictures:
    """Composites as the teacher sees them."""

    def __init__(self, source: Dataset) -> None:
        self._source = source
        self._backgrounds = [decode_asset(one["image"]) for one in source.assets("backgrounds")]
        self._foregrounds = [
            ForegroundPyramid.build(decode_asset(one["image"]))
            for one in source.assets("foregrounds")
        ]

    def of(self, record: Record) -> np.ndarray:
        """The composite of a sample: uint8 (H,W,3) RGB."""
        drawn = self._draw_again(record)
        if drawn is not None:
            codec = CODECS[self._source.manifest.codecs["composite"]]
            if codec.encode(drawn) == record.fields["composite"]:
                return drawn
        return self._source.image(record, "composite")

    def _draw_again(self, record: Record) -> np.ndarray | None:
        """The composite from its assets; None where the record does not tell how."""
        recipe = record.recipe
        known = record.background is not None and record.foreground is not None
        if not known or not {"index", "flip", "box"} <= recipe.keys():
            return None
        placed = CompositeRecipe(
            recipe["index"],
            record.background,
            record.foreground,
            recipe["flip"],
            tuple(recipe["box"]),
        )
        image, _ = composite(
            self._backgrounds[record.background], self._foregrounds[record.foreground], placed
        )
        return image


def _stored(source: Dataset, database: str) -> list[StoredAsset]:
    return [StoredAsset(one["name"], one["split"], one["image"]) for one in source.assets(database)]


def _describe(there: m.Manifest, teacher: Teacher, batch_size: int) -> m.Manifest:
    """The new dataset's manifest: the old one's but for the depth, and which one it came from."""
    fields = [name for name in there.fields if name != "depth"] + ["depth"]
    about = describe_teacher(teacher, batch_size=batch_size)
    return replace(
        there,
        complete=False,
        fields=fields,
        codecs=there.codecs | {"depth": DEFAULT_CODECS["depth"]},
        depth_kind=teacher.kind,
        max_depth_m=teacher.max_depth_m,
        teacher=about | {"relabelled": there.fingerprint},
    )
