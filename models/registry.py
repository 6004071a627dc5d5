"""The dictionary of architectures, and making one by its name.

Every network registered here agrees on this:

    net.task          "depth" or "mask"
    net.stride        height and width of the input must be multiples of it
    net.in_channels   3 (composite) or 6 (composite, then background)
    net.arch, net.options    the name and the keyword arguments it was made with (JSON values)
    net(x)            x: float32 (N, in_channels, H, W), RGB in 0..1; the network normalises it
                      depth -> float32 (N, 1, h, w): depth in the unit of the target (a share of the
                               greatest depth, 0..1); H/2 x W/2 unless `full_size=True`
                      mask  -> float32 (N, 1, H, W): logits
"""

import torch
from torch import nn

from models.errors import ModelError
from models.lite import DepthLite, MaskLite
from models.mask_autoencoder import MaskAutoencoder
from models.resnet50_upproj import ResNet50UpProjection

MODELS: dict[str, type[nn.Module]] = {
    "resnet50_upproj": ResNet50UpProjection,
    "mask_autoencoder": MaskAutoencoder,
    "depth_lite": DepthLite,
    "mask_lite": MaskLite,
}


def create_model(
    name: str, *, in_channels: int = 3, **options: bool | int | float | str
) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: a key of `MODELS`.
        in_channels: 3 for one RGB picture, 6 for two (composite, then background).
        options: further keyword arguments of the architecture, e.g. `full_size=True`.

    Returns:
        The network in training mode; `net.arch` and `net.options` record how it was made.

    Raises:
        ModelError: no such architecture, or `in_channels` is not a multiple of 3.
    """
    if name not in MODELS:
        raise ModelError(f"unknown architecture {name!r}; known: {', '.join(MODELS)}")
    if in_channels < 3 or in_channels % 3:
        raise ModelError(f"in_channels={in_channels}; expected 3 per RGB picture, so 3 or 6")
    net = MODELS[name](in_channels=in_channels, **options).to(memory_format=torch.channels_last)
    net.arch, net.options = name, {"in_channels": in_channels, **options}
    return net
