"""What a network's raw outputs mean: `net.heads` names its maps, and `answer` makes them 0..1."""

import torch
from torch import nn

from models.errors import ModelError

KINDS = ("linear", "logits")

Outputs = torch.Tensor | dict[str, torch.Tensor]


def answer(net: nn.Module, outputs: Outputs, name: str) -> torch.Tensor:
    """One map of a network's outputs as its answer.

    Args:
        net: the network that gave them; `net.heads[name]` says how to read them.
        outputs: (N, 1, H, W), or a dict of them from a network with two heads.
        name: "mask" or "depth".

    Returns:
        float32 (N, 1, H, W) in 0..1: the sigmoid of logits, a linear output cut off at both ends.
    """
    output = outputs[name] if isinstance(outputs, dict) else outputs
    output = output.float()
    return output.sigmoid() if net.heads[name] == "logits" else output.clamp(0, 1)


def joint_heads(mask_head: str, *, depth: str) -> dict[str, str]:
    """`net.heads` of a network that gives both maps.

    Args:
        mask_head: how the mask is to be read and trained, of KINDS; a choice of the user.
        depth: how the depth is, of KINDS.

    Raises:
        ModelError: `mask_head` is none of KINDS.
    """
    if mask_head not in KINDS:
        raise ModelError(f"mask_head={mask_head!r}; expected one of {', '.join(KINDS)}")
    return {"mask": mask_head, "depth": depth}
