"""convert: the same samples in another layout or with other codecs, as a new dataset.

Nothing is lost either way. Recipes are composited to pictures, byte for byte as `generate` would
have stored them. Pictures become recipes only if compositing gives exactly the stored pictures.
Depths change their encoding, not their values.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from dsetkit.compositing import (
    encode_fields,
    has_recipe,
    pixels_checksum,
    stores_same_pixels,
    with_compositing,
)
from dsetkit.datasets import Dataset, DatasetWriter
from dsetkit.errors import DatasetError
from dsetkit.files import is_same_place
from dsetkit.processes import in_chunks, in_order
from dsetkit.store import CODECS, Record, chosen_codecs, stored_fields
from dsetkit.store import manifest as m

SAMPLES_PER_JOB = 64
JOBS_AHEAD = 4  # per thread; limits the memory of samples that wait to be written


def convert(
    path: Path,
    output: Path,
    *,
    layout: str,
    codecs: Mapping[str, str] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Makes a dataset of the same samples, or continues an interrupted conversion.

    Args:
        path: A complete dataset; it is not changed.
        output: Directory of the new dataset.
        layout: `rendered` or `recipe`.
        codecs: Field -> codec name. Other fields keep their codecs within a layout, and get the
            default codecs in another layout.
        jobs: Threads; None = one for each core.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete new dataset.

    Raises:
        DatasetError: A sample whose composite cannot be reproduced, or anything that `Dataset` and
            `DatasetWriter` raise.
    """
    source = Dataset(path)
    if is_same_place(output, path):
        raise DatasetError(f"--output {output} is the dataset itself: choose another directory")
    manifest = _describe(source.manifest, layout, codecs or {})
    with DatasetWriter(
        output,
        manifest,
        source.cells,
        backgrounds=source.assets("backgrounds"),
        foregrounds=source.assets("foregrounds"),
    ) as writer:
        for records in _converted(source, manifest, writer.count, jobs or os.cpu_count() or 1):
            writer.add(records)
            progress(writer.count, len(source))
        return writer.finish()


def _describe(source: m.Manifest, layout: str, chosen: Mapping[str, str]) -> m.Manifest:
    """The manifest of the new dataset; see `convert` for the codecs."""
    codecs = chosen_codecs(layout, chosen)
    if layout == source.layout:
        codecs = source.codecs | dict(chosen)
    stored = stored_fields(source.fields, layout=layout, has_scene_depth=source.has_scene_depth)
    unstored = [name for name in chosen if name in source.fields and name not in stored]
    if unstored:
        raise DatasetError(
            f"--codec {unstored[0]}={chosen[unstored[0]]}: layout {layout} of this dataset stores "
            f"{', '.join(stored) or 'no field'} only"
        )
    manifest = replace(
        source,
        complete=False,
        shard=m.ONLY_SHARD,
        layout=layout,
        codecs={name: codecs[name] for name in stored},
    )
    return with_compositing(manifest)


def _converted(
    source: Dataset, manifest: m.Manifest, first: int, jobs: int
) -> Iterator[list[Record]]:
    """Yields the new records from index `first` on, in order, in batches."""
    batches = in_chunks(range(first, len(source)), SAMPLES_PER_JOB)
    work = partial(_convert_batch, source, manifest)
    with ThreadPoolExecutor(jobs) as pool:
        yield from in_order(pool, work, batches, ahead=JOBS_AHEAD * jobs)


def _convert_batch(source: Dataset, manifest: m.Manifest, indices: range) -> list[Record]:
    records = zip(indices, source.records(indices), strict=True)
    return [_convert(source, manifest, index, record) for index, record in records]


def _convert(source: Dataset, manifest: m.Manifest, index: int, record: Record) -> Record:
    """The new record of a sample.

    Raises:
        DatasetError: A composite that the recipe does not reproduce, or a sample without recipe.
    """
    kept = [name for name in manifest.codecs if name in source.manifest.codecs]
    fields = {name: _encoded(source, manifest, record, name) for name in kept}
    if manifest.composited == source.manifest.composited:
        return replace(record, fields=fields)
    if not has_recipe(record):
        raise DatasetError(
            f"{source.path}, sample {index} was imported, not composited: it has no recipe to "
            "store instead of its pictures"
        )
    new = replace(record, fields=fields)
    if manifest.layout == "rendered":
        composited = source.compositor.fields(record, source.manifest.composited)
        return encode_fields(new, composited, manifest.codecs)
    composited = source.compositor.fields(record, manifest.composited)
    if not stores_same_pixels(source.manifest, record, composited):
        raise DatasetError(
            f"{source.path}, sample {index}: compositing it again gives other pixels than the "
            "stored ones, so another version made it: keep its layout"
        )
    pixels = pixels_checksum(composited["composite"], composited["mask"])
    return replace(new, pixels=pixels if fields else None)


def _encoded(source: Dataset, manifest: m.Manifest, record: Record, name: str) -> bytes:
    """A field in the new codec; its own bytes if the codec does not change."""
    old, new = source.manifest.codecs[name], CODECS[manifest.codecs[name]]
    if new.name == old:
        return record.fields[name]
    if old in new.transcode:
        return new.transcode[old](record.fields[name])
    return new.encode(source.image(record, name))
