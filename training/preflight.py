"""What would stop a training at its first step, or make it pointless: found before that step."""

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.func import functional_call

from dsetkit.errors import RunError
from dsetkit.memory import check_memory
from training import ranks
from training.data import Samples
from training.run_dir import Stage


def check_batch_norm(
    net: nn.Module,
    stages: Iterable[Stage],
    *,
    channels: int,
    samples: int,
    batch_size: int,
    accumulate: int,
    sync_bn: bool,
) -> None:
    """Makes sure that batch norm sees more than one value per channel at every step.

    One value has no variance: torch raises an error. It happens where the network makes 1x1 maps
    of a batch of one sample.

    Args:
        net: The network; it is not changed.
        stages: The stages of the training.
        channels: Channels of the pictures that the network sees.
        samples: Train samples.
        batch_size: Samples of a batch, of all ranks together.
        accumulate: Parts that each rank takes its share of a batch in.
        sync_bn: Whether batch norm sees the batches of all ranks.

    Raises:
        RunError: It sees one value only.
    """
    share = max(1, min(batch_size, samples) // ranks.world())
    smallest = share // min(accumulate, share)
    if smallest * (ranks.world() if sync_bn else 1) > 1:
        return
    for stage in stages:
        if not _can_train(net, (1, channels, *stage.size)):
            raise RunError(
                f"batch norm sees a single value: one sample ({_why_one(samples, share)}) whose "
                f"smallest map is 1x1 at --img-sizes {stage.size_name}; give larger --img-sizes, "
                "or more samples to a step (--batch-size, --accumulate)"
            )


def _why_one(samples: int, share: int) -> str:
    if samples == 1:
        return "the dataset has 1 train sample"
    return "--batch-size" if share == 1 else "a part of --accumulate"


def _can_train(net: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether batch norm takes a batch in training; other errors are raised.

    Args:
        net: The network; it is in its former mode afterwards.
        shape: Of the pictures, (N, C, H, W).
    """
    # On the meta device nothing is computed, no memory is taken and no statistics change.
    state = {
        name: torch.empty_like(value, device="meta")
        for name, value in (*net.named_parameters(), *net.named_buffers())
    }
    modes = {module: module.training for module in net.modules()}
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            functional_call(net.train(), state, torch.zeros(shape, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        return False
    finally:
        for module, was_training in modes.items():
            module.training = was_training
    return True


def check_batch_memory(
    size: Sequence[int], device: torch.device, *, samples: int, channels: int, flags: str
) -> None:
    """Makes sure that the pictures of a batch fit into the memory of the device.

    A network takes many times as much: this finds typing errors, before a process is killed.

    Args:
        size: (height, width) of the pictures [px].
        device: Where the network is.
        samples: Samples that are there at a time.
        channels: Channels of the pictures that the network sees.
        flags: The flags that say so, with their values.

    Raises:
        RunError: They do not fit.
    """
    height, width = size
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    check_memory(
        samples * (channels + 1) * height * width * 4,  # and a target, float32
        what=flags,
        advice="give smaller ones",
        available=free,
        error=RunError,
    )


def check_has_depth(samples: Samples, split: str, *, name: str) -> None:
    """Makes sure that a split has a valid depth to learn from, or to score on.

    Args:
        samples: With the field "depth"; read until one has a valid pixel, as a rule the first.
        split: Which split they are, for the message.
        name: The dataset, for the message.

    Raises:
        RunError: There are samples, and none has a valid pixel.
    """
    if len(samples) and not any(bool((samples[i]["depth"] > 0).any()) for i in range(len(samples))):
        raise RunError(
            f"{name}: none of the {len(samples):,} {split} samples has a valid depth pixel: there "
            "is nothing to learn or to score; see `python -m dsetkit stats`"
        )
