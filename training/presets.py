"""Named sets of flags: `--preset small` for a computer without a GPU, `reference` for the rest.

A preset changes the defaults of flags; whatever the command line gives besides wins. What `small`
scores and takes is in docs/results.md.
"""

from typing import Any

REFERENCE, SMALL = "reference", "small"
PRESETS = (REFERENCE, SMALL)

_SMALL: dict[str, Any] = {
    "img_sizes": [[64, 64], [128, 128]],
    "batch_size": 16,
    "warmup_steps": 100,
    "clip_grad": 1.0,
    "ema": 0.99,
}
# Script -> flag -> its default with --preset small.
_SMALL_OF: dict[str, dict[str, Any]] = {
    "train_depth.py": _SMALL
    | {"arch": "depth_lite", "epochs": [12, 6], "loss": "silog+l1", "lr": 1e-3},
    "train_mask.py": _SMALL
    | {
        "arch": "mask_lite",
        "epochs": [12, 10],
        "lr": 2e-3,
        "inputs": ["composite", "background"],
    },
    "train_joint.py": _SMALL
    | {
        "arch": "shared_unet",  # the least arithmetic of those that give both
        "img_sizes": [[32, 32], [64, 64]],
        "epochs": [12, 10],
        "lr": 1e-3,
    },
}
PRESET_HELP = (
    "small: a small network and settings with which it learns from some thousand samples on a CPU; "
    "reference: the defaults that this help shows"
)


def defaults_of(preset: str, *, script: str) -> dict[str, Any]:
    """The defaults that a preset changes, by the names of the parsed arguments."""
    return dict(_SMALL_OF[script]) if preset == SMALL else {}
