"""coco: pictures, and one JSON of COCO annotations for each split.

    DIR/train/000000.jpg                     composites, the stored bytes
    DIR/annotations/instances_train.json     images, annotations, categories

An annotation is one object: the pixels whose mask is at least 128, as compressed RLE, with its
bounding box and area. With `instances`, each object of a sample has its own visible pixels.
The category is the name of the foreground, or "foreground" where it is not known.
Format: https://cocodataset.org/#format-data. The id of a picture is the index of its sample.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dsetkit.errors import DatasetError
from dsetkit.extras import extra_module
from dsetkit.files import write_whole
from dsetkit.store import MOST_OBJECTS
from dsetkit.verbs.exporting.categories import category_names, category_of
from dsetkit.verbs.exporting.common import (
    Order,
    Pack,
    Sample,
    SampleReader,
    decoded,
    object_masks,
    suffix_of,
    write_new,
)

FIELDS = ("composite", "mask", "instances")
SAMPLES_PER_PACK = 200
PARTS = ".parts"  # annotations of packs, until all of a split are there
LEAST_MASK = 128
IDS_PER_SAMPLE = MOST_OBJECTS + 1


def check(order: Order) -> None:
    """Refuses what cannot be exported, before anything is written.

    Raises:
        DsetkitError: The dataset has no masks, or pycocotools is missing.
    """
    if "mask" not in order.dataset.manifest.fields:
        raise DatasetError(f"{order.dataset.path} has no masks, which --format coco needs")
    extra_module("pycocotools.mask", extra="exports", purpose="--format coco")


def write(order: Order) -> None:
    """Writes pictures and annotations; existing files are kept.

    Raises:
        DsetkitError: A sample is damaged, or a file cannot be written.
    """
    names = category_names(order.dataset)
    reader = SampleReader(order.dataset, FIELDS)
    packs = order.packs(SAMPLES_PER_PACK)
    order.run(partial(_write_pack, reader, order.output, names), packs)
    for split in order.splits:
        path = _annotations(order.output, split)
        if not path.exists():
            parts = [_part(order.output, pack) for pack in packs if pack.split == split]
            write_whole(path, partial(_join, names, parts))
    shutil.rmtree(order.output / PARTS, ignore_errors=True)


def _annotations(output: Path, split: str) -> Path:
    return output / "annotations" / f"instances_{split}.json"


def _part(output: Path, pack: Pack) -> Path:
    return output / PARTS / f"{pack.split}-{pack.number:06d}.jsonl"


def _write_pack(reader: SampleReader, output: Path, names: list[str], pack: Pack) -> None:
    """Writes the pictures of a pack, and then a file with a line for each sample."""
    part = _part(output, pack)
    if part.exists() or _annotations(output, pack.split).exists():
        return
    lines = []
    for sample in reader.samples(pack.indices):
        content = sample.pictures["composite"]
        file = f"{sample.key}{suffix_of(content)}"
        write_new(output / pack.split / file, content)
        lines.append(json.dumps(_described(sample, file, names)))
    write_whole(part, "".join(f"{line}\n" for line in lines).encode())


def _described(sample: Sample, file: str, names: list[str]) -> dict[str, Any]:
    """The entry `image` of a sample and its `annotations`."""
    rle = extra_module("pycocotools.mask", extra="exports", purpose="--format coco")
    index = int(sample.row["index"])
    height, width = decoded(sample, "mask").shape
    image = {"id": index, "file_name": file, "height": height, "width": width}
    annotations = []
    objects = object_masks(sample, least=LEAST_MASK)
    for number, (name, visible) in enumerate(objects, start=1):
        encoded = rle.encode(np.asfortranarray(visible))
        annotations.append(
            {
                "id": index * IDS_PER_SAMPLE + number,
                "image_id": index,
                "category_id": category_of(name, names) + 1,
                "bbox": rle.toBbox(encoded).tolist(),
                "area": int(visible.sum()),
                "iscrowd": 0,
                "segmentation": {
                    "size": [height, width],
                    "counts": encoded["counts"].decode("ascii"),
                },
            }
        )
    return {"image": image, "annotations": annotations}


def _join(names: list[str], parts: list[Path], file: BinaryIO) -> None:
    """Writes the JSON of a split, entry by entry."""
    categories = [
        {"id": number, "name": name, "supercategory": "foreground"}
        for number, name in enumerate(names, start=1)
    ]
    file.write(b'{"info": {"description": "exported by dsetkit"},\n"categories": ')
    file.write(json.dumps(categories).encode())
    file.write(b',\n"images": [')
    _write_entries(file, (line["image"] for line in _lines(parts)))
    file.write(b'],\n"annotations": [')
    _write_entries(file, (one for line in _lines(parts) for one in line["annotations"]))
    file.write(b"]}\n")


def _lines(parts: list[Path]) -> Iterator[dict[str, Any]]:
    for part in parts:
        with part.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def _write_entries(file: BinaryIO, entries: Iterable[dict[str, Any]]) -> None:
    for number, entry in enumerate(entries):
        file.write(b",\n" if number else b"\n")
        file.write(json.dumps(entry).encode())
