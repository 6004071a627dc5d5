"""webdataset: tar shards that `webdataset` reads, made with the standard library alone.

    DIR/train-000000.tar      KEY.composite.jpg|png   the stored bytes
    DIR/train-000001.tar      KEY.mask.png            8-bit alpha
    DIR/val-000000.tar        KEY.depth.png           uint16 as stored, 0 = invalid
    DIR/dataset.json          KEY.background.png|jpg  the background as stored
                              KEY.instances.png       where the dataset has them
                              KEY.json                the row of `SampleTable`

The files of a sample stand side by side and share the key, which ends at the first dot, as in
https://github.com/webdataset/webdataset. Owner and time of all files are fixed, so that the same
samples always give the same bytes.
"""

import io
import json
import tarfile
from functools import partial
from pathlib import Path

from dsetkit.files import replacing
from dsetkit.verbs.exporting.common import Order, Pack, SampleReader, suffix_of

FIELDS = ("background", "composite", "mask", "depth", "instances")


def write(order: Order) -> None:
    """Writes the shards; whole ones are kept.

    Raises:
        DsetkitError: A sample is damaged, or a shard cannot be written.
    """
    reader = SampleReader(order.dataset, FIELDS)
    order.run(partial(_write_shard, reader, order.output), order.packs(order.shard_size))


def _write_shard(reader: SampleReader, output: Path, pack: Pack) -> None:
    path = output / f"{pack.split}-{pack.number:06d}.tar"
    if path.exists():
        return
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard,
    ):
        for sample in reader.samples(pack.indices):
            for name, content in sample.pictures.items():
                _add(shard, f"{sample.key}.{name}{suffix_of(content)}", content)
            _add(shard, f"{sample.key}.json", json.dumps(sample.row).encode())


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(content), 0o644
    shard.addfile(about, io.BytesIO(content))
