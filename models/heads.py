"""How to read a network's raw outputs: the kinds of heads, and `answer`, which applies them."""

from typing import cast

import torch
from torch import nn

from models.errors import ModelError
from models.network import Network, Outputs

KINDS = ("linear", "logits")


def answer(net: nn.Module, outputs: Outputs, name: str) -> torch.Tensor:
    """Convert one raw output map of a network to values in 0..1.

    Args:
        net: the network that computed `outputs`; `net.heads[name]` says how to read the map.
        outputs: (N, 1, H, W), or a dict of such maps from a network with two heads.
        name: "mask" or "depth".

    Returns:
        float32 (N, 1, H, W) in 0..1: the sigmoid of logits, or a linear output clamped to 0..1.
    """
    output = outputs[name] if isinstance(outputs, dict) else outputs
    output = output.float()
    # torch's stub declares every attribute of a Module a Tensor or a Module.
    heads = cast(Network, net).heads
    return output.sigmoid() if heads[name] == "logits" else output.clamp(0, 1)


def joint_heads(mask_head: str, *, depth: str) -> dict[str, str]:
    """Build `net.heads` for a network that outputs both maps.

    Args:
        mask_head: how to read and train the mask, one of KINDS. The user chooses it.
        depth: how to read the depth, one of KINDS. The architecture fixes it.

    Returns:
        The kind of each head, by the name of its map.

    Raises:
        ModelError: `mask_head` is not one of KINDS.
    """
    if mask_head not in KINDS:
        raise ModelError(f"mask_head={mask_head!r}; expected one of {', '.join(KINDS)}")
    return {"mask": mask_head, "depth": depth}
