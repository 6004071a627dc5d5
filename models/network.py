"""The base classes of the networks: the attributes that callers may rely on, with types."""

import torch
from torch import nn

Option = bool | int | float | str
Outputs = torch.Tensor | dict[str, torch.Tensor]


class Network(nn.Module):
    """A network of the registry; see `models.registry` for its inputs and outputs.

    Attributes:
        task: "mask", "depth", or "joint" for both maps.
        heads: how to read each output map, "logits" or "linear", by the name of the map.
        stride: the height and width of the input must be multiples of it.
        in_channels: 3 (one RGB picture) or 6 (two).
        arch: key of `MODELS`. `create_model` sets it.
        options: keyword arguments of `create_model`, `in_channels` included. `create_model` sets
            them.
    """

    task: str
    heads: dict[str, str]
    stride: int
    in_channels: int
    arch: str
    options: dict[str, Option]


class PretrainedEncoder(nn.Module):
    """An encoder with published ImageNet weights.

    Attributes:
        first_conv: name in the state dict of the weight that is applied to the input picture.
        pretrained_source: publisher of the weights, for error messages.
    """

    first_conv: str
    pretrained_source: str

    @staticmethod
    def rename_pretrained(name: str) -> str | None:
        """Translate a published layer name to ours; None for a layer that is not needed."""
        raise NotImplementedError
