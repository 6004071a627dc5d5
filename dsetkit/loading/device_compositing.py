"""Composites and masks drawn where the network is: whole batches, from assets that lie on the card.

What `redraw` does for one sample with OpenCV, torch does here for all samples of a batch at once,
at the size of the training. Backgrounds lie there at that size; foregrounds as the same pyramids of
premultiplied levels, one after another in one long tensor. A pixel of the canvas asks its level for
four neighbours and mixes them (bilinear, pixel centres at 1/2), then lies over the background.
Shares are steps of 1/256 as in OpenCV's exact interpolation, so all sums fit float32 without
rounding, and the pixels are those of `redraw`, bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dsetkit.compositing import ForegroundPyramid, fitting_level, resize_image, scaled_box
from dsetkit.store import Record

# Pixels drawn at a time: bounds the memory of the neighbours, 64 bytes a pixel in float32.
PIXELS_AT_ONCE = 1 << 22

SHARES = 256  # OpenCV's exact interpolation knows shares of a neighbour in steps of 1/256


@dataclass(frozen=True)
class Placements:
    """What to draw: the recipes of a batch, boxes at the size of the canvas they are drawn on.

    Attributes:
        backgrounds: int64 (N,) ids.
        levels: int64 (N, 3): where each foreground's level begins, its height and its width [px].
        boxes: int64 (N, 4): x, y, width, height [px].
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
        """The same in memory that a GPU reads without waiting."""
        return Placements(*(part.pin_memory() for part in vars(self).values()))


class DeviceCompositor:
    """Draws batches of a dataset on a device.

    Args:
        asset: As `redraw.Compositor`: (`backgrounds` or `foregrounds`, id) -> uint8 pixels.
        num_backgrounds: How many there are.
        num_foregrounds: How many there are.
        canvas: Height and width that the recipes were made for [px].
        size: Height and width to draw at [px].
        device: Where.
    """

    def __init__(
        self,
        asset: Callable[[str, int], np.ndarray],
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
        levels: list[np.ndarray] = []
        self._levels: list[list[tuple[int, int, int]]] = []  # of each foreground, largest first
        begin = 0
        for number in range(num_foregrounds):
            pyramid = ForegroundPyramid.build(asset("foregrounds", number))
            self._levels.append([])
            for level in pyramid.levels:
                self._levels[-1].append((begin, *level.shape[:2]))
                levels.append(level.reshape(-1, 4))
                begin += len(levels[-1])
        self._pixels = torch.from_numpy(np.concatenate(levels)).to(self.device)  # (pixels, 4)

    def place(self, records: Sequence[Record]) -> Placements:
        """The recipes of a batch as tensors, on the CPU; each with the level it is drawn from."""
        boxes = [tuple(record.recipe["box"]) for record in records]
        if self.size != self.canvas:
            boxes = [scaled_box(box, self.canvas, self.size) for box in boxes]
        levels = [
            self._level(record.foreground, max(box[2:]))
            for record, box in zip(records, boxes, strict=True)
        ]
        return Placements(
            torch.tensor([record.background for record in records]),
            torch.tensor(levels),
            torch.tensor(boxes),
            torch.tensor([record.recipe["flip"] for record in records]),
        )

    def _level(self, foreground: int, wanted: int) -> tuple[int, int, int]:
        levels = self._levels[foreground]
        return levels[fitting_level((max(level[1:]) for level in levels), wanted)]

    def backgrounds(self, batch: Placements) -> torch.Tensor:
        """The backgrounds of a batch: uint8 (N,3,H,W) RGB, channels-last in memory."""
        return self._backgrounds[batch.backgrounds.to(self.device)].permute(0, 3, 1, 2)

    def composite(self, batch: Placements) -> tuple[torch.Tensor, torch.Tensor]:
        """Composites uint8 (N,3,H,W) RGB, channels-last in memory, and masks uint8 (N,1,H,W)."""
        batch = batch.to(self.device)
        step = max(1, PIXELS_AT_ONCE // (self.size[0] * self.size[1]))
        parts = [
            self._composite(Placements(*(part[i : i + step] for part in vars(batch).values())))
            for i in range(0, len(batch.flips), step)
        ]
        images, masks = (torch.cat(one) for one in zip(*parts, strict=True))
        return images.permute(0, 3, 1, 2), masks[:, None]

    def _composite(self, batch: Placements) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = self.size
        x, y, box_width, box_height = batch.boxes.unbind(1)
        begin, level_height, level_width = batch.levels.unbind(1)
        rows, row_share, inside_rows = _neighbours(height, y, box_height, level_height)
        columns, column_share, inside_columns = _neighbours(
            width, x, box_width, level_width, flips=batch.flips
        )
        inside = inside_rows[:, :, None] & inside_columns[:, None]  # (N,H,W)

        def read(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
            at = begin[:, None, None] + row[:, :, None] * level_width[:, None, None]
            return self._pixels[at + column[:, None]].float()  # (N,H,W,4)

        across, down = column_share[:, None, :, None], row_share[:, :, None, None]
        upper, lower = (
            torch.lerp(read(row, columns[0]), read(row, columns[1]), across) for row in rows
        )
        placed = (torch.lerp(upper, lower, down) + 0.5).floor() * inside[..., None]
        alpha = placed[..., 3:]
        behind = (self._backgrounds[batch.backgrounds] * (255 - alpha) / 255).round()
        image = (behind + placed[..., :3]).clamp(max=255)
        return image.to(torch.uint8), alpha[..., 0].to(torch.uint8)


def _neighbours(
    length: int,
    start: torch.Tensor,
    extent: torch.Tensor,
    level: torch.Tensor,
    *,
    flips: torch.Tensor | None = None,
) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Where each pixel of a line of the canvas looks in the level that is drawn there.

    Args:
        length: Of the line [px].
        start: (N,) first pixel of the box.
        extent: (N,) pixels of the box.
        level: (N,) pixels of the level.
        flips: (N,) whether the line runs backwards.

    Returns:
        Both neighbours (N, length), the share of the second, and which pixels are in the box.
    """
    at = torch.arange(length, device=start.device) - start[:, None]
    inside = (at >= 0) & (at < extent[:, None])
    if flips is not None:
        at = torch.where(flips[:, None], extent[:, None] - 1 - at, at)
    looked_at = (at.double() + 0.5) * (level.double() / extent)[:, None] - 0.5
    last = level[:, None] - 1
    looked_at = torch.minimum(looked_at.clamp(min=0), last)
    first = looked_at.floor().long()
    share = ((looked_at - first) * SHARES).round() / SHARES
    return (first, torch.minimum(first + 1, last)), share.float(), inside
