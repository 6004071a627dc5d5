"""Small networks with weights that answer with more than a constant, as files."""

from collections.abc import Sequence
from pathlib import Path

import torch

from models import create_model, save_model

NEED_TWO = ("lite_dual", "mask_slim_pair")  # architectures that take two pictures alone


def checkpoint(
    path: Path,
    arch: str = "mask_lite",
    *,
    inputs: Sequence[str] = ("composite",),
    kind: str = "metric",
    size: Sequence[int] = (64, 64),
) -> Path:
    """Writes a checkpoint with random weights."""
    torch.manual_seed(0)
    net = create_model(arch, in_channels=3 * len(inputs))
    for name, parameter in net.named_parameters():  # some heads begin with a constant answer
        if "head" in name and parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.1)
    about = {"inputs": list(inputs), "img_size": list(size)}
    if "depth" in net.heads:
        about |= {"depth_kind": kind, "max_depth_m": 10.0 if kind == "metric" else 0.0}
    save_model(path, net, about)
    return path
