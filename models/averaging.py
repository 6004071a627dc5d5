"""One network of several: the mean of the weights that trainings from one start ended with."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from models.errors import ModelError
from models.weights import load_model

OF_ONE_TRAINING = ("dataset_fingerprint", "epoch", "step", "metrics", "averaged")  # not kept


def average_models(paths: Sequence[Path | str]) -> tuple[nn.Module, dict[str, object]]:
    """The mean of the weights of several files, batch norm's statistics included.

    Trainings that began from the same weights, and differ in seed, augmentation or loss, end in one
    valley: their mean lies nearer to its bottom than each of them and answers pictures it never saw
    better, at the cost of one network ("model soup", Wortsman et al. 2022, arXiv 2203.05482).
    Weights of different starts have nothing in common, and their mean knows nothing.

    Args:
        paths: two or more weights files of one architecture, trained for the same.

    Returns:
        The network in evaluation mode, and the `about` that the files share.

    Raises:
        ModelError: fewer than two files, one that `load_model` refuses, or files that differ in
            architecture, in its options or in what the weights were trained for.
    """
    if len(paths) < 2:
        raise ModelError(f"{len(paths)} weights files; expected two or more to average")
    (net, about), *others = [load_model(path) for path in paths]
    for path, (other, its) in zip(paths[1:], others, strict=True):
        for name, first, second in _compared(net, about, other, its):
            if first != second:
                raise ModelError(
                    f"{path} has {name} {second!r}, {paths[0]} has {first!r}: only weights of one"
                    " network, trained for the same, have a mean"
                )
    states = [net.state_dict(), *(other.state_dict() for other, _ in others)]
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            tensor.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
    shared = {name: value for name, value in about.items() if name not in OF_ONE_TRAINING}
    return net, shared | {"averaged": len(paths)}


def _compared(
    net: nn.Module, about: dict, other: nn.Module, its: dict
) -> Iterator[tuple[str, object, object]]:
    """Name, value in the one, value in the other, of all that has to be equal."""
    yield "arch", net.arch, other.arch
    yield "options", net.options, other.options
    for name in sorted((about.keys() | its.keys()) - set(OF_ONE_TRAINING)):
        yield name, about.get(name), its.get(name)
