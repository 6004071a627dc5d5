"""Augmentations that change pictures and leave mask and depth as they are.

Light and colour change composite and background alike. Sensor noise and compression, which differ
between two photographs, change each by itself. Without them the background of generated data equals
the pixels behind the foreground, and a mask network with both inputs would only learn to subtract.
"""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from dsetkit.errors import RunError
from training import exchange

Batch = dict[str, torch.Tensor]

PICTURES = ("composite", "background")

# Largest shifts to both sides; all but that of saturation are the defaults of Albumentations
HUE_SHIFT_DEG = 40.0
SATURATION_CHANGE = 0.3  # a factor of 1 -+ this: an added shift would tint all that is grey
VALUE_SHIFT = 20 / 255
RGB_SHIFT = 20 / 255
JPEG_QUALITY = (50, 95)


def uniform(batch: Batch, low: float, high: float, *, channels: int = 1) -> torch.Tensor:
    """Random numbers for each sample, (N, channels, 1, 1) on the batch's device."""
    first = next(iter(batch.values()))
    drawn = exchange.own_rows(
        len(first), lambda count: torch.empty(count, channels, 1, 1).uniform_(low, high)
    )
    return drawn.to(first.device, non_blocking=True)


def grey_levels(pictures: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) luma of RGB pictures (N, 3, H, W), with the weights of ITU-R BT.601."""
    red, green, blue = pictures.split(1, dim=1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


# ---- alike in composite and background ---------------------------------------------------------


def colour_jitter(batch: Batch, *, strength: float = 0.3) -> Batch:
    """Changes brightness, contrast, saturation and colour balance of each sample's pictures.

    Composite and background change by the same map of colours, so equal pixels stay equal.
    """
    brightness, contrast, saturation = (
        uniform(batch, 1 - strength, 1 + strength) for _ in range(3)
    )
    gain = uniform(batch, 1 - strength / 3, 1 + strength / 3, channels=3)  # colour of the light
    grey_level = grey_levels(batch["composite"]).mean(dim=(1, 2, 3), keepdim=True)

    def jitter(picture: torch.Tensor) -> torch.Tensor:
        picture = torch.lerp(grey_level, picture, contrast)
        picture = torch.lerp(grey_levels(picture), picture, saturation)
        return (picture * brightness * gain).clamp(0, 1)

    return {name: jitter(x) if name in PICTURES else x for name, x in batch.items()}


def hsv_or_rgb_shift(batch: Batch) -> Batch:
    """Shifts each sample's hue, saturation and value, or else its red, green and blue.

    One of the two at even odds, the same for composite and background.
    """
    from kornia.color import hsv_to_rgb, rgb_to_hsv  # here, for kornia takes most of a second

    takes_hsv = uniform(batch, 0, 1) < 0.5
    hue = uniform(batch, -HUE_SHIFT_DEG, HUE_SHIFT_DEG) * (math.pi / 180)
    saturation = uniform(batch, 1 - SATURATION_CHANGE, 1 + SATURATION_CHANGE)
    value = uniform(batch, -VALUE_SHIFT, VALUE_SHIFT)
    rgb = uniform(batch, -RGB_SHIFT, RGB_SHIFT, channels=3)

    def shift(picture: torch.Tensor) -> torch.Tensor:
        h, s, v = rgb_to_hsv(picture).split(1, dim=1)  # h in 0..2 pi, s and v in 0..1
        h, s, v = (h + hue) % (2 * math.pi), s * saturation, v + value
        hsv = torch.cat((h, s.clamp(0, 1), v.clamp(0, 1)), dim=1)
        return torch.where(takes_hsv, hsv_to_rgb(hsv), picture + rgb).clamp(0, 1)

    return {name: shift(x) if name in PICTURES else x for name, x in batch.items()}


def cut_depth(batch: Batch, *, probability: float = 0.5, max_share: float = 0.75) -> Batch:
    """Shows the depth itself in a rectangle of the composite (CutDepth, arXiv 2107.07684).

    Raises:
        RunError: the batch has no depth.
    """
    if "depth" not in batch:
        raise RunError("--augment cutdepth shows depth in the picture: only for depth training")
    height, width = batch["depth"].shape[-2:]
    inside = uniform(batch, 0, 1) < probability
    for axis, side in ((-2, height), (-1, width)):
        extent = uniform(batch, 0, max_share)
        start = uniform(batch, 0, 1) * (1 - extent)
        place = (torch.arange(side, device=extent.device) + 0.5) / side
        place = place.view(-1, 1) if axis == -2 else place  # (H, 1) or (W,)
        inside = inside & (place >= start) & (place < start + extent)
    return batch | {"composite": torch.where(inside, batch["depth"], batch["composite"])}


# ---- each picture by itself --------------------------------------------------------------------


def noise(batch: Batch, *, max_std: float = 0.03) -> Batch:
    """Adds Gaussian noise of a standard deviation in [0, max_std] to each picture by itself."""

    def add_noise(picture: torch.Tensor) -> torch.Tensor:
        count, *shape = picture.shape
        drawn = exchange.own_rows(count, lambda rows: torch.randn(rows, *shape))
        drawn = drawn.to(picture.device, non_blocking=True)
        return (picture + uniform(batch, 0, max_std) * drawn).clamp(0, 1)

    return {name: add_noise(x) if name in PICTURES else x for name, x in batch.items()}


def jpeg(batch: Batch) -> Batch:
    """Compresses each picture by itself as JPEG, at a quality of 50 to 95.

    The encoder works on the CPU, picture by picture; batches of another device are copied.
    """

    def compress(pictures: torch.Tensor) -> torch.Tensor:
        low, high = JPEG_QUALITY
        qualities = exchange.own_rows(
            len(pictures), lambda count: torch.randint(low, high + 1, (count,))
        ).tolist()
        return through_jpeg(pictures, qualities)

    return {name: compress(x) if name in PICTURES else x for name, x in batch.items()}


def exposure(
    batch: Batch, *, max_gain: float = 0.12, max_tint: float = 0.03, max_gamma: float = 0.15
) -> Batch:
    """Shows each picture by itself in other light: a gain, one of each channel, and a gamma.

    Args:
        batch: as everywhere in this file.
        max_gain: the gain is 1 - max_gain .. 1 + max_gain.
        max_tint: and those of the channels 1 - max_tint .. 1 + max_tint.
        max_gamma: the exponent is 1 - max_gamma .. 1 + max_gamma.
    """

    def expose(picture: torch.Tensor) -> torch.Tensor:
        gain = uniform(batch, 1 - max_gain, 1 + max_gain)
        tint = uniform(batch, 1 - max_tint, 1 + max_tint, channels=3)
        gamma = uniform(batch, 1 - max_gamma, 1 + max_gamma)
        return (picture.pow(gamma) * gain * tint).clamp(0, 1)

    return {name: expose(x) if name in PICTURES else x for name, x in batch.items()}


def blur(batch: Batch, *, max_sigma: float = 0.005) -> Batch:
    """Blurs each picture by itself with the kernel (w, 1 - 2w, w), in rows and in columns.

    The kernel's standard deviation, sqrt(2 w), is up to max_sigma, a share of the shorter side, and
    at most 0.7 px, that of w = 1/4.
    """

    def soften(picture: torch.Tensor) -> torch.Tensor:
        sigma_px = max_sigma * min(picture.shape[-2:]) * uniform(batch, 0, 1)
        weight = (sigma_px.square() / 2).clamp(max=0.25)
        wide = F.pad(picture, (1, 1, 0, 0), mode="replicate")
        picture = torch.lerp(picture, (wide[..., 2:] + wide[..., :-2]) / 2, 2 * weight)
        high = F.pad(picture, (0, 0, 1, 1), mode="replicate")
        return torch.lerp(picture, (high[..., 2:, :] + high[..., :-2, :]) / 2, 2 * weight)

    return {name: soften(x) if name in PICTURES else x for name, x in batch.items()}


def sometimes(change: Callable[[Batch], Batch], *, share: float = 0.5) -> Callable[[Batch], Batch]:
    """An augmentation that makes a change to a share of the samples."""

    def change_some(batch: Batch) -> Batch:
        is_changed = uniform(batch, 0, 1) < share
        changed = change(batch)
        return {name: torch.where(is_changed, changed[name], x) for name, x in batch.items()}

    return change_some


# With these, pairs that differ in one way alone, or in none, are frequent.
some_exposure = sometimes(exposure)
some_blur = sometimes(blur)
some_noise = sometimes(noise)
some_jpeg = sometimes(jpeg)


def through_jpeg(pictures: torch.Tensor, qualities: Sequence[int]) -> torch.Tensor:
    """Compresses each picture (N, 3, H, W) float in 0..1 as JPEG of its quality, on the CPU."""
    levels = pictures.mul(256 - 1e-3).byte().flip(1)  # steps of equal width; OpenCV has B, G, R
    stored = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()  # (N, H, W, 3)
    shown = np.stack([_through_jpeg(*pair) for pair in zip(stored, qualities, strict=True)])
    levels = torch.from_numpy(shown).to(pictures.device).permute(0, 3, 1, 2).flip(1)
    return levels.float().mul_(1 / 255)


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
