"""Backgrounds as a real camera gives them: the changes that mask networks are tested with.

A dataset's composite and background agree to the pixel outside of the foreground, so that a
threshold on their difference finds nearly everything. Two photographs never agree like that.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from dsetkit.registration import comparable_background
from training.augment_pictures import through_jpeg
from training.loop import Batch

SEED = 0  # of the noise
EXACT = "exact"
GAIN = 1.08
NOISE = 5 / 255
JPEG_QUALITY = 60
LOOK_SIDE = 8  # px of the pictures by which photographs are told apart
SAME_LOOK = 0.02  # mean difference of their colours, 0..1, up to which they count as the same

Change = Callable[[torch.Tensor], torch.Tensor]  # backgrounds (N, 3, H, W) float in 0..1


def shifted(pixels: int) -> Change:
    """Moves pictures to the right; their left edge is repeated."""
    return lambda pictures: F.pad(pictures, (pixels, 0, 0, 0), mode="replicate")[..., :-pixels]


def brighter(pictures: torch.Tensor) -> torch.Tensor:
    """Multiplies the light by GAIN."""
    return (pictures * GAIN).clamp(0, 1)


def noisy(pictures: torch.Tensor) -> torch.Tensor:
    """Adds Gaussian noise; the same for the same shape."""
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn(pictures.shape, generator=generator).to(pictures.device)
    return (pictures + NOISE * noise).clamp(0, 1)


def compressed(pictures: torch.Tensor) -> torch.Tensor:
    """Passes pictures through JPEG."""
    return through_jpeg(pictures, [JPEG_QUALITY] * len(pictures))


def another(pictures: torch.Tensor) -> torch.Tensor:
    """Gives each sample the background of another photograph.

    It is the first one from half a batch away that looks different, because neighbours often have
    the same photograph. Where the whole batch has one photograph, it is turned upside down.
    """
    count = len(pictures)
    looks = F.adaptive_avg_pool2d(pictures, LOOK_SIDE).flatten(1)
    is_other = torch.cdist(looks, looks, p=1) / looks.shape[1] > SAME_LOOK
    rows = torch.arange(count, device=pictures.device)
    others = (rows[:, None] + count // 2 + rows) % count  # (N, N): whom each looks at, in turn
    fits = is_other.gather(1, others)
    first = others.gather(1, fits.int().argmax(dim=1, keepdim=True)).flatten()
    has_other = fits.any(dim=1)[:, None, None, None]
    return torch.where(has_other, pictures[first], torch.flip(pictures, dims=(2, 3)))


STRESSES: dict[str, Change] = {
    EXACT: lambda pictures: pictures,
    "shifted 1 px": shifted(1),
    "shifted 2 px": shifted(2),
    "8 % brighter": brighter,
    "noise 5/255": noisy,
    "JPEG 60": compressed,
    "wrong": another,
}


def stressed(batch: Batch, name: str, *, register: bool = False) -> Batch:
    """A batch with changed backgrounds.

    Args:
        batch: Float fields (N, C, H, W) in 0..1.
        name: A key of STRESSES; EXACT needs no `background`, unless `register`.
        register: Whether the changed backgrounds are registered with the composites, as
            `dsetkit predict` does.
    """
    if name != EXACT:
        batch = batch | {"background": STRESSES[name](batch["background"])}
    return with_comparable_backgrounds(batch) if register else batch


def with_comparable_backgrounds(batch: Batch) -> Batch:
    """A batch with backgrounds as `dsetkit predict` shows them, by OpenCV on the CPU."""
    composites, backgrounds = (_levels(batch[name]) for name in ("composite", "background"))
    result = batch["background"].clone()
    for number, (background, composite) in enumerate(zip(backgrounds, composites, strict=True)):
        moved = comparable_background(background, composite).background
        if moved is not background:  # otherwise it need not be rounded to 8 bits
            result[number] = torch.from_numpy(moved).to(result).permute(2, 0, 1) / 255
    return batch | {"background": result}


def _levels(pictures: torch.Tensor) -> np.ndarray:
    """Pictures (N, 3, H, W) in 0..1 as uint8 (N, H, W, 3)."""
    return pictures.mul(255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
