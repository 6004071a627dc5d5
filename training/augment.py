"""Augmentation of whole batches on their device; each sample draws its own numbers.

A batch is a dict of float32 fields (N, C, H, W) in [0, 1]: `composite` and `background` (RGB),
`mask`, `depth` (0 = invalid). Functions change the fields that are there and keep them aligned.
They draw from torch's CPU generator, so that a seed gives the same pictures on any device.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torchvision.transforms.v2.functional import rgb_to_grayscale

from training.errors import RunError

Batch = dict[str, torch.Tensor]
Augmentation = Callable[[Batch], Batch]

PICTURES = ("composite", "background")
FULL = ("flip", "scale", "colour")


def make_augment(spec: str, *, depth_is_metric: bool = True) -> Augmentation:
    """Builds an augmentation from its name.

    Args:
        spec: "none", "full" (= "flip+scale+colour"), or names of AUGMENTATIONS joined by "+".
        depth_is_metric: False for relative depth, which enlarging leaves as it is.

    Raises:
        RunError: unknown name; the known ones are listed.
    """
    names = {"none": (), "full": FULL}.get(spec, spec.split("+"))
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        known = ", ".join(["none", "full", *AUGMENTATIONS])
        raise RunError(f"no augmentation {unknown[0]!r} in {spec!r}: expected {known}, or a+b")

    scale = partial(scale_and_crop, depth_is_metric=depth_is_metric)
    steps = [(AUGMENTATIONS | {"scale": scale})[name] for name in names]

    def augment(batch: Batch) -> Batch:
        for step in steps:
            batch = step(batch)
        return batch

    return augment


def horizontal_flip(batch: Batch) -> Batch:
    """Mirrors half of the samples, all their fields alike."""
    flipped = _uniform(batch, 0, 1) < 0.5
    return {name: torch.where(flipped, x.flip(-1), x) for name, x in batch.items()}


def scale_and_crop(batch: Batch, *, max_scale: float = 1.5, depth_is_metric: bool = True) -> Batch:
    """Enlarges each sample by s in [1, max_scale] and crops it at random to the old size.

    What looks s times larger is s times nearer, so metric depth is divided by s. Depth is taken
    from the nearest pixel: no mixing with invalid ones.
    """
    scale = _uniform(batch, 1, max_scale)  # (N, 1, 1, 1)
    reach = 1 - 1 / scale  # how far the crop's centre may move from the middle, in half sides
    shift_x, shift_y = (reach * _uniform(batch, -1, 1) for _ in range(2))
    zero = torch.zeros_like(scale)
    rows = [1 / scale, zero, shift_x, zero, 1 / scale, shift_y]
    theta = torch.stack(rows, dim=-1).view(-1, 2, 3)  # (N, 2, 3)
    grid = F.affine_grid(theta, next(iter(batch.values())).shape, align_corners=False)

    def crop(name: str, x: torch.Tensor) -> torch.Tensor:
        mode = "nearest" if name == "depth" else "bilinear"
        x = F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=False)
        return x / scale if name == "depth" and depth_is_metric else x

    return {name: crop(name, x) for name, x in batch.items()}


def colour_jitter(batch: Batch, *, strength: float = 0.3) -> Batch:
    """Changes brightness, contrast, saturation and colour balance of each sample's pictures.

    Composite and background change by the same map of colours: where they were equal they stay so.
    """
    brightness, contrast, saturation = (
        _uniform(batch, 1 - strength, 1 + strength) for _ in range(3)
    )
    gain = _uniform(batch, 1 - strength / 3, 1 + strength / 3, channels=3)  # colour of the light
    grey_level = rgb_to_grayscale(batch["composite"]).mean(dim=(1, 2, 3), keepdim=True)

    def jitter(picture: torch.Tensor) -> torch.Tensor:
        picture = torch.lerp(grey_level, picture, contrast)
        picture = torch.lerp(rgb_to_grayscale(picture), picture, saturation)
        return (picture * brightness * gain).clamp(0, 1)

    return {name: jitter(x) if name in PICTURES else x for name, x in batch.items()}


def cut_depth(batch: Batch, *, probability: float = 0.5, max_share: float = 0.75) -> Batch:
    """Shows the depth itself in a rectangle of the composite (CutDepth, arXiv 2107.07684).

    Raises:
        RunError: the batch has no depth.
    """
    if "depth" not in batch:
        raise RunError("--augment cutdepth shows depth in the picture: only for depth training")
    height, width = batch["depth"].shape[-2:]
    inside = _uniform(batch, 0, 1) < probability
    for axis, side in ((-2, height), (-1, width)):
        extent = _uniform(batch, 0, max_share)
        start = _uniform(batch, 0, 1) * (1 - extent)
        place = (torch.arange(side, device=extent.device) + 0.5) / side
        place = place.view(-1, 1) if axis == -2 else place  # (H, 1) or (W,)
        inside = inside & (place >= start) & (place < start + extent)
    return batch | {"composite": torch.where(inside, batch["depth"], batch["composite"])}


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": horizontal_flip,
    "scale": scale_and_crop,
    "colour": colour_jitter,
    "cutdepth": cut_depth,
}


def _uniform(batch: Batch, low: float, high: float, *, channels: int = 1) -> torch.Tensor:
    """Numbers for each sample, (N, channels, 1, 1) on the batch's device."""
    first = next(iter(batch.values()))
    drawn = torch.empty(len(first), channels, 1, 1).uniform_(low, high)
    return drawn.to(first.device, non_blocking=True)
