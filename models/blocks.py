"""Parts that several networks share: input check, normalisation, layers, weight initialisation."""

import torch
from torch import nn

from models.errors import ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """Computes (x - mean) / std per channel, for one or more RGB pictures stacked along channels.

    The constants are buffers, so they move with the network. They are not in the state dict,
    because they are not weights.

    Args:
        in_channels: a multiple of 3.
        mean: of R, G, B in 0..1.
        std: of R, G, B.

    Attributes:
        memory_format: Of the result. All later layers keep it, and most networks run fastest on
            channels-last memory. Trainings may change it.
    """

    mean: torch.Tensor
    std: torch.Tensor
    memory_format: torch.memory_format

    def __init__(
        self,
        in_channels: int,
        *,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last
        pictures = in_channels // 3
        for name, values in (("mean", mean), ("std", std)):
            constant = torch.tensor(values * pictures).view(1, in_channels, 1, 1)
            self.register_buffer(name, constant, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x - self.mean) / self.std).contiguous(memory_format=self.memory_format)


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


def check_two_pictures(name: str, in_channels: int) -> None:
    """Raise ModelError unless a network that compares two pictures gets both."""
    if in_channels != 6:
        raise ModelError(
            f"{name} compares two pictures, but in_channels={in_channels}: give it both,"
            " composite and background, as in_channels=6"
        )


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, groups: int = 1, bias: bool = False
) -> nn.Sequential:
    """Build a convolution that keeps the picture's size, batch norm and ReLU."""
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=padding, groups=groups, bias=bias
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def init_he(module: nn.Module) -> None:
    """Initialise every convolution in `module` (He, normal, fan out); set its bias to zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def init_output(conv: nn.Conv2d, *, std: float, bias: float) -> None:
    """Initialise the last convolution of a network, so that every output starts near `bias`."""
    nn.init.normal_(conv.weight, std=std)
    if conv.bias is not None:
        nn.init.constant_(conv.bias, bias)


def start_from_difference(weight: nn.Parameter) -> None:
    """Make half the filters of a first convolution compute composite - background at the start.

    In these filters the weights of the second picture become the negative of those of the first.
    Their output is then 0 wherever nothing was pasted. The other half of the filters is unchanged.

    Args:
        weight: (D, 6, k, k), the weight of a convolution of two stacked RGB pictures.
    """
    with torch.no_grad():
        half = weight[: weight.shape[0] // 2]
        half[:, 3:] = -half[:, :3]
