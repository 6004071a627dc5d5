"""yolo-seg: pictures and polygons, as Ultralytics YOLO reads them for segmentation.

    DIR/images/train/000000.jpg    composites, the stored bytes
    DIR/labels/train/000000.txt    a line for each object: class, then x y of each corner in 0..1
    DIR/data.yaml                  folders of the splits, names of the classes

A line is one polygon: where an object has several parts or holes, cuts of no width join them. The
corners are centres of pixels whose mask is at least 128. The class is the name of the foreground,
or "foreground" where it is not known. Format: https://docs.ultralytics.com/datasets/segment/.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from dsetkit.errors import DatasetError
from dsetkit.files import write_whole
from dsetkit.store import SPLITS
from dsetkit.verbs.exporting.categories import category_names, category_of
from dsetkit.verbs.exporting.common import (
    Order,
    Pack,
    SampleReader,
    object_masks,
    suffix_of,
    write_new,
)

FIELDS = ("composite", "mask", "instances")
SAMPLES_PER_PACK = 200
LEAST_MASK = 128
FEWEST_CORNERS = 3


def check(order: Order) -> None:
    """Refuses what cannot be exported, before anything is written.

    Raises:
        DatasetError: The dataset has no masks.
    """
    if "mask" not in order.dataset.manifest.fields:
        raise DatasetError(f"{order.dataset.path} has no masks, which --format yolo-seg needs")


def write(order: Order) -> None:
    """Writes pictures, labels and data.yaml; existing files are kept.

    Raises:
        DsetkitError: A sample is damaged, or a file cannot be written.
    """
    names = category_names(order.dataset)
    reader = SampleReader(order.dataset, FIELDS)
    packs = order.packs(SAMPLES_PER_PACK)
    order.run(partial(_write_pack, reader, order.output, names), packs)
    write_whole(order.output / "data.yaml", data_yaml(names, list(order.splits)).encode())


def data_yaml(names: list[str], splits: list[str]) -> str:
    """data.yaml: the folders of the splits, and the names of the classes."""
    # Ultralytics asks for train and val; a folder that an export of one split lacks is that split.
    folders = {name: name if name in splits else splits[0] for name in SPLITS}
    lines = [f"{name}: images/{folder}" for name, folder in folders.items()]
    lines += ["names:", *(f"  {number}: {_quoted(name)}" for number, name in enumerate(names))]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Text as a string of YAML. JSON's strings are others: they write some characters as two."""
    shown = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(shown)}"'


def _write_pack(reader: SampleReader, output: Path, names: list[str], pack: Pack) -> None:
    for sample in reader.samples(pack.indices):
        content = sample.pictures["composite"]
        picture = output / "images" / pack.split / f"{sample.key}{suffix_of(content)}"
        label = output / "labels" / pack.split / f"{sample.key}.txt"
        write_new(picture, content)
        if not label.exists():
            objects = object_masks(sample, least=LEAST_MASK)
            lines = [_line(category_of(name, names), visible) for name, visible in objects]
            write_whole(label, "".join(lines).encode())


def _line(category: int, visible: np.ndarray) -> str:
    """The line of an object whose pixels are not 0 in uint8 (H,W)."""
    height, width = visible.shape
    corners = (one_polygon(visible) + 0.5) / (width, height)
    return f"{category} {' '.join(f'{value:.6f}' for value in corners.ravel())}\n"


def one_polygon(visible: np.ndarray) -> np.ndarray:
    """The outline of all pixels of an object as one polygon.

    Further parts, and holes, are entered and left through the same two pixels. Filled by the
    even-odd rule, or by `cv2.fillPoly`, such a cut shows only as a line between two parts.

    Args:
        visible: uint8 (H,W), not all 0.

    Returns:
        x, y of the corners, int32 (n,2), n >= 3.
    """
    contours, _ = cv2.findContours(visible, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    pieces = sorted((contour[:, 0] for contour in contours), key=len, reverse=True)
    polygon = pieces[0]
    for piece in pieces[1:]:
        distances = ((polygon[:, None] - piece[None]) ** 2).sum(axis=2)
        at, start = np.unravel_index(distances.argmin(), distances.shape)
        turned = np.roll(piece, -start, axis=0)
        cut = [polygon[: at + 1], turned, turned[:1], polygon[at:]]
        polygon = np.concatenate(cut)
    repeats = -(-FEWEST_CORNERS // len(polygon)) if len(polygon) < FEWEST_CORNERS else 1
    return np.tile(polygon, (repeats, 1))
