"""Augmentations that move pixels, or give a sample another background."""

import math

import torch
import torch.nn.functional as F

from training import exchange, ranks
from training.augment_pictures import Batch, grey_levels, uniform


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
    moved = _sample(batch, _theta(1 / scale, zero, shift_x, zero, 1 / scale, shift_y))
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
    theta = _theta(cos, -sin * (height / width), zero, sin * (width / height), cos, zero)
    return _sample(batch, theta, outside="reflection", depth_outside="zeros")


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
    theta = _theta(one, zero, x_px * (2 / width), zero, one, y_px * (2 / height))
    background = _moved(batch["background"], theta)
    grey_level = grey_levels(background).mean(dim=(1, 2, 3), keepdim=True)
    relit = torch.lerp(grey_level, background, contrast) * brightness
    return batch | {"background": relit.clamp(0, 1)}


def handheld(
    batch: Batch, *, max_shift: float = 0.04, max_zoom: float = 0.015, max_degrees: float = 1.0
) -> Batch:
    """Shows the background as a camera that was moved a little sees it.

    Each sample draws how far its camera moved, from not at all to the full bounds, so that nearly
    exact backgrounds are frequent. Only the background moves: what counts is where it lies against
    the composite, and moving that would move its mask. A batch without background stays as it is.

    Args:
        batch: as everywhere in this file.
        max_shift: in x and in y, a share of the side.
        max_zoom: enlarges or shrinks by up to this share.
        max_degrees: of the turn, to both sides.
    """
    if "background" not in batch:
        return batch
    motion = _draw_motion(batch, max_shift, max_zoom, max_degrees)
    return batch | {"background": _moved(batch["background"], motion)}


def registered(
    batch: Batch,
    *,
    max_shift: float = 0.04,
    max_zoom: float = 0.015,
    max_degrees: float = 1.0,
    rest: float = 0.05,
    exact: float = 0.25,
    failed: float = 0.15,
) -> Batch:
    """Shows the background as `dsetkit.registration` gives it for a camera that was moved a little.

    It is moved as by `handheld`, and then back, nearly. So it is a little blurred, lies a little
    beside the composite, and repeats its edge where the camera did not see it. A batch without
    background stays as it is.

    Args:
        batch: as everywhere in this file.
        max_shift: as of `handheld`, like the next two.
        max_zoom: as of `handheld`.
        max_degrees: as of `handheld`.
        rest: what is left after registration, a share of the three bounds. (0.05 of a shift is
            0.26 px at 128 px, three times what was measured there.)
        exact: share of the samples whose background fits to the pixel.
        failed: share of the samples that are moved and not brought back.
    """
    if "background" not in batch:
        return batch
    bounds = (max_shift, max_zoom, max_degrees)
    away, left = _draw_motion(batch, *bounds), _draw_motion(batch, *(rest * b for b in bounds))
    fate = uniform(batch, 0, 1)
    own = batch["background"]
    moved = _moved(own, away)
    back = _moved(moved, left @ torch.linalg.inv_ex(away)[0])
    seen = torch.where(fate < exact, own, torch.where(fate > 1 - failed, moved, back))
    return batch | {"background": seen}


def _draw_motion(
    batch: Batch, max_shift: float, max_zoom: float, max_degrees: float
) -> torch.Tensor:
    """A motion of each sample, (N, 3, 3), in the coordinates of `F.affine_grid`; see `handheld`."""
    extent = uniform(batch, 0, 1)  # (N, 1, 1, 1)
    x, y = (extent * uniform(batch, -2 * max_shift, 2 * max_shift) for _ in range(2))
    zoom = 1 + extent * uniform(batch, -max_zoom, max_zoom)
    angle = extent * uniform(batch, -max_degrees, max_degrees) * (math.pi / 180)
    height, width = batch["background"].shape[-2:]
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _theta(
        *(cos, -sin * (height / width), x), *(sin * (width / height), cos, y), *(zero, zero, one)
    )


def _moved(background: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    """Backgrounds moved by motions (N, 2 or 3, 3); their edges are repeated."""
    return _sample({"background": background}, motion[:, :2])["background"]


def missing_background(batch: Batch, *, share: float = 0.3) -> Batch:
    """Takes the background away from a share of the samples: it is black.

    So a mask network also learns to find an object without a background to compare with. This is
    what `dsetkit.registration.comparable_background` gives for another view.
    """
    if "background" not in batch:
        return batch
    is_missing = uniform(batch, 0, 1) < share
    return batch | {"background": batch["background"].masked_fill(is_missing, 0)}


def wrong_background(batch: Batch, *, share: float = 0.25) -> Batch:
    """Gives a share of the samples the background of another sample of the batch.

    A batch of one sample, or without background, stays as it is.
    """
    if "background" not in batch:
        return batch
    own = batch["background"]
    (every,) = exchange.gather(own)  # of all ranks: (count, 3, H, W)
    count, (number, _) = len(every), ranks.place()
    is_wrong = uniform(batch, 0, 1) < share
    # 1 .. count - 1 rows on, so that it is never the sample's own
    steps = (uniform(batch, 0, 1).flatten() * (count - 1)).long().clamp(max=max(0, count - 2)) + 1
    rows = torch.arange(len(own), device=own.device) + number * len(own)
    return batch | {"background": torch.where(is_wrong, every[(rows + steps) % count], own)}


def rarely_wrong_background(batch: Batch) -> Batch:
    """As `wrong_background`, for as few samples as registration takes one of another view for."""
    return wrong_background(batch, share=0.05)


def _theta(*numbers: torch.Tensor) -> torch.Tensor:
    """The numbers of affine maps, row by row, each (N, 1, 1, 1), as (N, rows, 3)."""
    return torch.stack(numbers, dim=-1).view(-1, len(numbers) // 3, 3)


def _sample(
    batch: Batch,
    theta: torch.Tensor,
    *,
    outside: str = "border",
    depth_outside: str = "border",
) -> Batch:
    """Samples every field at affinely moved positions: depth at the nearest pixel, others bilinear.

    Args:
        batch: all fields of one size.
        theta: (N, 2, 3), as `F.affine_grid` takes it.
        outside: `padding_mode` of `F.grid_sample` for pictures and mask.
        depth_outside: the same for depth.
    """
    shape = list(next(iter(batch.values())).shape)
    grid = F.affine_grid(theta, shape, align_corners=False)
    whole, exact = ("bilinear", outside), ("nearest", depth_outside)
    moved = {}
    for name, x in batch.items():
        mode, padding = exact if name == "depth" else whole
        moved[name] = F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=False)
    return moved
