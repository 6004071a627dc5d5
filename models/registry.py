"""The architectures by name, and `create_model`, which builds one.

Every registered network has this interface:

    net.heads         the maps it outputs, "mask" and/or "depth" in this order, and how to read each
                      (`models.answer` does so):
                          "logits"    the sigmoid of the output is the map, 0..1
                          "linear"    the output itself is the map, about 0..1
    net.task          "mask", "depth", or "joint" for both maps
    net.stride        the height and width of the input must be multiples of it
    net.in_channels   3 (composite) or 6 (composite, then background)
    net.arch, net.options    the name and the keyword arguments it was created with (JSON values)
    net(x)            x: float32 (N, in_channels, H, W), RGB in 0..1; the network normalises it
                      one map   -> float32 (N, 1, h, w)
                      both maps -> {"mask": float32 (N, 1, H, W), "depth": float32 (N, 1, h, w)}

A mask is always H x W. Depth is in the unit of the target (a share of the greatest depth, 0..1). It
is H x W too, except for `resnet50_upproj`, `depth_lite` and `fcrn`, whose depth is H/2 x W/2 unless
`full_size=True`.

    network                                 in_channels    options         reference system
    resnet50_upproj, mask_autoencoder       3, 6           full_size (1)   002
    depth_lite, mask_lite                   3, 6           encoder,        -
                                                           full_size (1)
    fcrn                                    3, 6           full_size, form -
    dual_unet                               3, 6           mask_head       000
    unet                                    3, 6           task            001
    res_unet                                3, 6           mask_head       001
    shared_unet                             3, 6           mask_head       003
    mask_unet, depth_unet                   3, 6           -               003
    mask_slim                               3, 6           -               -
    mask_slim_pair                          6              -               -
    lite_dual                               6              mask_head       004
    (1) the depth network only

`mask_head` is `"linear"` or `"logits"`. It does not change a layer, only the entry of the mask in
`net.heads`. So a network whose author trained raw outputs can be trained with a loss on logits, and
vice versa. `encoder` is `"lite0"`, `"lite1"` or `"lite2"`; see models/efficientnet_lite.py. `form`
is `"fast"` or `"plain"`, two ways to compute the same output.
"""

import inspect
import pkgutil
from collections import UserDict
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from models.errors import ModelError

if TYPE_CHECKING:  # torch takes seconds to load, and the command lines need the names alone
    from models.network import Network, Option


class _Classes(UserDict[str, "type[Network]"]):
    """Classes by name, each imported when it is first asked for.

    Args:
        places: "module:class" by name.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        super().__init__()
        self.data: dict[str, Any] = dict(places)

    def __getitem__(self, name: str) -> "type[Network]":
        if isinstance(self.data[name], str):
            self.data[name] = pkgutil.resolve_name(self.data[name])
        return self.data[name]


MODELS: MutableMapping[str, "type[Network]"] = _Classes(
    {
        "resnet50_upproj": "models.resnet50_upproj:ResNet50UpProjection",
        "mask_autoencoder": "models.mask_autoencoder:MaskAutoencoder",
        "depth_lite": "models.lite:DepthLite",
        "mask_lite": "models.lite:MaskLite",
        "fcrn": "models.fcrn:FCRN",
        "dual_unet": "models.unet:DualUNet",
        "unet": "models.unet:UNet",
        "res_unet": "models.res_unet:ResUNet",
        "shared_unet": "models.unet:SharedUNet",
        "mask_slim": "models.unet:MaskSlim",
        "mask_slim_pair": "models.unet:MaskSlimPair",
        "mask_unet": "models.unet:MaskUNet",
        "depth_unet": "models.unet:DepthUNet",
        "lite_dual": "models.lite_dual:LiteDual",
    }
)


def create_model(name: str, *, in_channels: int = 3, **options: "Option") -> "Network":
    """Build a network with newly initialised weights.

    Args:
        name: key of `MODELS`.
        in_channels: 3 for one RGB picture, 6 for two (composite, then background).
        options: further keyword arguments of the architecture, e.g. `full_size=True`.

    Returns:
        The network in training mode, in channels-last memory. `net.arch` and `net.options` record
        the arguments.

    Raises:
        ModelError: there is no such architecture, or it does not have such an option, accept the
            value of an option, or accept `in_channels`.
    """
    import torch

    if name not in MODELS:
        raise ModelError(f"unknown architecture {name!r:.60}; known: {', '.join(MODELS)}")
    if type(in_channels) is not int or in_channels not in (3, 6):
        raise ModelError(f"in_channels={in_channels!r:.60}; expected 3 per RGB picture, so 3 or 6")
    known = [key for key in inspect.signature(MODELS[name]).parameters if key != "in_channels"]
    for option in options:
        if option not in known:
            raise ModelError(
                f"{name} has no option {option!r:.60}; known: {', '.join(known) or 'none'}"
            )
    net = MODELS[name](in_channels=in_channels, **options).to(memory_format=torch.channels_last)
    net.arch, net.options = name, {"in_channels": in_channels, **options}
    return net
