"""The small networks `depth_lite` and `mask_lite`: EfficientNet-Lite and a depthwise decoder.

3.4 M parameters with the encoder `lite0`, 4.1 M with `lite1`, 4.8 M with `lite2`. Both networks use
the same encoder and decoder classes; only the head differs.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import Normalize, check_input, init_he, init_output
from models.efficientnet_lite import LITE_MEAN, LITE_STD, ConvBN, EfficientNetLite
from models.errors import ModelError
from models.network import Network

DECODER_CHANNELS = (32, 64, 128, 256, 256)  # at strides 2, 4, 8, 16, 32
INITIAL_DEPTH = 0.3  # share of the greatest depth


class DepthScale(NamedTuple):
    """The quantity that a depth head predicts in place of depth."""

    from_depth: Callable[[float], float]
    to_depth: Callable[[torch.Tensor], torch.Tensor]
    limits: tuple[float, float]  # depths at which the head's sigmoid is 0 and 1


# The limits exceed 1. Otherwise the gradient of the sigmoid would vanish at the farthest targets.
DEPTH_HEADS = {
    "log": DepthScale(math.log, torch.exp, (1e-3, 1.2)),
    "linear": DepthScale(float, torch.clone, (0.0, 1.2)),
    "inverse": DepthScale(lambda depth: 1 / depth, torch.reciprocal, (1.2, 0.05)),
}


class LiteNetwork(Network):
    """Encoder and decoder: RGB (N, in_channels, H, W) in 0..1 -> features (N, 32, H/2, W/2).

    Args:
        in_channels: 3 or 6.
        encoder: `lite0`, `lite1` or `lite2`.

    Raises:
        ModelError: there is no such encoder.
    """

    stride = 32

    def __init__(self, *, in_channels: int, encoder: str) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.normalize = Normalize(in_channels, mean=LITE_MEAN, std=LITE_STD)
        self.encoder = EfficientNetLite(in_channels, encoder)
        self.decoder = LiteDecoder(self.encoder.feature_channels)

    def decode(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the features that the head turns into a map."""
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        return self.decoder(self.encoder(self.normalize(x)))


class DepthLite(LiteNetwork):
    """RGB (N, in_channels, H, W) in 0..1 -> depth (N, 1, H/2, W/2), a share of the greatest depth.

    The head predicts the logarithm of depth, since errors of depth grow with depth. A sigmoid keeps
    it within the logarithms of 0.001..1.2, so that `exp` cannot overflow.

    Args:
        in_channels: 3 or 6.
        full_size: resize the depth to (N, 1, H, W).
        encoder: `lite0`, `lite1` or `lite2`.
        head: key of DEPTH_HEADS, the quantity to predict.

    Raises:
        ModelError: there is no such encoder or head.
    """

    task = "depth"
    heads = {"depth": "linear"}

    def __init__(
        self,
        *,
        in_channels: int = 3,
        full_size: bool = False,
        encoder: str = "lite0",
        head: str = "log",
    ) -> None:
        if head not in DEPTH_HEADS:
            raise ModelError(f"head {head!r}; expected {', '.join(DEPTH_HEADS)}")
        super().__init__(in_channels=in_channels, encoder=encoder)
        self.full_size = full_size
        self.head = nn.Conv2d(DECODER_CHANNELS[0], 1, 3, padding=1)
        from_depth, self.to_depth, (first, last) = DEPTH_HEADS[head]
        self.start, end = from_depth(first), from_depth(last)
        self.extent = end - self.start
        initial = (from_depth(INITIAL_DEPTH) - self.start) / self.extent  # the sigmoid's value
        init_output(self.head, std=0.01, bias=math.log(initial / (1 - initial)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.head(self.decode(x)).float()  # exp in bfloat16 loses two digits
        depth = self.to_depth(self.start + self.extent * torch.sigmoid(raw))
        if self.full_size:
            depth = F.interpolate(depth, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return depth


class MaskLite(LiteNetwork):
    """RGB (N, in_channels, H, W) in 0..1 -> mask logits (N, 1, H, W).

    The head predicts the four logits of each 2x2 block at half the resolution. That costs less than
    a layer at full resolution, and gives sharper edges than resizing.

    Args:
        in_channels: 3 or 6.
        encoder: `lite0`, `lite1` or `lite2`.

    Raises:
        ModelError: there is no such encoder.
    """

    task = "mask"
    heads = {"mask": "logits"}

    def __init__(self, *, in_channels: int = 3, encoder: str = "lite0") -> None:
        super().__init__(in_channels=in_channels, encoder=encoder)
        self.head = nn.Conv2d(DECODER_CHANNELS[0], 4, 3, padding=1)
        init_output(self.head, std=0.01, bias=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.head(self.decode(x)).float(), 2)


class LiteDecoder(nn.Module):
    """Five features -> (N, 32, H/2, W/2).

    It starts at the coarsest feature and repeats: convolve, resize by 2, add the projected skip.

    Args:
        feature_channels: channels of the five features, at strides 2, 4, 8, 16, 32.
    """

    def __init__(self, feature_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.skips = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(feature_channels, DECODER_CHANNELS, strict=True)
        )
        widths = (DECODER_CHANNELS[0], *DECODER_CHANNELS)
        self.mixes = nn.ModuleList(
            nn.Sequential(separable_conv(b, b), separable_conv(b, a))
            for a, b in itertools.pairwise(widths)
        )
        init_he(self)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        x = self.mixes[-1](self.skips[-1](features[-1]))
        for level in (3, 2, 1, 0):
            skip = self.skips[level](features[level])
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = self.mixes[level](x + skip)
        return x


def separable_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build a depthwise 5x5 and a pointwise 1x1 convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 5, padding=2, groups=in_channels, bias=False),
        ConvBN(in_channels, out_channels, 1, activation=nn.ReLU(inplace=True)),
    )
