"""The mask network: DRN-D-22 encoder and three up-projections back to full size, no skips.

25,259,761 parameters with 3 input channels: encoder 15,880,752; up-projections 512->256 7,144,960,
256->128 1,786,624, 128->64 446,848; last 3x3 convolution 577.
"""

import torch
from torch import nn

from models.blocks import Normalize, check_input, init_he, init_output, start_from_difference
from models.drn import DRND22
from models.network import Network
from models.up_projection import UpProjection


class MaskAutoencoder(Network):
    """RGB (N, in_channels, H, W) in 0..1 -> mask logits (N, 1, H, W).

    Args:
        in_channels: 3 or 6. With 6, half the first filters start as composite - background.
    """

    task = "mask"
    heads = {"mask": "logits"}
    stride = 8

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.normalize = Normalize(in_channels)
        self.encoder = DRND22(in_channels=in_channels)
        self.decoder = nn.ModuleList(
            [UpProjection(512, 256), UpProjection(256, 128), UpProjection(128, 64)]
        )
        self.head = nn.Conv2d(64, 1, 3, padding=1)
        if in_channels == 6:
            start_from_difference(self.encoder.get_parameter(self.encoder.first_conv))
        init_he(self.decoder)
        init_output(self.head, std=0.01, bias=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        height, width = x.shape[-2:]
        features = self.encoder(self.normalize(x))
        for step, shrink in zip(self.decoder, (4, 2, 1), strict=True):
            features = step(features, (height // shrink, width // shrink))
        return self.head(features).float()
