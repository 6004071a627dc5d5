"""Compositing on the device of the network: whole batches, from assets in the device's memory.

`Compositor` composites one sample with OpenCV. Here torch composites all samples of a batch at
once, at the size of the training. Backgrounds lie on the device at that size. Foregrounds lie there
as the same pyramids of premultiplied levels, one after another in one long tensor. Each pixel of
the canvas reads four neighbours of its level, interpolates between them (bilinear, pixel centres at
1/2), and is laid over the background. Interpolation weights are steps of 1/256, as in OpenCV's
exact interpolation, so all sums fit float32 without rounding, and the pixels equal those of
`Compositor`, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dsetkit.compositing import (
    AssetPixels,
    ForegroundPyramid,
    Placement,
    fitting_level,
    placements,
    resize_image,
    scaled_box,
)
from dsetkit.errors import DatasetError
from dsetkit.store import Record

# Pixels composited at a time: limits the memory of the neighbours, 64 bytes a pixel in float32.
PIXELS_AT_ONCE = 1 << 22

WEIGHT_STEPS = 256  # OpenCV's exact interpolation has weights in steps of 1/256

Level = tuple[int, int, int]  # first pixel in the long tensor, height [px], width [px]


@dataclass(frozen=True)
class Placements:
    """The recipes of a batch, with boxes at the size of the canvas.

    Attributes:
        backgrounds: int64 (N,), ids.
        levels: int64 (N, 3), the `Level` of each foreground.
        boxes: int64 (N, 4), x, y, width, height [px].
        flips: bool (N,).
    """

    backgrounds: torch.Tensor
    levels: torch.Tensor
    boxes: torch.Tensor
    flips: torch.Tensor

    def to(self, device: torch.device) -> "Placements":
        """The same on another device."""
        return Placements(*(part.to(device, non_blocking=True) for part in vars(self).values()))

    def pinned(self) -> "Placements":
        """The same in memory that a GPU copies from without waiting."""
        return Placements(*(part.pin_memory() for part in vars(self).values()))


class DeviceCompositor:
    """Composites batches of a dataset on a device.

    Args:
        asset: Gives the pixels of an asset, as for `Compositor`.
        num_backgrounds: Number of backgrounds.
        num_foregrounds: Number of foregrounds.
        canvas: Height and width that the boxes of the recipes refer to [px].
        size: Height and width to composite at [px].
        device: Where.
    """

    def __init__(
        self,
        asset: AssetPixels,
        *,
        num_backgrounds: int,
        num_foregrounds: int,
        canvas: tuple[int, int],
        size: tuple[int, int],
        device: torch.device | str,
    ) -> None:
        self.canvas, self.size, self.device = canvas, size, torch.device(device)
        resized = [
            resize_image(asset("backgrounds", number), size) for number in range(num_backgrounds)
        ]
        self._backgrounds = torch.from_numpy(np.stack(resized)).to(self.device)  # (B,H,W,3)
        pixels: list[np.ndarray] = []
        self._levels: list[list[Level]] = []  # of each foreground, largest first
        first = 0
        for number in range(num_foregrounds):
            pyramid = ForegroundPyramid.build(asset("foregrounds", number))
            self._levels.append([])
            for level in pyramid.levels:
                height, width = level.shape[:2]
                self._levels[-1].append((first, height, width))
                pixels.append(level.reshape(-1, 4))
                first += height * width
        self._pixels = torch.from_numpy(np.concatenate(pixels)).to(self.device)  # (pixels, 4)

    def place(self, records: Sequence[Record]) -> Placements:
        """The recipes of a batch as tensors on the CPU.

        Args:
            records: Samples with recipes of one object each; see `has_recipe`.

        Raises:
            DatasetError: A sample has no recipe, or several objects.
        """
        placed = [_only_placement(record, self.canvas) for record in records]
        boxes = [one.box for one in placed]
        if self.size != self.canvas:
            boxes = [scaled_box(box, self.canvas, self.size) for box in boxes]
        levels = [
            self._level(one.foreground, max(box[2:]))
            for one, box in zip(placed, boxes, strict=True)
        ]
        return Placements(
            torch.tensor([record.background_id() for record in records]),
            torch.tensor(levels),
            torch.tensor(boxes),
            torch.tensor([one.flip for one in placed]),
        )

    def _level(self, foreground: int, longer_side: int) -> Level:
        """The level from which a foreground is resized, for the longer side of its box [px]."""
        levels = self._levels[foreground]
        return levels[fitting_level((max(level[1:]) for level in levels), longer_side)]

    def backgrounds(self, batch: Placements) -> torch.Tensor:
        """The backgrounds of a batch: uint8 (N,3,H,W) RGB, channels-last in memory."""
        return self._backgrounds[batch.backgrounds.to(self.device)].permute(0, 3, 1, 2)

    def composite(self, batch: Placements) -> tuple[torch.Tensor, torch.Tensor]:
        """Composites a batch.

        Returns:
            Composites uint8 (N,3,H,W) RGB, channels-last in memory, and masks uint8 (N,1,H,W).
        """
        batch = batch.to(self.device)
        step = max(1, PIXELS_AT_ONCE // (self.size[0] * self.size[1]))
        parts = [
            self._composite(Placements(*(part[i : i + step] for part in vars(batch).values())))
            for i in range(0, len(batch.flips), step)
        ]
        images = torch.cat([image for image, _ in parts])
        masks = torch.cat([mask for _, mask in parts])
        return images.permute(0, 3, 1, 2), masks[:, None]

    def _composite(self, batch: Placements) -> tuple[torch.Tensor, torch.Tensor]:
        """Composites uint8 (N,H,W,3) and masks uint8 (N,H,W) of one part of a batch."""
        height, width = self.size
        x, y, box_width, box_height = batch.boxes.unbind(1)
        first, level_height, level_width = batch.levels.unbind(1)
        rows, row_weight, inside_rows = _neighbours(height, y, box_height, level_height)
        columns, column_weight, inside_columns = _neighbours(
            width, x, box_width, level_width, flips=batch.flips
        )
        inside = inside_rows[:, :, None] & inside_columns[:, None]  # (N,H,W)

        def read(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
            row_start = first[:, None, None] + row[:, :, None] * level_width[:, None, None]
            return self._pixels[row_start + column[:, None]].float()  # (N,H,W,4)

        across, down = column_weight[:, None, :, None], row_weight[:, :, None, None]
        upper, lower = (
            torch.lerp(read(row, columns[0]), read(row, columns[1]), across) for row in rows
        )
        placed = (torch.lerp(upper, lower, down) + 0.5).floor() * inside[..., None]
        alpha = placed[..., 3:]
        behind = (self._backgrounds[batch.backgrounds] * (255 - alpha) / 255).round()
        image = (behind + placed[..., :3]).clamp(max=255)
        return image.to(torch.uint8), alpha[..., 0].to(torch.uint8)


def _only_placement(record: Record, canvas: tuple[int, int]) -> Placement:
    first, *others = placements(record, canvas)
    if others:
        raise DatasetError(f"a sample has {1 + len(others)} objects: composite it on the CPU")
    return first


def _neighbours(
    length: int,
    start: torch.Tensor,
    extent: torch.Tensor,
    level: torch.Tensor,
    *,
    flips: torch.Tensor | None = None,
) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor]:
    """The pixels of a level that each pixel of a row or column of the canvas interpolates between.

    Args:
        length: Pixels of the row or column.
        start: int64 (N,), first pixel of each box.
        extent: int64 (N,), pixels of each box along the row or column.
        level: int64 (N,), pixels of each level along the row or column.
        flips: bool (N,), whether the box is mirrored along the row or column; None: never.

    Returns:
        Both neighbours, int64 (N, length); the weight of the second, float32 (N, length); and which
        pixels are inside the box, bool (N, length).
    """
    offset = torch.arange(length, device=start.device) - start[:, None]
    inside = (offset >= 0) & (offset < extent[:, None])
    if flips is not None:
        offset = torch.where(flips[:, None], extent[:, None] - 1 - offset, offset)
    position = (offset.double() + 0.5) * (level.double() / extent)[:, None] - 0.5
    last = level[:, None] - 1
    position = torch.minimum(position.clamp(min=0), last)
    first = position.floor().long()
    weight = ((position - first) * WEIGHT_STEPS).round() / WEIGHT_STEPS
    return (first, torch.minimum(first + 1, last)), weight.float(), inside
