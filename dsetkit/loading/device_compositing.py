"""Compositing on the device of the network: whole batches, from assets in the device's memory.

`Compositor` composites one sample with OpenCV. Here torch composites all samples of a batch at
once, at the size of the training. Backgrounds lie on the device at that size. Foregrounds lie there
as the same pyramids of premultiplied levels, one after another in one long tensor. Each pixel of
the canvas reads four neighbours of its level, interpolates between them (bilinear, pixel centres at
1/2), and is laid over the background. Interpolation weights are steps of 1/256, as in OpenCV's
exact interpolation, so all sums fit float32 without rounding, and the pixels equal those of
`Compositor`, bit for bit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dsetkit.compositing import (
    HIDES_ALL,
    HIDES_NOTHING,
    OBJECT_ALPHA,
    AssetPixels,
    Compositor,
    DepthShare,
    ForegroundPyramid,
    fitting_level,
    placements,
    scaled_box,
)
from dsetkit.store import OCCLUSION, Record

# Pixels composited at a time: limits the memory of the neighbours, 64 bytes a pixel in float32.
PIXELS_AT_ONCE = 1 << 22

EFFECTS = {OCCLUSION}  # what it does besides laying alpha over

WEIGHT_STEPS = 256  # OpenCV's exact interpolation has weights in steps of 1/256

Level = tuple[int, int, int]  # first pixel in the long tensor, height [px], width [px]


@dataclass(frozen=True)
class Placements:
    """The recipes of a batch, with boxes at the size of the canvas.

    Samples with fewer than K objects are filled up with objects that are not there: their boxes are
    of 0 x 0 px.

    Attributes:
        backgrounds: int64 (N,), ids.
        levels: int64 (N, K, 3), the `Level` of each foreground; the one in front last.
        boxes: int64 (N, K, 4), x, y, width, height [px].
        flips: bool (N, K).
        planes: int64 (N, K), stored depths; 0 where an object has none.
        occluded: bool (N, K), whether nearer parts of the background hide it.
    """

    backgrounds: torch.Tensor
    levels: torch.Tensor
    boxes: torch.Tensor
    flips: torch.Tensor
    planes: torch.Tensor
    occluded: torch.Tensor

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
        depth: Turns the stored depth of a background, uint16 (H,W), to float32 of [0, 1]; None
            without scene depth.
        effects: As of `Manifest.effects`; no other than EFFECTS.
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
        depth: DepthShare | None = None,
        effects: Collection[str] = (),
    ) -> None:
        if not EFFECTS.issuperset(effects):
            raise ValueError(f"effects {', '.join(effects)}: expected only {', '.join(EFFECTS)}")
        self.canvas, self.size, self.device = canvas, size, torch.device(device)
        prepared = Compositor(asset, canvas, kept=0)
        numbers = range(num_backgrounds)
        resized = [prepared.background(number, size) for number in numbers]
        self._backgrounds = torch.from_numpy(np.stack(resized)).to(self.device)  # (B,H,W,3)
        if depth is not None:
            depths = np.stack([depth(prepared.background_depth(i, size)) for i in numbers])
            self._depths = torch.from_numpy(depths).to(self.device)  # (B,H,W)
            every_plane = depth(np.arange(2**16, dtype=np.uint16))
            self._share_of_plane = torch.from_numpy(every_plane).to(self.device)
        self._hides = OCCLUSION in effects
        if self._hides:
            stored = np.stack([prepared.background_depth(i, size) for i in numbers])
            self._stored_depths = torch.from_numpy(stored.astype(np.int32)).to(self.device)
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
            records: Samples with recipes; see `has_recipe`.

        Raises:
            DatasetError: A sample has no recipe.
        """
        placed = [placements(record, self.canvas) for record in records]
        most = max(map(len, placed))
        levels, boxes = np.zeros((len(placed), most, 3), np.int64), np.zeros((len(placed), most, 4))
        flips, planes = np.zeros((len(placed), most), bool), np.zeros((len(placed), most), np.int64)
        occluded = np.zeros_like(flips)
        levels[..., 1:] = 1  # of objects that are not there
        for i, objects in enumerate(placed):
            for k, (foreground, flip, box, plane, hidden, _) in enumerate(objects):
                if self.size != self.canvas:
                    box = scaled_box(box, self.canvas, self.size)
                levels[i, k] = self._level(foreground, max(box[2:]))
                boxes[i, k], flips[i, k], planes[i, k] = box, flip, plane or 0
                occluded[i, k] = hidden
        return Placements(
            torch.tensor([record.background_id() for record in records]),
            torch.from_numpy(levels),
            torch.from_numpy(boxes.astype(np.int64)),
            torch.from_numpy(flips),
            torch.from_numpy(planes),
            torch.from_numpy(occluded),
        )

    def _level(self, foreground: int, longer_side: int) -> Level:
        """The level from which a foreground is resized, for the longer side of its box [px]."""
        levels = self._levels[foreground]
        return levels[fitting_level((max(level[1:]) for level in levels), longer_side)]

    def backgrounds(self, batch: Placements) -> torch.Tensor:
        """The backgrounds of a batch: uint8 (N,3,H,W) RGB, channels-last in memory."""
        return self._backgrounds[batch.backgrounds.to(self.device)].permute(0, 3, 1, 2)

    def composite(self, batch: Placements, names: Collection[str]) -> dict[str, torch.Tensor]:
        """Composites a batch.

        Args:
            batch: What `place` gave.
            names: Of `composite`, `mask`, `depth` (with scene depth) and `instances`.

        Returns:
            Composites uint8 (N,3,H,W) RGB, channels-last in memory, masks uint8 (N,1,H,W), depth
            float32 (N,1,H,W) in [0, 1], and instances uint8 (N,1,H,W); those of `names`.
        """
        batch = batch.to(self.device)
        step = max(1, PIXELS_AT_ONCE // (self.size[0] * self.size[1]))
        parts = [
            self._composite(
                Placements(*(part[i : i + step] for part in vars(batch).values())), names
            )
            for i in range(0, len(batch.flips), step)
        ]
        fields = {name: torch.cat([part[name] for part in parts]) for name in names}
        return {
            name: values.permute(0, 3, 1, 2) if name == "composite" else values[:, None]
            for name, values in fields.items()
        }

    def _composite(self, batch: Placements, names: Collection[str]) -> dict[str, torch.Tensor]:
        """Fields (N,H,W) or (N,H,W,3) of one part of a batch."""
        image = self._backgrounds[batch.backgrounds].float()
        mask = torch.zeros(image.shape[:3], device=self.device)
        instances = torch.zeros_like(mask) if "instances" in names else None
        depth = self._depths[batch.backgrounds] if "depth" in names else None
        for k in range(batch.flips.shape[1]):
            placed = self._placed(batch.levels[:, k], batch.boxes[:, k], batch.flips[:, k])
            if self._hides:
                placed = self._seen(placed, batch, k)
            alpha = placed[..., 3]
            image = self._behind(image, alpha[..., None]) + placed[..., :3]
            mask = self._behind(mask, alpha) + alpha
            is_object = alpha >= OBJECT_ALPHA
            if instances is not None:
                instances = torch.where(is_object, k + 1, instances)
            if depth is not None:
                share = self._share_of_plane[batch.planes[:, k]][:, None, None]
                depth = torch.where(is_object, share, depth)
        fields = {
            "composite": image.clamp(max=255).to(torch.uint8),
            "mask": mask.to(torch.uint8),
        }
        if instances is not None:
            fields["instances"] = instances.to(torch.uint8)
        if depth is not None:
            fields["depth"] = depth
        return {name: fields[name] for name in names}

    def _seen(self, placed: torch.Tensor, batch: Placements, k: int) -> torch.Tensor:
        """What is seen of the k-th object of each sample, (N,H,W,4); see `occlusion`."""
        plane = batch.planes[:, k, None, None].clamp(min=1)
        depth = self._stored_depths[batch.backgrounds].long()  # (N,H,W)
        share = (depth * 100 - HIDES_ALL * plane) * 255 // ((HIDES_NOTHING - HIDES_ALL) * plane)
        is_free = (depth == 0) | ~batch.occluded[:, k, None, None]
        share = torch.where(is_free, 255, share.clamp(0, 255))
        return (placed * share[..., None] / 255).round()

    def _behind(self, values: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """What is seen of values of 0..255 behind an alpha of 0..255; see `placing.alpha_over`."""
        return (values * (255 - alpha) / 255).round()

    def _placed(
        self, levels: torch.Tensor, boxes: torch.Tensor, flips: torch.Tensor
    ) -> torch.Tensor:
        """One foreground of each sample on an empty canvas: float32 (N,H,W,4), premultiplied.

        Args:
            levels: int64 (N, 3).
            boxes: int64 (N, 4).
            flips: bool (N,).
        """
        height, width = self.size
        x, y, box_width, box_height = boxes.unbind(1)
        first, level_height, level_width = levels.unbind(1)
        rows, row_weight, inside_rows = _neighbours(height, y, box_height, level_height)
        columns, column_weight, inside_columns = _neighbours(
            width, x, box_width, level_width, flips=flips
        )
        inside = inside_rows[:, :, None] & inside_columns[:, None]  # (N,H,W)

        def read(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
            row_start = first[:, None, None] + row[:, :, None] * level_width[:, None, None]
            return self._pixels[row_start + column[:, None]].float()  # (N,H,W,4)

        across, down = column_weight[:, None, :, None], row_weight[:, :, None, None]
        upper, lower = (
            torch.lerp(read(row, columns[0]), read(row, columns[1]), across) for row in rows
        )
        return (torch.lerp(upper, lower, down) + 0.5).floor() * inside[..., None]


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
    scale = level.double() / extent.clamp(min=1)
    position = (offset.double() + 0.5) * scale[:, None] - 0.5
    last = level[:, None] - 1
    position = torch.minimum(position.clamp(min=0), last)
    first = position.floor().long()
    weight = ((position - first) * WEIGHT_STEPS).round() / WEIGHT_STEPS
    return (first, torch.minimum(first + 1, last)), weight.float(), inside
