"""Parts that all networks are built from: input check, normalisation, weight initialisation."""

import torch
from torch import nn

from models.errors import ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """(x - mean) / std per channel, for one or several RGB pictures stacked along channels.

    The constants are buffers outside the state dict: they move with the network and are no weights.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        pictures = in_channels // 3
        for name, values in (("mean", mean), ("std", std)):
            constant = torch.tensor(values * pictures).view(1, in_channels, 1, 1)
            self.register_buffer(name, constant, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Channels-last memory is the fast one for convolutions, and all later layers keep it.
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def check_input(x: torch.Tensor, *, in_channels: int, stride: int) -> None:
    """Raise ModelError unless `x` is (N, in_channels, H, W) with H and W multiples of `stride`."""
    if x.ndim != 4 or x.shape[1] != in_channels:
        raise ModelError(
            f"input of shape {tuple(x.shape)}; expected (N, {in_channels}, H, W) for this network"
        )
    height, width = x.shape[-2:]
    if height % stride or width % stride:
        fitting = [max(1, -(-size // stride)) * stride for size in (height, width)]
        raise ModelError(
            f"input of {height}x{width} pixels; height and width must be multiples of {stride}: "
            f"resize or pad to {fitting[0]}x{fitting[1]}"
        )


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, groups: int = 1, bias: bool = False
) -> nn.Sequential:
    """Convolution that keeps the size, batch norm, ReLU."""
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=padding, groups=groups, bias=bias
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def init_he(module: nn.Module) -> None:
    """He initialisation (normal, fan out) of every convolution inside `module`; biases to zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def start_from_difference(conv: nn.Conv2d) -> None:
    """Lets half the filters of a first convolution see composite - background before training.

    Their weights for the second picture become the negative of those for the first, so that they
    answer 0 where nothing was pasted. The other half keeps seeing both pictures by themselves.

    Args:
        conv: a convolution of two stacked RGB pictures (6 input channels).
    """
    with torch.no_grad():
        half = conv.weight[: conv.out_channels // 2]
        half[:, 3:] = -half[:, :3]
