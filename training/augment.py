"""Augmentation of whole batches on their device, by name; each sample draws its own numbers.

A batch is a dict of float32 fields (N, C, H, W) in [0, 1]: `composite` and `background` (RGB),
`mask`, `depth` (0 = invalid). Functions change the fields that a batch has and keep them aligned.
They draw from torch's CPU generator, so that a seed gives the same pictures on any device.

training/augment_geometry.py has those that move pixels, training/augment_pictures.py those that
change colours. Here are their names alone, for the command lines, without torch.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dsetkit.errors import RunError
from training.lazy import LazyTable

if TYPE_CHECKING:
    from training.augment_pictures import Batch

Augmentation = Callable[["Batch"], "Batch"]

GEOMETRY, PICTURES = "training.augment_geometry", "training.augment_pictures"
AUGMENTATIONS: LazyTable[Augmentation] = LazyTable(
    {
        "flip": f"{GEOMETRY}:horizontal_flip",
        "scale": f"{GEOMETRY}:scale_and_crop",
        "rotate": f"{GEOMETRY}:rotate",
        "colour": f"{PICTURES}:colour_jitter",
        "hsv_or_rgb": f"{PICTURES}:hsv_or_rgb_shift",
        "cutdepth": f"{PICTURES}:cut_depth",
        "misalign": f"{GEOMETRY}:misalign",
        "noise": f"{PICTURES}:noise",
        "jpeg": f"{PICTURES}:jpeg",
        "wrong": f"{GEOMETRY}:wrong_background",
        "rarely_wrong": f"{GEOMETRY}:rarely_wrong_background",
        "missing": f"{GEOMETRY}:missing_background",
        "handheld": f"{GEOMETRY}:handheld",
        "registered": f"{GEOMETRY}:registered",
        "exposure": f"{PICTURES}:exposure",
        "blur": f"{PICTURES}:blur",
        "some_exposure": f"{PICTURES}:some_exposure",
        "some_blur": f"{PICTURES}:some_blur",
        "some_noise": f"{PICTURES}:some_noise",
        "some_jpeg": f"{PICTURES}:some_jpeg",
    }
)
# "camera": what differs when the background is another photograph, and some samples without one.
# "honest" was a first form of it; runs that were made with it go on with it.
GROUPS: dict[str, tuple[str, ...]] = {
    "none": (),
    "full": ("flip", "scale", "colour"),
    "honest": ("misalign", "noise", "jpeg"),
    "camera": (
        *("rarely_wrong", "registered", "some_exposure", "some_blur", "some_noise", "some_jpeg"),
        "missing",  # last: black stays black
    ),
}


def default_augment(inputs: Sequence[str]) -> str:
    """The augmentation of a training that names none, by the pictures that its network sees."""
    return "flip+camera" if len(inputs) > 1 else "flip"


_GROUP_HELP = [f"{group} (= {'+'.join(names)})" for group, names in GROUPS.items() if names]
AUGMENT_HELP = f"none, {', '.join([*_GROUP_HELP, *AUGMENTATIONS])}; joined by +"


def augmentations_of(spec: str) -> list[str]:
    """The names of AUGMENTATIONS that a spec of `make_augment` stands for.

    Raises:
        RunError: unknown name; the known ones are listed.
    """
    names = [name for part in spec.split("+") for name in GROUPS.get(part, (part,))]
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        known = ", ".join([*GROUPS, *AUGMENTATIONS])
        raise RunError(f"no augmentation {unknown[0]!r} in {spec!r}: expected {known}, or a+b")
    return names


def make_augment(spec: str, *, depth_is_metric: bool = True) -> Augmentation:
    """Builds an augmentation from its name.

    Args:
        spec: names of AUGMENTATIONS and GROUPS joined by "+": "none", "full", "flip+honest".
        depth_is_metric: False for relative depth, which enlarging leaves as it is.

    Raises:
        RunError: as `augmentations_of`.
    """
    names = augmentations_of(spec)
    steps = [AUGMENTATIONS[name] for name in names]
    if "scale" in names:
        scale: Any = AUGMENTATIONS["scale"]
        steps[names.index("scale")] = partial(scale, depth_is_metric=depth_is_metric)

    def augment(batch: "Batch") -> "Batch":
        for step in steps:
            batch = step(batch)
        return batch

    return augment
