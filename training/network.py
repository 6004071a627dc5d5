"""The network of a training: on its device, with its precision, its average and its ranks."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from dsetkit.devices import pick_device, prepare_device
from dsetkit.errors import RunError
from training import exchange
from training.ema import AveragedWeights
from training.run_files import BF16, FLOAT32
from training.sync_batch_norm import sync_batch_norm


def open_device(name: str) -> torch.device:
    """The device that this rank trains on, ready for use.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        DsetkitError: There is no such device, or fewer GPUs than ranks.
    """
    return prepare_device(exchange.own_device(pick_device(name)))


def mixed_precision(precision: str, device: torch.device) -> torch.autocast:
    """A context for the forward pass, in BF16 or in FLOAT32; see training/precision.py."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == BF16)


def heads_of(net: nn.Module) -> dict[str, str]:
    """The maps that a network predicts and the kind of each, see models/registry.py."""
    return cast(dict[str, str], net.heads)


def check_task(net: nn.Module, *, wanted: str) -> None:
    """Raises RunError when a network is for another task than the script."""
    if net.task != wanted:
        raise RunError(
            f"--arch {net.arch} is a {net.task} network: train it with train_{net.task}.py"
        )


def start_from(
    args: argparse.Namespace,
    net: nn.Module,
    *,
    load_model: Callable[..., Any],
    load_pretrained_encoder: Callable[[Any, str], object],
) -> None:
    """Gives a new run the weights that --pretrained and --init-from name.

    Args:
        args: The arguments of the training.
        net: The network; it changes in place.
        load_model: `models.load_model`.
        load_pretrained_encoder: The function of `models.pretrained`.

    Raises:
        RunError: The weights of --init-from are of another network.
    """
    if args.resume:
        return
    if args.pretrained:
        load_pretrained_encoder(net, args.pretrained)
    if args.init_from:
        copy_weights(net, load_model(args.init_from)[0], args.init_from)


def copy_weights(net: nn.Module, other: nn.Module, path: str) -> None:
    """Copies all weights of `other`, read from `path`, into `net`.

    Raises:
        RunError: The networks differ in architecture or number of input channels.
    """
    wanted, found = ((n.arch, n.in_channels) for n in (net, other))
    if found != wanted:
        raise RunError(
            f"--init-from {path} holds {found[0]} with {found[1]} input channels: expected "
            f"{wanted[0]} with {wanted[1]}; give the --arch and --inputs it was trained with"
        )
    net.load_state_dict(other.state_dict())


@dataclass(frozen=True)
class Forward:
    """Calls a network on pictures, in the precision and memory format of the training.

    Attributes:
        module: The network, maybe compiled or wrapped for several ranks.
        precision: What `mixed_precision` gives.
        memory_format: Of the pictures.
    """

    module: nn.Module
    precision: torch.autocast
    memory_format: torch.memory_format

    def __call__(self, pictures: torch.Tensor) -> Any:
        """Pictures (N, C, H, W) float32 in 0..1 -> the network's outputs, maybe in bf16."""
        with self.precision:
            return self.module(pictures.contiguous(memory_format=self.memory_format))


@dataclass(frozen=True)
class Network:
    """A network that trains, and what is validated and saved of it.

    Attributes:
        trained: The module whose weights the optimizer changes.
        average: The running average of its weights, if there is one.
        evaluated: What is validated, drawn and saved: the average, or else `trained` itself.
        forward: Calls the network in training, on this rank's share of a batch.
        evaluate: Calls `evaluated`.
    """

    trained: nn.Module
    average: AveragedWeights | None
    forward: Forward

    @property
    def evaluated(self) -> nn.Module:
        return self.average.module if self.average else self.trained

    @property
    def evaluate(self) -> Forward:
        return Forward(self.evaluated, self.forward.precision, self.forward.memory_format)

    def in_precision(self, precision: str, device: torch.device) -> "Network":
        """The same network, called in BF16 or in FLOAT32."""
        forward = replace(self.forward, precision=mixed_precision(precision, device))
        return replace(self, forward=forward)


def prepare_network(
    net: nn.Module,
    device: torch.device,
    *,
    channels_last: bool,
    compile_it: bool,
    ema: float,
    sync_bn: bool,
) -> Network:
    """Puts a network on its device and wraps it for training, in float32.

    Args:
        net: The network; it changes in place.
        device: Where it trains.
        channels_last: Whether the convolutions see pictures as (N, H, W, C) in memory.
        compile_it: Whether to compile the network.
        ema: Share of the old average kept at each step, 0..1; 0 keeps no average.
        sync_bn: Whether batch norm sees the batches of all ranks.
    """
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    use_memory_format(net.to(device), memory_format)
    net = sync_batch_norm(net, device) if sync_bn else net
    average = AveragedWeights(net, ema) if ema else None
    module = exchange.parallel(cast(nn.Module, torch.compile(net)) if compile_it else net)
    forward = Forward(module, mixed_precision(FLOAT32, device), memory_format)
    return Network(net, average, forward)


def use_memory_format(net: nn.Module, memory_format: torch.memory_format) -> None:
    """Store the weights of a network in a memory format, and compute in it.

    A layer with the attribute `memory_format`, as `Normalize` of our networks, chooses that of its
    result, which all later layers keep.
    """
    net.to(memory_format=memory_format)
    for part in net.modules():
        if hasattr(part, "memory_format"):
            cast(Any, part).memory_format = memory_format
