"""Averages the weights of several trainings of one network."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from models.errors import ModelError
from models.network import Network
from models.weights import Metadata, load_model

# Metadata of a single training: the files may differ in it, and the mean does not keep it.
OF_ONE_TRAINING = ("dataset_fingerprint", "epoch", "step", "metrics", "averaged")


def average_models(paths: Sequence[Path | str]) -> tuple[Network, Metadata]:
    """Average the weights of several files, the statistics of batch norm included.

    All trainings must have started from the same weights. They may differ in seed, augmentation or
    loss. Their minima then lie in one basin of the loss, and the mean is usually closer to its
    bottom than each of them: it is more accurate on unseen pictures, at the cost of one network
    ("model soup", Wortsman et al. 2022, arXiv 2203.05482). The mean of weights from different
    starts is useless.

    Args:
        paths: two or more weights files of one architecture, trained for the same task.

    Returns:
        The network in evaluation mode, and the metadata that the files share.

    Raises:
        ModelError: there are fewer than two files, `load_model` refuses one, or the files differ in
            architecture, options or metadata.
    """
    if len(paths) < 2:
        raise ModelError(f"{len(paths)} weights files; expected two or more to average")
    (net, metadata), *others = [load_model(path) for path in paths]
    for path, (other, other_metadata) in zip(paths[1:], others, strict=True):
        for name, first, second in _compared(net, metadata, other, other_metadata):
            if first != second:
                raise ModelError(
                    f"{path} has {name} {second!r}, {paths[0]} has {first!r}: only weights of one"
                    " network, trained for the same task, can be averaged"
                )
    states = [net.state_dict(), *(other.state_dict() for other, _ in others)]
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            tensor.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
    shared = {name: value for name, value in metadata.items() if name not in OF_ONE_TRAINING}
    return net, shared | {"averaged": len(paths)}


def _compared(
    net: Network, metadata: Metadata, other: Network, other_metadata: Metadata
) -> Iterator[tuple[str, object, object]]:
    """Yield name, first value and second value of everything that has to be equal."""
    yield "arch", net.arch, other.arch
    yield "options", net.options, other.options
    for name in sorted((metadata.keys() | other_metadata.keys()) - set(OF_ONE_TRAINING)):
        yield name, metadata.get(name), other_metadata.get(name)
