"""`lite_dual`: a shared convolution for both pictures, then two heads, all at full resolution.

    part                                                            output   parameters
    shared   3x3 3->32, for each picture                            2 x 32          928
    trunk    depthwise 3x3, 3x3 64->128                                128       74,688
    mask     depthwise 3x3, 3x3 128->256, 3x3 256->1                     1      299,136
    depth    2 depthwise 3x3, 3x3 128->256, depthwise 3x3, 3x3 256->512->256->256,
             3x3 256->128 in 128 groups, 3x3 128->1                      1    3,255,936
                                                                              3,630,688

Reference system 004. Nothing pools or resizes. The receptive field of a mask pixel is 13x13 pixels,
that of a depth pixel 25x25. The convolutions have no biases. Batch norm and ReLU follow each
convolution except the last of a head.

The author reports 3,631,616 parameters, the total of a summary tool that counts the shared
convolution twice (+928). The author's module has 3,631,392 parameters, because it declares another
block (704) that it never calls. So 3,631,616 = 3,631,392 - 704 + 928. The remaining 3,630,688
parameters are used, and this module has those.

How the author normalised the inputs is not known; here RGB in 0..1 is normalised with ImageNet's
mean and standard deviation. Weights are initialised by PyTorch's defaults, as the author's were.
"""

import torch
from torch import nn

from models.blocks import Normalize, check_input, check_two_pictures, conv_bn_relu
from models.heads import joint_heads
from models.network import Network


class LiteDual(Network):
    """RGB (N, 6, H, W) in 0..1 -> {"mask": (N, 1, H, W), "depth": (N, 1, H, W)}.

    The author trained the raw outputs with an L1 loss, so the heads are linear.

    Args:
        in_channels: 6 (composite, then background); nothing else is accepted.
        mask_head: "linear" or "logits": how to read the mask output. It does not change a layer.

    Raises:
        ModelError: `in_channels` is not 6.
    """

    task = "joint"
    stride = 1

    def __init__(self, *, in_channels: int = 6, mask_head: str = "linear") -> None:
        super().__init__()
        check_two_pictures("lite_dual", in_channels)
        self.in_channels = in_channels
        self.heads = joint_heads(mask_head, depth="linear")
        self.normalize = Normalize(in_channels)
        self.shared = conv_bn_relu(3, 32, 3)
        self.trunk = nn.Sequential(depthwise(64), conv_bn_relu(64, 128, 3))
        self.mask_branch = nn.Sequential(
            depthwise(128),
            conv_bn_relu(128, 256, 3),
            nn.Conv2d(256, 1, 3, padding=1, bias=False),
        )
        self.depth_branch = nn.Sequential(
            depthwise(128),
            depthwise(128),
            conv_bn_relu(128, 256, 3),
            depthwise(256),
            conv_bn_relu(256, 512, 3),
            conv_bn_relu(512, 256, 3),
            conv_bn_relu(256, 256, 3),
            conv_bn_relu(256, 128, 3, groups=128),
            nn.Conv2d(128, 1, 3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        check_input(x, in_channels=self.in_channels, stride=self.stride)
        composite, background = self.normalize(x).split(3, dim=1)
        # Two calls, not one: in training, batch norm must use each picture's own mean and variance.
        features = torch.cat((self.shared(background), self.shared(composite)), dim=1)
        features = self.trunk(features)  # (N, 128, H, W)
        return {
            "mask": self.mask_branch(features).float(),
            "depth": self.depth_branch(features).float(),
        }


def depthwise(channels: int) -> nn.Sequential:
    """Build a depthwise 3x3 convolution, batch norm and ReLU."""
    return conv_bn_relu(channels, channels, 3, groups=channels)
