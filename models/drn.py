"""DRN-D-22, a dilated residual network: a classifier, or the encoder of the mask network.

Yu, Koltun, Funkhouser 2017 (arXiv 1705.09914). Dilation replaces the last two strides, so the
features have 1/8 of the input's height and width. 15,880,752 parameters; 16,393,752 with its
classifier. The layers have the names of the public release (github.com/fyu/drn), so its state dict
can be loaded.
"""

import torch
from torch import nn

from models.blocks import init_he
from models.network import PretrainedEncoder


class DRND22(PretrainedEncoder):
    """Normalised input (N, in_channels, H, W) -> features (N, 512, H/8, W/8), or class logits.

    Args:
        in_channels: channels of the input.
        num_classes: 0 for features; otherwise `forward` returns logits (N, num_classes).
    """

    first_conv = "layer0.0.weight"
    pretrained_source = "fyu/drn's drn_d_22"

    def __init__(self, *, in_channels: int = 3, num_classes: int = 0) -> None:
        super().__init__()
        self.layer0 = _conv_layer(in_channels, 16, kernel_size=7)
        self.layer1 = _conv_layer(16, 16)
        self.layer2 = _conv_layer(16, 32, stride=2)
        self.layer3 = _block_layer(32, 64, stride=2)
        self.layer4 = _block_layer(64, 128, stride=2)
        self.layer5 = _block_layer(128, 256, dilation=2)
        self.layer6 = _block_layer(256, 512, dilation=4)
        self.layer7 = _conv_layer(512, 512, dilation=2)
        self.layer8 = _conv_layer(512, 512)
        self.fc = nn.Conv2d(512, num_classes, 1) if num_classes else None
        init_he(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer2(self.layer1(self.layer0(x)))
        x = self.layer6(self.layer5(self.layer4(self.layer3(x))))
        x = self.layer8(self.layer7(x))
        if self.fc is None:
            return x
        return self.fc(x.mean(dim=(2, 3), keepdim=True)).flatten(1)

    @staticmethod
    def rename_pretrained(name: str) -> str | None:
        """Translate a layer name of the public release to ours; None for the classifier."""
        return None if name.startswith("fc.") else name


def drn_d_22(*, num_classes: int = 1000) -> DRND22:
    """Build the published classifier: normalised RGB (N, 3, H, W) -> logits (N, num_classes)."""
    return DRND22(num_classes=num_classes)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input, projected if needed."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels, stride=stride, dilation=dilation)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(out_channels, out_channels, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(x + shortcut)


def _conv3x3(
    in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )


def _conv_layer(
    in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    padding = dilation * (kernel_size // 2)
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation=dilation, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _block_layer(
    in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(in_channels, out_channels, stride=stride, dilation=dilation),
        BasicBlock(out_channels, out_channels, stride=1, dilation=dilation),
    )
