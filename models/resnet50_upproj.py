"""The depth network: ResNet-50 encoder, up-projection decoder, multi-scale fusion, refinement head.

Hu et al. 2019 (arXiv 1803.08673), ResNet-50 variant. 67,569,473 parameters with 3 input channels:

    part                                                              output      parameters
    encoder   ResNet-50 without classifier         256, 512, 1024, 2048 @ S/4..S/32   23,508,032
    decoder   1x1 2048->1024, 4 up-projections     64 @ S/2                           40,054,400
    fusion    up-projection of each feature to 16, 5x5    64 @ S/2                     3,184,128
    head      5x5 128->128 twice, 5x5 128->1       1 @ S/2                               822,913
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet50

from models.blocks import Normalize, check_input, conv_bn_relu, init_he, init_output
from models.network import Network, PretrainedEncoder
from models.up_projection import UpProjection

FEATURE_CHANNELS = (256, 512, 1024, 2048)
INITIAL_DEPTH = 0.3  # share of the greatest depth; the mean of indoor scenes is about 3 of 10 m


class ResNet50UpProjection(Network):
    """RGB (N, in_channels, H, W) in 0..1 -> depth (N, 1, H/2, W/2), a share of the greatest depth.

    There is no activation at the end: the output is unbounded, and about 0..1 after training.

    Args:
        in_channels: 3 or 6.
        full_size: resize the depth to (N, 1, H, W).
    """

    task = "depth"
    heads = {"depth": "linear"}
    stride = 32

    def __init__(self, *, in_channels: int = 3, full_size: bool = False) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.full_size = full_size
        self.normalize = Normalize(in_channels)
        self.encoder = ResNet50Encoder(in_channels)
        self.decoder = Decoder()
        self.fusion = Fusion()
        refine = [conv_bn_relu(128, 128, 5), conv_bn_relu(128, 128, 5)]
        last = nn.Conv2d(128, 1, 5, padding=2)
        self.head = nn.Sequential(*refine, last)
        for part in (self.decoder, self.fusion, self.head):
            init_he(part)
        init_output(last, std=0.001, bias=INITIAL_DEPTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        half = (x.shape[-2] // 2, x.shape[-1] // 2)
        features = self.encoder(self.normalize(x))
        fused = torch.cat([self.decoder(features, half), self.fusion(features, half)], dim=1)
        depth = self.head(fused).float()
        if self.full_size:
            depth = F.interpolate(depth, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return depth


class ResNet50Encoder(PretrainedEncoder):
    """Normalised input -> features with 256, 512, 1024, 2048 channels at strides 4, 8, 16, 32.

    The layers have torchvision's names, so its state dict can be loaded.
    """

    first_conv = "conv1.weight"
    pretrained_source = "torchvision's resnet50"

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        net = resnet50(weights=None)
        self.conv1 = net.conv1
        if in_channels != 3:
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            init_he(self.conv1)
        self.bn1, self.relu, self.maxpool = net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            net.layer1,
            net.layer2,
            net.layer3,
            net.layer4,
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features

    @staticmethod
    def rename_pretrained(name: str) -> str | None:
        """Translate a layer name of torchvision to ours; None for the classifier."""
        return None if name.startswith("fc.") else name


class Decoder(nn.Module):
    """Deepest feature -> (N, 64, H/2, W/2).

    Each step resizes to the size of the next finer feature, the last one to half the input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reduce = conv_bn_relu(2048, 1024, 1)
        widths = (1024, 512, 256, 128, 64)
        self.steps = nn.ModuleList(UpProjection(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, features: list[torch.Tensor], half: tuple[int, int]) -> torch.Tensor:
        x = self.reduce(features[-1])
        sizes = [tuple(feature.shape[-2:]) for feature in features[-2::-1]] + [half]
        for step, size in zip(self.steps, sizes, strict=True):
            x = step(x, size)
        return x


class Fusion(nn.Module):
    """Up-projects every feature to (N, 16, H/2, W/2); joins and mixes them to 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList(UpProjection(channels, 16) for channels in FEATURE_CHANNELS)
        self.mix = conv_bn_relu(64, 64, 5)

    def forward(self, features: list[torch.Tensor], half: tuple[int, int]) -> torch.Tensor:
        resized = [step(x, half) for step, x in zip(self.steps, features, strict=True)]
        return self.mix(torch.cat(resized, dim=1))
