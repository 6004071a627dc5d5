"""Composites and masks as student projects made them: Pillow, a JPEG file each, one zip at the end.

Depth is no part of it. Kind to it: pictures are opened once, not anew for each sample; backgrounds
come at the canvas's size; the JPEG quality is Pillow's own (75), which is quicker than ours (95).
"""

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageOps

from dsetkit.store.records import Record


def open_backgrounds(paths: Iterable[Path], size: int) -> list[Image.Image]:
    """Photographs, the square in their middle at size x size [px]."""
    return [ImageOps.fit(Image.open(path).convert("RGB"), (size, size)) for path in paths]


def open_foregrounds(paths: Iterable[Path]) -> list[Image.Image]:
    """Cut-outs as RGBA at their own size, cropped to what is visible, as the boxes take them."""
    opened = [Image.open(path).convert("RGBA") for path in paths]
    return [one.crop(one.getchannel("A").getbbox()) for one in opened]


def make(
    records: Iterable[Record],
    backgrounds: list[Image.Image],
    foregrounds: list[Image.Image],
    folder: Path,
) -> int:
    """Makes samples of a dataset once more, as files and a zip of them.

    Args:
        records: The samples: ids of both pictures, flip and box.
        backgrounds: By id.
        foregrounds: By id.
        folder: Where the files go; what is there goes first.

    Returns:
        How many samples there were.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    count = 0
    for count, record in enumerate(records, start=1):
        x, y, width, height = record.recipe["box"]
        cut_out = foregrounds[record.foreground].resize((width, height))
        if record.recipe["flip"]:
            cut_out = ImageOps.mirror(cut_out)
        composite = backgrounds[record.background].copy()
        composite.paste(cut_out, (x, y), cut_out)
        composite.save(folder / f"composite{count}.jpg")
        mask = Image.new("L", composite.size)
        mask.paste(cut_out.getchannel("A"), (x, y))
        mask.save(folder / f"mask{count}.jpg")
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, path.name)
    return count
