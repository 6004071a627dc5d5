"""DenseDepth (Alhashim & Wonka 2018, arXiv 1812.11941), the network of the NYU depth teacher.

    rgb ── DenseNet-169 ──▶ relu0 /2   pool0 /4   transition1 /8   transition2 /16   norm5 /32
                               │          │            │                │              │ ReLU, 1x1
           conv3 ◀─── up4 ◀────┘ ◀─ up3 ◀─┘ ◀── up2 ◀──┘ ◀──── up1 ◀────┘ ◀────────────┘

It follows the released weights where they and the published code differ: full decoder width, no
activation between the two convolutions of an up-sampling step, corners aligned in bilinear
up-sampling.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dsetkit.errors import TeacherError
from dsetkit.extras import extra_module

STRIDE = 32
BLOCK_LAYERS = (6, 12, 32, 32)
ENCODER_CHANNELS = 1664
SKIP_CHANNELS = {"relu0": 64, "pool0": 64, "transition1": 128, "transition2": 256}
BATCH_NORM_EPS = 1.001e-5  # Keras's DenseNet; torchvision's is 1e-5


class UpSample(nn.Module):
    """Bilinear up-sampling to the size of a skip, then two 3x3 convolutions over both together."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convA = nn.Conv2d(in_channels + skip_channels, out_channels, 3, padding=1)
        self.convB = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
        x = self.convB(self.convA(torch.cat((x, skip), dim=1)))
        return F.leaky_relu(x, 0.2)


class DenseDepth(nn.Module):
    """DenseNet-169 encoder and bilinear decoder; inverse depth at half resolution.

    Args:
        decoder_width: channels after the bottleneck: 1664 in the released weights (42,657,689
            parameters), 832 in the half-width variant of the later code (21,365,405 parameters).
    """

    def __init__(self, *, decoder_width: int = ENCODER_CHANNELS) -> None:
        super().__init__()
        densenet = _densenet_class()(
            growth_rate=32, block_config=BLOCK_LAYERS, num_init_features=64
        )
        self.encoder: nn.Sequential = densenet.features
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = BATCH_NORM_EPS
        self.conv2 = nn.Conv2d(ENCODER_CHANNELS, decoder_width, 1)
        skips = list(reversed(SKIP_CHANNELS.values()))  # coarse to fine: 256, 128, 64, 64
        widths = [decoder_width >> step for step in range(5)]  # 1664, 832, 416, 208, 104
        self.up1 = UpSample(widths[0], skips[0], widths[1])
        self.up2 = UpSample(widths[1], skips[1], widths[2])
        self.up3 = UpSample(widths[2], skips[2], widths[3])
        self.up4 = UpSample(widths[3], skips[3], widths[4])
        self.conv3 = nn.Conv2d(widths[4], 1, 3, padding=1)

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        """Predict inverse depth.

        Args:
            rgb: (N, 3, H, W) float32 in [0, 1], not normalised; H and W multiples of 32.

        Returns:
            (N, 1, H/2, W/2) float32: 1000 cm / depth, about 1 (10 m) to 100 (10 cm), not clipped.
        """
        x, skips = rgb, {}
        for name, layer in self.encoder.named_children():
            x = layer(x)
            if name in SKIP_CHANNELS:
                skips[name] = x
        x = self.conv2(F.relu(x))  # (N, 1664, H/32, W/32)
        x = self.up1(x, skips["transition2"])  # (N, 832, H/16, W/16)
        x = self.up2(x, skips["transition1"])  # (N, 416, H/8, W/8)
        x = self.up3(x, skips["pool0"])  # (N, 208, H/4, W/4)
        x = self.up4(x, skips["relu0"])  # (N, 104, H/2, W/2)
        return self.conv3(x)


def _densenet_class() -> Any:
    """Torchvision's DenseNet.

    Raises:
        TeacherError: torchvision is not installed.
    """
    purpose = "teacher densedepth"
    torchvision = extra_module(
        "torchvision.models", extra="densedepth", purpose=purpose, error=TeacherError
    )
    return torchvision.DenseNet
