"""Augmentation of whole batches on their device; each sample draws its own numbers.

A batch is a dict of float32 fields (N, C, H, W) in [0, 1]: `composite` and `background` (RGB),
`mask`, `depth` (0 = invalid). Functions change the fields that a batch has and keep them aligned.
They draw from torch's CPU generator, so that a seed gives the same pictures on any device.

This file has those that move pixels, training/augment_pictures.py those that change colours.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torchvision.transforms.v2.functional import rgb_to_grayscale

from dsetkit.errors import RunError
from training.augment_pictures import (
    Batch,
    colour_jitter,
    cut_depth,
    hsv_or_rgb_shift,
    jpeg,
    noise,
    uniform,
)

Augmentation = Callable[[Batch], Batch]


def make_augment(spec: str, *, depth_is_metric: bool = True) -> Augmentation:
    """Builds an augmentation from its name.

    Args:
        spec: names of AUGMENTATIONS and GROUPS joined by "+": "none", "full", "flip+honest".
        depth_is_metric: False for relative depth, which enlarging leaves as it is.

    Raises:
        RunError: unknown name; the known ones are listed.
    """
    names = [name for part in spec.split("+") for name in GROUPS.get(part, (part,))]
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        known = ", ".join([*GROUPS, *AUGMENTATIONS])
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
    flipped = uniform(batch, 0, 1) < 0.5
    return {name: torch.where(flipped, x.flip(-1), x) for name, x in batch.items()}


def scale_and_crop(batch: Batch, *, max_scale: float = 1.5, depth_is_metric: bool = True) -> Batch:
    """Enlarges each sample by s in [1, max_scale] and crops it at random to the old size.

    What looks s times larger is s times nearer, so metric depth is divided by s. Depth is that of
    the nearest pixel, so that valid and invalid pixels do not mix.
    """
    scale = uniform(batch, 1, max_scale)  # (N, 1, 1, 1)
    reach = 1 - 1 / scale  # how far the crop's centre may move from the middle, in half sides
    shift_x, shift_y = (reach * uniform(batch, -1, 1) for _ in range(2))
    zero = torch.zeros_like(scale)
    moved = _sample(batch, [1 / scale, zero, shift_x, zero, 1 / scale, shift_y])
    if "depth" in moved and depth_is_metric:
        moved["depth"] = moved["depth"] / scale
    return moved


def rotate(batch: Batch, *, max_degrees: float = 10.0) -> Batch:
    """Turns each sample about its middle by an angle in [-max_degrees, max_degrees].

    Pixels from outside show the picture mirrored at its border, in pictures and mask alike, so that
    they stay consistent and black corners do not reveal the angle. Depth there is invalid, because
    a mirrored scene has none. Depth is that of the nearest pixel, so that valid and invalid pixels
    do not mix.
    """
    angle = uniform(batch, -max_degrees, max_degrees) * (math.pi / 180)  # (N, 1, 1, 1)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    height, width = next(iter(batch.values())).shape[-2:]
    # in shares of the half sides, as affine_grid counts; a turn is one in pixels
    rows = [cos, -sin * (height / width), zero, sin * (width / height), cos, zero]
    return _sample(batch, rows, outside="reflection", depth_outside="zeros")


def misalign(batch: Batch, *, max_shift_px: float = 2.0, strength: float = 0.1) -> Batch:
    """Moves the background a little and shows it in slightly other light than the composite.

    A mask network must not rely on a background that fits to the pixel, cf. the training of
    BackgroundMattingV2 (arXiv 2012.07810, sec. 5). The shift is up to max_shift_px in x and in y,
    also by parts of a pixel; brightness and contrast change by a factor of 1 - strength ..
    1 + strength. A batch without background stays as it is.
    """
    if "background" not in batch:
        return batch
    height, width = batch["background"].shape[-2:]
    x_px, y_px = (uniform(batch, -max_shift_px, max_shift_px) for _ in range(2))
    brightness, contrast = (uniform(batch, 1 - strength, 1 + strength) for _ in range(2))
    one, zero = torch.ones_like(x_px), torch.zeros_like(x_px)
    rows = [one, zero, x_px * (2 / width), zero, one, y_px * (2 / height)]
    background = _sample({"background": batch["background"]}, rows)["background"]
    grey_level = rgb_to_grayscale(background).mean(dim=(1, 2, 3), keepdim=True)
    relit = torch.lerp(grey_level, background, contrast) * brightness
    return batch | {"background": relit.clamp(0, 1)}


def _sample(
    batch: Batch,
    rows: list[torch.Tensor],
    *,
    outside: str = "border",
    depth_outside: str = "border",
) -> Batch:
    """Samples every field at affinely moved positions: depth at the nearest pixel, others bilinear.

    Args:
        batch: all fields of one size.
        rows: the six numbers of `F.affine_grid`'s theta, row by row, each (N, 1, 1, 1).
        outside: `padding_mode` of `F.grid_sample` for pictures and mask.
        depth_outside: the same for depth.
    """
    theta = torch.stack(rows, dim=-1).view(-1, 2, 3)  # (N, 2, 3)
    shape = list(next(iter(batch.values())).shape)
    grid = F.affine_grid(theta, shape, align_corners=False)
    whole, exact = ("bilinear", outside), ("nearest", depth_outside)
    moved = {}
    for name, x in batch.items():
        mode, padding = exact if name == "depth" else whole
        moved[name] = F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=False)
    return moved


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": horizontal_flip,
    "scale": scale_and_crop,
    "rotate": rotate,
    "colour": colour_jitter,
    "hsv_or_rgb": hsv_or_rgb_shift,
    "cutdepth": cut_depth,
    "misalign": misalign,
    "noise": noise,
    "jpeg": jpeg,
}
# "honest": what differs when the background is another photograph of the scene
GROUPS: dict[str, tuple[str, ...]] = {
    "none": (),
    "full": ("flip", "scale", "colour"),
    "honest": ("misalign", "noise", "jpeg"),
}

_GROUP_HELP = [f"{group} (= {'+'.join(names)})" for group, names in GROUPS.items() if names]
AUGMENT_HELP = f"none, {', '.join([*_GROUP_HELP, *AUGMENTATIONS])}; joined by +"
