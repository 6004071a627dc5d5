"""`res_unet`: a residual encoder and two pixel-shuffle decoders; the mask decoder uses the depth's.

    rgb -- first /1 -- down /1 --- down /2 --- down /4 --- down /8 -- bridge /16
                         |            |           |           |            |
    depth <- head <---- up <------- up <------- up <------- up <----------+
                         |            |           |           |            |
    mask  <- head <---- up <------- up <------- up <------- up <----------+

This is the definition that reference system 001 cites; the system's parameter table describes
`unet` instead. 15,855,712 parameters with 6 input channels. Skips and the links from depth to mask
are projected and added, not concatenated. The convolutions have no biases. The blocks are
pre-activated (He et al. 2016, arXiv 1603.05027). As far as is known, the author did not normalise
the inputs; here RGB in 0..1 is normalised with ImageNet's mean and standard deviation. Weights are
initialised by PyTorch's defaults, as the author's were.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import Normalize, check_input
from models.heads import joint_heads
from models.network import Network

CHANNELS = (32, 64, 128, 256, 512)  # after the first convolution and each step down
DEPTH_CHANNELS = (256, 128, 64, 16)  # after each step up, coarse to fine
MASK_CHANNELS = (64, 64, 32, 16)


class ResUNet(Network):
    """RGB (N, in_channels, H, W) in 0..1 -> {"mask": (N, 1, H, W), "depth": (N, 1, H, W)}.

    The author trained the raw outputs with a Dice loss, so the heads are linear.

    Args:
        in_channels: 3 or 6.
        mask_head: "linear" or "logits": how to read the mask output. It does not change a layer.
    """

    task = "joint"
    stride = 16

    def __init__(self, *, in_channels: int = 3, mask_head: str = "linear") -> None:
        super().__init__()
        self.in_channels = in_channels
        self.heads = joint_heads(mask_head, depth="linear")
        self.normalize = Normalize(in_channels)
        self.encoder = Encoder(in_channels)
        no_links = (0, 0, 0, 0)
        self.depth_decoder = Decoder(DEPTH_CHANNELS, link_channels=no_links)
        self.mask_decoder = Decoder(MASK_CHANNELS, link_channels=DEPTH_CHANNELS)
        self.depth_head = nn.Conv2d(DEPTH_CHANNELS[-1], 1, 1, bias=False)
        self.mask_head = nn.Conv2d(MASK_CHANNELS[-1], 1, 1, bias=False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        bridge, skips = self.encoder(self.normalize(x))
        depth = self.depth_decoder(bridge, skips, [None] * 4)
        mask = self.mask_decoder(bridge, skips, depth)
        return {
            "mask": self.mask_head(mask[-1]).float(),
            "depth": self.depth_head(depth[-1]).float(),
        }


class Encoder(nn.Module):
    """Normalised input -> bridge (N, 512, H/16, W/16) and four skips, coarse to fine.

    The skips have 512, 256, 128, 64 channels at strides 8, 4, 2, 1. Each is taken before the max
    pooling.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, CHANNELS[0], 5, padding=2, bias=False)
        self.downs = nn.ModuleList(ResidualBlock(a, b) for a, b in itertools.pairwise(CHANNELS))
        self.bridge = pre_activated(CHANNELS[-1], CHANNELS[-1])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        x = self.first(x)
        skips: list[torch.Tensor] = []
        for down in self.downs:
            x = down(x)
            skips.insert(0, x)
            x = F.max_pool2d(x, 2)
        return self.bridge(x), skips


class Decoder(nn.Module):
    """Bridge, skips and links -> four features, coarse to fine, at strides 8, 4, 2, 1.

    Args:
        channels: channels of the four features.
        link_channels: channels of the features of another decoder, one added at each step; 0 for
            no link.
    """

    def __init__(self, channels: tuple[int, ...], *, link_channels: tuple[int, ...]) -> None:
        super().__init__()
        below = (CHANNELS[-1], *channels[:-1])
        skips = CHANNELS[:0:-1]
        self.ups = nn.ModuleList(
            Up(*step) for step in zip(below, channels, skips, link_channels, strict=True)
        )

    def forward(
        self,
        x: torch.Tensor,
        skips: list[torch.Tensor],
        links: list[torch.Tensor | None],
    ) -> list[torch.Tensor]:
        features = []
        for up, skip, link in zip(self.ups, skips, links, strict=True):
            x = up(x, skip, link)
            features.append(x)
        return features


class Up(nn.Module):
    """Doubles the size by pixel shuffle, adds projected skip and link; then a residual block."""

    def __init__(
        self, in_channels: int, out_channels: int, skip_channels: int, link_channels: int
    ) -> None:
        super().__init__()
        self.widen = nn.Conv2d(in_channels, 4 * in_channels, 1, bias=False)
        self.skip = nn.Conv2d(skip_channels, in_channels, 1, bias=False)
        self.link = None
        if link_channels:
            self.link = nn.Conv2d(link_channels, in_channels, 1, bias=False)
        self.block = ResidualBlock(in_channels, out_channels)

    def forward(
        self, x: torch.Tensor, skip: torch.Tensor, link: torch.Tensor | None
    ) -> torch.Tensor:
        x = F.pixel_shuffle(self.widen(x), 2) + self.skip(skip)
        if self.link is not None:
            x = x + self.link(link)
        return self.block(x)


class ResidualBlock(nn.Module):
    """Two pre-activated convolutions, added to a 1x1 convolution and batch norm of the input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = pre_activated(in_channels, out_channels)
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convs(x) + self.shortcut(x)


def pre_activated(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build batch norm, ReLU and 3x3 convolution, twice."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
        ]
    return nn.Sequential(*layers)
