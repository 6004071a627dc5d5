"""Masks in a COCO file of annotations: polygons, and run lengths as numbers or as text.

Format: https://cocodataset.org/#format-data. Run lengths are decoded here, not by pycocotools,
because its C code trusts them. Crowds are left out.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np

from dsetkit.assets import MAX_MEGAPIXELS, Picture, read_file
from dsetkit.cutting.sources import Found, MaskOf, ReadsFiles, Shot, file_name, stem_of, turned_with
from dsetkit.errors import AssetError, one_line, printable
from dsetkit.importing import pictures_below

LARGEST_FILE = 4 * 2**30  # bytes
SUBPIXEL_BITS = 4  # of polygons' corners
LARGER = 4  # times, while a polygon is drawn
BITS, MORE, SIGN = 5, 0x20, 0x10  # of a character of compressed run lengths
MOST_CHARACTERS = 7  # of one number: 32 bits

_Side = Annotated[int, msgspec.Meta(ge=1, le=2**20)]


class _Image(msgspec.Struct):
    id: int
    file_name: str
    height: _Side
    width: _Side


class _Annotation(msgspec.Struct):
    id: int
    image_id: int
    category_id: int = 0
    iscrowd: int = 0
    segmentation: Any = None


class _Category(msgspec.Struct):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = []


@dataclass(frozen=True)
class Segmentation:
    """An annotation's mask, as it stands in the file.

    Attributes:
        size: Height and width of the picture, as the file says [px].
        content: Polygons, or run lengths.
    """

    size: tuple[int, int]
    content: Any


@dataclass(frozen=True)
class CocoMasks(ReadsFiles):
    """Annotations of instances in COCO's format.

    Attributes:
        file: The JSON.
    """

    file: Path
    runs_alone = False
    folders = ()

    def describe(self) -> dict[str, object]:
        return {"coco": str(self.file.absolute())}

    def find(self, images: Path) -> Found:
        content = self._read()
        shown = printable(self.file)
        paths = {name: images / name for name in pictures_below(images)}
        for file in list(paths.values()):
            paths.setdefault(file.name, file)  # file_name may have no folder, or another one
        names = {one.id: file_name(one.name) for one in content.categories}
        of_image: dict[int, list[_Annotation]] = defaultdict(list)
        for one in content.annotations:
            of_image[one.image_id].append(one)
        shots, bad, crowds = [], [], 0
        for image in content.images:
            annotations = of_image.pop(image.id, [])
            crowds += sum(one.iscrowd != 0 for one in annotations)
            annotations = [one for one in annotations if not one.iscrowd]
            if not annotations:
                continue
            wanted = image.file_name.replace("\\", "/")
            path = paths.get(wanted) or paths.get(wanted.rpartition("/")[2])
            if path is None:
                name = printable(image.file_name[:200])
                bad.append(f"{shown} names {name}, which is not in {printable(images)}")
                continue
            stem = stem_of(path.name)
            masks = tuple(
                MaskOf(
                    f"{stem}_{names.get(one.category_id, 'unnamed')}_{one.id}",
                    Segmentation((image.height, image.width), one.segmentation),
                )
                for one in annotations
            )
            shots.append(Shot(path, masks))
        if of_image:
            unknown = next(iter(of_image))
            bad.append(f"{shown} has annotations of picture {unknown}, which it does not name")
        return Found(shots, bad, crowds)

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(read_file(self.file, at_most=LARGEST_FILE), type=_File)
        except AssetError as error:
            raise AssetError(f"{printable(self.file)}: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise AssetError(
                f"{printable(self.file)} is no COCO file of instances ({one_line(error)}): "
                "expected JSON with images, annotations and categories"
            ) from None

    def decode(self, picture: Picture, colours: np.ndarray, mask: MaskOf) -> np.ndarray:
        assert isinstance(mask.stored, Segmentation)
        try:
            return turned_with(picture, decode_segmentation(mask.stored))
        except AssetError as error:
            raise AssetError(f"annotation {mask.name.rpartition('_')[2]}: {error}") from None


def decode_segmentation(segmentation: Segmentation) -> np.ndarray:
    """The mask of a segmentation: uint8 (H,W) of 0 and 255.

    Raises:
        AssetError: It cannot be decoded; the message is the reason alone.
    """
    height, width = segmentation.size
    if height * width > MAX_MEGAPIXELS * 1_000_000:
        raise AssetError(f"{width} x {height} px, over {MAX_MEGAPIXELS} megapixels")
    content = segmentation.content
    if isinstance(content, list):
        return _filled(content, height, width)
    if not isinstance(content, dict) or content.get("size") != [height, width]:
        raise AssetError("no segmentation of the picture's size: expected polygons or RLE")
    counts = content.get("counts")
    runs = _text_as_runs(counts) if isinstance(counts, str) else _whole_numbers(counts)
    if runs.min(initial=0) < 0 or runs.sum() != height * width:
        raise AssetError(f"run lengths that do not add up to {height * width:,} pixels")
    values = np.zeros(len(runs), np.uint8)
    values[1::2] = 255
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def _filled(polygons: list[Any], height: int, width: int) -> np.ndarray:
    """All polygons, each a list x, y, x, y, ... in pixels from the top left corner."""
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        try:
            corners = np.array(polygon, np.float64).reshape(-1, 2)
        except (TypeError, ValueError, OverflowError):
            raise AssetError("a polygon that is no list of x, y, x, y, ...") from None
        if len(corners) < 3 or not np.isfinite(corners).all():
            raise AssetError("a polygon of fewer than three corners, or of no numbers")
        corners = np.clip(corners, 0, (width, height))
        left, top = np.floor(corners.min(axis=0)).astype(int)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int)
        # Drawn larger, because OpenCV also draws all pixels that the outline touches.
        drawn = np.zeros(((bottom - top) * LARGER, (right - left) * LARGER), np.uint8)
        if drawn.size:
            fine = (corners - (left, top)) * LARGER - 0.5  # OpenCV counts from centres of pixels
            fixed = np.rint(fine * 2**SUBPIXEL_BITS).astype(np.int32)
            cv2.fillPoly(drawn, [fixed], 255, shift=SUBPIXEL_BITS)
            size = (int(right - left), int(bottom - top))
            covered = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA) > 127
            mask[top:bottom, left:right][covered] = 255
    return mask


def _whole_numbers(counts: Any) -> np.ndarray:
    is_list = isinstance(counts, list) and all(type(count) is int for count in counts)
    if not is_list or max(counts, default=0) > 2**31 or min(counts, default=0) < 0:
        raise AssetError("run lengths that are no whole numbers")
    return np.array(counts, np.int64)


def _text_as_runs(text: str) -> np.ndarray:
    """Run lengths from their compressed form; source: `rleFrString` in cocoapi/common/maskApi.c.

    A number is cut into groups of 5 bits, lowest first. A character is a group plus 48, with bit
    0x20 if more follow. From the third run on, the difference to the run before the last is kept.
    """
    runs: list[int] = []
    value = count = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or count >= MOST_CHARACTERS:
            raise AssetError("run lengths that are no RLE text")
        value |= (bits & (MORE - 1)) << (BITS * count)
        count += 1
        if bits & MORE:
            continue
        if bits & SIGN:
            value -= 1 << (BITS * count)
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        if not 0 <= runs[-1] <= 2**31:
            raise AssetError("run lengths that are no RLE text")
        value = count = 0
    return np.array(runs, np.int64)
