"""The U-Nets of the reference systems and `mask_slim`: networks built from one kind of branch.

                    maps     branches (channels of the encoder, fine to coarse)     parameters
    dual_unet       both     mask 16 32 64 128 128, depth 32 64 128 256 256          5,403,938
    unet            one      64 128 256 512 512                                     17,267,393
    shared_unet     both     mask 32 64 128 256 256, depth 32 32 64 128 256 256      8,678,274
    mask_unet       mask     32 64 128 256 256                                       4,321,473
    depth_unet      depth    32 32 64 128 256 256                                    4,367,937
    mask_slim       mask     16 24 40 80 112 160                                     1,343,513
    mask_slim_pair  mask     that twice: with a background, and without              2,686,594

Counts are for 6 input channels, `unet`'s for 3 (17,269,121 with 6). Sources: reference systems 000
(`dual_unet`), 001 (`unet`, the network of its parameter table) and 003 (the next three).
`mask_slim` is of no system: it is the one for a computer without a GPU. So is `mask_slim_pair`.

The authors did not normalise the inputs, or used the mean and standard deviation of their own
datasets. Here each network takes RGB in 0..1 and normalises with ImageNet's mean and standard
deviation. Weights are initialised by PyTorch's defaults, as the authors' were.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import (
    Normalize,
    check_input,
    check_two_pictures,
    conv_bn_relu,
    start_from_difference,
)
from models.errors import ModelError
from models.heads import joint_heads
from models.network import Network

WIDE_CHANNELS = (64, 128, 256, 512, 512)
MASK_CHANNELS = (32, 64, 128, 256, 256)
DEPTH_CHANNELS = (32, 32, 64, 128, 256, 256)
SLIM_CHANNELS = (16, 24, 40, 80, 112, 160)
DUAL_MASK_CHANNELS = (16, 32, 64, 128, 128)
DUAL_DEPTH_CHANNELS = (32, 64, 128, 256, 256)


class DualUNet(Network):
    """Two separate U-Nets on the same pictures (reference system 000).

    RGB (N, in_channels, H, W) in 0..1 -> {"mask": (N, 1, H, W), "depth": (N, 1, H, W)}. The mask
    branch has 1,082,465 parameters, the depth branch 4,321,473. The author trained the raw outputs
    with an SSIM loss, so the heads are linear.

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
        self.mask_branch = full_unet(in_channels, DUAL_MASK_CHANNELS)
        self.depth_branch = full_unet(in_channels, DUAL_DEPTH_CHANNELS)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        x = self.normalize(x)
        return {"mask": self.mask_branch(x), "depth": self.depth_branch(x)}


class SharedUNet(Network):
    """Two U-Nets that share only their first two convolutions (reference system 003).

    RGB (N, in_channels, H, W) in 0..1 -> {"mask": (N, 1, H, W), "depth": (N, 1, H, W)}. The author
    trained both outputs as logits, the depth included.

    Args:
        in_channels: 3 or 6.
        mask_head: "linear" or "logits": how to read the mask output. It does not change a layer.
    """

    task = "joint"
    stride = 32

    def __init__(self, *, in_channels: int = 3, mask_head: str = "logits") -> None:
        super().__init__()
        self.in_channels = in_channels
        self.heads = joint_heads(mask_head, depth="logits")
        self.normalize = Normalize(in_channels)
        self.first = double_conv(in_channels, MASK_CHANNELS[0])
        self.mask_branch = Branch(MASK_CHANNELS)
        self.depth_branch = Branch(DEPTH_CHANNELS)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        x = self.first(self.normalize(x))
        return {"mask": self.mask_branch(x), "depth": self.depth_branch(x)}


