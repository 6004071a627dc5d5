"""`fcrn`: ResNet-50 encoder and four up-projections by zero-unpooling, without skips.

Laina et al. 2016 (arXiv 1606.00373), "UpProj". 63,566,913 parameters with 3 input channels, the
63.6 million of the paper's table 1:

    part                                                        output      parameters
    encoder   ResNet-50 without classifier                      2048 @ S/32 23,508,032
    reduce    1x1 2048->1024, batch norm                        1024 @ S/32  2,100,224
    decoder   up-projections 1024->512->256->128->64              64 @ S/2  37,958,080
    head      dropout, 3x3 64->1                                   1 @ S/2         577

The convolutions before a batch norm have biases, as in the published weights. The biases are in the
count, although batch norm cancels them. The up-projections of `resnet50_upproj` have no biases, and
resize bilinearly.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import Normalize, check_input, init_he, init_output
from models.errors import ModelError
from models.network import Network
from models.resnet50_upproj import INITIAL_DEPTH, ResNet50Encoder

FORMS = ("fast", "plain")
WIDTHS = (1024, 512, 256, 128, 64)
TAPS = 5  # side of the kernel after the unpooling


class FCRN(Network):
    """RGB (N, in_channels, H, W) in 0..1 -> depth (N, 1, H/2, W/2), a share of the greatest depth.

    There is no activation at the end: the output is unbounded, and about 0..1 after training.

    Args:
        in_channels: 3, or 6 for two pictures.
        full_size: resize the depth to (N, 1, H, W).
        form: how to compute the up-projections, one of FORMS. It does not change the weights, and
            changes the output by rounding only.

    Raises:
        ModelError: `form` is not one of FORMS.
    """

    task = "depth"
    heads = {"depth": "linear"}
    stride = 32

    def __init__(
        self, *, in_channels: int = 3, full_size: bool = False, form: str = "fast"
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ModelError(f"form={form!r}; expected one of {', '.join(FORMS)}")
        self.in_channels = in_channels
        self.full_size = full_size
        self.normalize = Normalize(in_channels)
        self.encoder = ResNet50Encoder(in_channels)
        self.reduce = nn.Sequential(nn.Conv2d(2048, WIDTHS[0], 1), nn.BatchNorm2d(WIDTHS[0]))
        self.decoder = nn.Sequential(
            *(UnpoolProjection(a, b, form) for a, b in itertools.pairwise(WIDTHS))
        )
        last = nn.Conv2d(WIDTHS[-1], 1, 3, padding=1)
        self.head = nn.Sequential(nn.Dropout(0.5), last)
        for part in (self.reduce, self.decoder):
            init_he(part)
        init_output(last, std=0.01, bias=INITIAL_DEPTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        features = self.encoder(self.normalize(x))
        depth = self.head(self.decoder(self.reduce(features[-1]))).float()
        if self.full_size:
            depth = F.interpolate(depth, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return depth


class UnpoolProjection(nn.Module):
    """Zero-unpooling; conv5x5-BN-ReLU-conv3x3-BN plus conv5x5-BN; ReLU. Paper, fig. 2 (c).

    Both 5x5 convolutions have the same input, so one convolution computes them. The first half of
    its channels continues to the 3x3 convolution; the second half is the shortcut.

    Input: (N, in_channels, h, w). Output: (N, out_channels, 2h, 2w), >= 0.
    """

    def __init__(self, in_channels: int, out_channels: int, form: str = "fast") -> None:
        super().__init__()
        self.form = form
        self.conv1 = nn.Conv2d(in_channels, 2 * out_channels, TAPS, padding=TAPS // 2)
        self.bn1 = nn.BatchNorm2d(2 * out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = unpool_conv2d(x, self.conv1.weight, self.conv1.bias, form=self.form)
        branch, shortcut = self.bn1(wide).chunk(2, dim=1)
        return F.relu(self.bn2(self.conv2(F.relu(branch))) + shortcut)


def unpool_conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, form: str = "fast"
) -> torch.Tensor:
    """Unpool by 2 with zeros, then convolve 5x5.

    Unpooling turns each value into 2x2 pixels: the value in the upper left and three zeros. The
    form "plain" does exactly this, and three of four products have a zero factor. The form "fast"
    (paper, section 3.1) omits those products. Which taps of the kernel meet a value depends on the
    position of the output pixel in its 2x2 block:

        upper left    taps 0 2 4 by 0 2 4     upper right    taps 0 2 4 by 1 3
        lower left    taps   1 3 by 0 2 4     lower right    taps   1 3 by 1 3

    So four small convolutions of `x` compute the four pixels of each block. Three taps cover the
    value and one neighbour on either side; two taps cover the value and the next one.

    Args:
        x: (N, C, h, w).
        weight: (D, C, 5, 5).
        bias: (D,), or None.
        form: one of FORMS.

    Returns:
        (N, D, 2h, 2w). The forms differ by rounding only, at the borders too.
    """
    if form == "plain":
        zeros = torch.zeros_like(x)
        return F.conv2d(_interleave(x, zeros, zeros, zeros), weight, bias, padding=TAPS // 2)
    # Unbind and stack, do not slice: the gradient of every slice would be a tensor of the size of
    # the whole weight.
    taps = weight.flatten(2).unbind(2)  # (D, C) each
    pixels = []
    for row in (0, 1):
        for column in (0, 1):
            used = [taps[TAPS * i + j] for i in range(row, TAPS, 2) for j in range(column, TAPS, 2)]
            kernel = torch.stack(used, dim=1).unflatten(1, (3 - row, 3 - column))
            kernel = kernel.permute(0, 3, 1, 2)  # (D, C, 3 or 2, 3 or 2), channels-last
            padded = F.pad(x, (0, column, 0, row))
            pixels.append(F.conv2d(padded, kernel, bias, padding=(1 - row, 1 - column)))
    return _interleave(*pixels)


def _interleave(
    upper_left: torch.Tensor,
    upper_right: torch.Tensor,
    lower_left: torch.Tensor,
    lower_right: torch.Tensor,
) -> torch.Tensor:
    """Arrange four (N, C, h, w) as the 2x2 blocks of one (N, C, 2h, 2w), channels-last.

    It is `pixel_shuffle` for channels-last memory: all channels of a pixel are copied together.
    """
    upper, lower = (
        torch.stack([a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)], dim=3).flatten(2, 3)
        for a, b in ((upper_left, upper_right), (lower_left, lower_right))
    )  # (N, h, 2w, C)
    return torch.stack([upper, lower], dim=2).flatten(1, 2).permute(0, 3, 1, 2)
