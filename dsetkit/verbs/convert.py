"""convert(...): the same samples in another layout, or with other codecs, as a dataset of its own.

Nothing is lost either way. Recipes become pictures by drawing them, as `generate` would have done,
byte for byte. Pictures become recipes only if drawing gives exactly what is stored; depths change
their packing, not their values.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from dsetkit.compositing import (
    compositing_fingerprint,
    encode_composite,
    has_recipe,
    pixels_checksum,
    stores_same_pixels,
)
from dsetkit.datasets import Dataset, DatasetWriter, stored_assets
from dsetkit.errors import DatasetError
from dsetkit.store import CODECS, Record, chosen_codecs
from dsetkit.store import manifest as m

SAMPLES_PER_JOB = 64
JOBS_AHEAD = 4  # per thread: bounds the memory of what waits to be written


def convert(
    path: Path,
    output: Path,
    *,
    layout: str,
    codecs: Mapping[str, str] | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Makes a dataset of the same samples, or continues one that was cut off.

    Args:
        path: A complete dataset; it is only read.
        output: Directory of the new one.
        layout: `rendered` or `recipe`.
        codecs: Codec names by field, where they shall not be the layout's own or, within a
            layout, those they were.
        jobs: Threads; None = one for each core.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete new dataset.

    Raises:
        DatasetError: A sample that cannot be drawn as it is stored, or anything `Dataset` and
            `DatasetWriter` raise.
    """
    source = Dataset(path)
    if Path(output).resolve() == Path(path).resolve():
        raise DatasetError(f"--output {output} is the dataset itself: choose another directory")
    manifest = _describe(source.manifest, layout, codecs or {})
    with DatasetWriter(
        output,
        manifest,
        source.cells,
        backgrounds=stored_assets(source, "backgrounds"),
        foregrounds=stored_assets(source, "foregrounds"),
    ) as writer:
        for records in _converted(source, manifest, writer.count, jobs or os.cpu_count() or 1):
            writer.add(records)
            progress(writer.count, len(source))
        return writer.finish()


def _describe(there: m.Manifest, layout: str, wanted: Mapping[str, str]) -> m.Manifest:
    """The new manifest; within a layout, what is not asked for keeps its codec."""
    codecs = chosen_codecs(layout, wanted)
    if layout == there.layout:
        codecs = there.codecs | dict(wanted)
    return replace(
        there,
        complete=False,
        shard=m.ONLY_SHARD,
        layout=layout,
        codecs={name: codecs[name] for name in there.fields if name in codecs},
        drawing=compositing_fingerprint() if layout == "recipe" else "",
    )


def _converted(
    source: Dataset, manifest: m.Manifest, first: int, jobs: int
) -> Iterator[list[Record]]:
    """The samples from index `first` on, in order."""
    starts = range(first, len(source), SAMPLES_PER_JOB)
    with ThreadPoolExecutor(jobs) as pool:
        for group in range(0, len(starts), JOBS_AHEAD * jobs):
            batches = [
                range(start, min(start + SAMPLES_PER_JOB, len(source)))
                for start in starts[group : group + JOBS_AHEAD * jobs]
            ]
            yield from pool.map(partial(_convert_batch, source, manifest), batches)


def _convert_batch(source: Dataset, manifest: m.Manifest, indices: Sequence[int]) -> list[Record]:
    records = zip(indices, source.records(indices), strict=True)
    return [_convert(source, manifest, index, record) for index, record in records]


def _convert(source: Dataset, manifest: m.Manifest, index: int, record: Record) -> Record:
    fields = {}
    if "depth" in manifest.codecs:
        fields["depth"] = _repacked(source, manifest, record, "depth")
    if manifest.layout == "rendered" and source.manifest.layout == "rendered":
        names = [name for name in manifest.codecs if name != "depth"]
        fields |= {name: _repacked(source, manifest, record, name) for name in names}
        return replace(record, fields=fields)
    if not has_recipe(record):
        raise DatasetError(
            f"{source.path}, sample {index} was imported, not drawn: there is no recipe to keep "
            "in place of its pictures"
        )
    image, mask = source.compositor.composite(record)
    plain = replace(record, fields=fields)
    if manifest.layout == "rendered":
        return encode_composite(plain, image, mask, manifest.codecs)
    if source.manifest.layout == "rendered":
        if not stores_same_pixels(source.manifest, record, image, mask):
            raise DatasetError(
                f"{source.path}, sample {index}: drawing it again gives other pixels than are "
                "stored, so it was made by another version; keep it as it is"
            )
        plain = replace(plain, drawn=pixels_checksum(image, mask) if fields else None)
    return plain


def _repacked(source: Dataset, manifest: m.Manifest, record: Record, name: str) -> bytes:
    """A field in the new codec; as it lies if it had that before."""
    if source.manifest.codecs[name] == manifest.codecs[name]:
        return record.fields[name]
    return CODECS[manifest.codecs[name]].encode(source.image(record, name))