class SingleUNet(Network):
    """A U-Net for one map: RGB (N, in_channels, H, W) in 0..1 -> (N, 1, H, W).

    Subclasses set `task` and `heads`.

    Args:
        in_channels: 3 or 6.
        channels: channels of the encoder's features, at strides 1, 2, 4 and so on.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stride = 2 ** (len(channels) - 1)
        self.normalize = Normalize(in_channels)
        self.branch = full_unet(in_channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        return self.branch(self.normalize(x))


class UNet(SingleUNet):
    """The U-Net of the parameter table of reference system 001: mask logits, or linear depth.

    Args:
        in_channels: 3 or 6.
        task: "mask" or "depth": which map the output is. It does not change a layer.

    Raises:
        ModelError: `task` is neither.
    """

    def __init__(self, *, in_channels: int = 3, task: str = "mask") -> None:
        if task not in ("mask", "depth"):
            raise ModelError(f"task={task!r}; expected mask or depth")
        super().__init__(in_channels, WIDE_CHANNELS)
        self.task = task
        self.heads = {"mask": "logits"} if task == "mask" else {"depth": "linear"}


class MaskUNet(SingleUNet):
    """The mask network of reference system 003: logits (N, 1, H, W)."""

    task = "mask"
    heads = {"mask": "logits"}

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(in_channels, MASK_CHANNELS)


class DepthUNet(SingleUNet):
    """The depth network of reference system 003: logits (N, 1, H, W); their sigmoid is the depth.

    Depth is a share of the greatest depth.
    """

    task = "depth"
    heads = {"depth": "logits"}

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(in_channels, DEPTH_CHANNELS)


class MaskSlim(SingleUNet):
    """A mask network with few channels at full resolution: logits (N, 1, H, W).

    Its first and last convolutions see every pixel, so that edges come out sharper than those of
    `mask_lite`, which decides at half the resolution. On CPUs with bf16 arithmetic (`--amp bf16`)
    it also trains faster. With a background, half of the first filters start as differences.
    """

    task = "mask"
    heads = {"mask": "logits"}

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(in_channels, SLIM_CHANNELS)
        if in_channels == 6:
            start_from_difference(self.get_parameter("branch.0.0.0.weight"))


class MaskSlimPair(Network):
    """Two `mask_slim`: one compares a composite with its background, one sees the composite alone.

    RGB (N, 6, H, W) in 0..1 -> logits (N, 1, H, W). The second answers for samples whose background
    is black, which stands for none, as where registration recognises another view. A single network
    that compares guesses worse there than one that never had a background; this one does not.

    `tools.bundle_mask` puts it together from two trainings. If it is trained as one, each sample
    teaches the network that answers for it.

    Args:
        in_channels: 6 (composite, then background); nothing else is accepted.

    Raises:
        ModelError: `in_channels` is not 6.
    """

    task = "mask"
    heads = {"mask": "logits"}

    def __init__(self, *, in_channels: int = 6) -> None:
        super().__init__()
        check_two_pictures("mask_slim_pair", in_channels)
        self.in_channels = in_channels
        self.comparing, self.alone = MaskSlim(in_channels=6), MaskSlim(in_channels=3)
        self.stride = self.comparing.stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        has_background = x[:, 3:].amax(dim=(1, 2, 3), keepdim=True) > 0
        return torch.where(has_background, self.comparing(x), self.alone(x[:, :3]))


class Branch(nn.Module):
    """A U-Net without its first convolutions: (N, channels[0], H, W) -> (N, 1, H, W) float32.

    A step down is max pooling and two convolutions. A step up doubles the size, concatenates the
    skip with the result and applies two convolutions. It outputs as many channels as the next finer
    skip has; the last step up outputs as many as its own skip.

    Args:
        channels: channels of the encoder's features, at strides 1, 2, 4 and so on.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.downs = nn.ModuleList(double_conv(a, b) for a, b in itertools.pairwise(channels))
        self.ups = nn.ModuleList()
        below = channels[-1]
        skips = channels[-2::-1]  # coarse to fine
        for skip, out_channels in zip(skips, (*skips[1:], skips[-1]), strict=True):
            self.ups.append(double_conv(skip + below, out_channels, middle=(skip + below) // 2))
            below = out_channels
        self.head = nn.Conv2d(below, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = [x]
        for down in self.downs:
            features.append(down(F.max_pool2d(features[-1], 2)))
        x = features.pop()
        for up in self.ups:
            skip = features.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
            x = up(torch.cat((skip, x), dim=1))
        return self.head(x).float()


def full_unet(in_channels: int, channels: tuple[int, ...]) -> nn.Sequential:
    """Build a U-Net: normalised pictures (N, in_channels, H, W) -> (N, 1, H, W) float32."""
    return nn.Sequential(double_conv(in_channels, channels[0]), Branch(channels))


def double_conv(in_channels: int, out_channels: int, *, middle: int | None = None) -> nn.Sequential:
    """Build 3x3 convolution with bias, batch norm and ReLU, twice.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        middle: channels between the two convolutions; None for `out_channels`.
    """
    middle = middle or out_channels
    return nn.Sequential(
        conv_bn_relu(in_channels, middle, 3, bias=True),
        conv_bn_relu(middle, out_channels, 3, bias=True),
    )
