"""The precision of a training: what --amp means for a network on a device.

`--amp auto` is bf16 on CUDA. On a CPU it depends on the machine and on the network, so a few steps
on a copy of the network are timed in both precisions, where the CPU has instructions for bf16 and
the training is long enough to gain by it. The run's folder records what was chosen, and --resume
goes on with that.
"""

import copy
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from training import exchange, loop
from training.loop import Batch
from training.network import Forward, Network, mixed_precision
from training.run_files import BF16, FLOAT32

FASTER = 1.2  # how much faster bf16 must be: it has 8 bits of mantissa for float32's 24
WORTH_STEPS = 100  # of a whole training; a shorter one gains less than the timing costs
WARM_UP_STEPS, TIMED_STEPS = 1, 2  # in each precision, one after the other in turn


@dataclass(frozen=True)
class Precision:
    """What a training computes in.

    Attributes:
        name: BF16 or FLOAT32.
        reason: why `--amp auto` chose it, for the first line; empty where nothing was timed.
    """

    name: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name


def choose(
    amp: str,
    device: torch.device,
    *,
    recorded: str | None,
    steps: int,
    trial: Callable[[], Callable[[str], object]] | None,
    is_native: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Precision:
    """What --amp means for a training.

    Args:
        amp: "bf16", "none" or "auto".
        device: where the network trains.
        recorded: what the run that is continued computed in on such a device; None for a new one.
        steps: of the whole training.
        trial: prepares a step that changes nothing, a function of the precision; None if none is
            to be made.
        is_native: whether this CPU has instructions for bf16 (default: `has_native_bf16`).
        clock: tells the time [s].
    """
    if amp != "auto":
        return Precision(BF16 if amp == "bf16" else FLOAT32)
    if recorded is not None:
        return Precision(recorded)
    if device.type != "cpu":
        return Precision(BF16)
    if trial is None or steps < WORTH_STEPS:
        return Precision(FLOAT32)
    # Of several ranks all try, or none, because a step waits for the others.
    if not all(exchange.gather_objects((is_native or has_native_bf16)())):
        return Precision(FLOAT32)
    gain = _gain(trial(), clock)
    name = BF16 if gain >= FASTER else FLOAT32
    return Precision(name, f"a step in bf16 is {gain:.2f} times as fast as in float32")


def has_native_bf16() -> bool:
    """Whether this CPU multiplies in bf16; one that does not emulates it, slowly."""
    if platform.machine() in ("arm64", "aarch64"):
        return _arm_has_bf16()
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def _arm_has_bf16() -> bool:
    try:
        with open("/proc/cpuinfo") as file:
            return any(line.startswith("Features") and " bf16" in line for line in file)
    except OSError:
        return False


def throw_away_step(
    network: Network,
    batch: Batch,
    device: torch.device,
    *,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    loss_of: Callable[[Forward, Batch], torch.Tensor],
    clip: Callable[[nn.Module], None],
    parts: int,
) -> Callable[[str], None]:
    """A training step of a copy of a network, as `choose` tries it.

    The network, its optimizer and the state of torch's generator stay as they are, bit for bit.

    Args:
        network: that is to train.
        batch: of the training, on the device.
        device: where.
        make_optimizer: builds the optimizer of a network.
        loss_of: as of `loop.update_weights`, of the network that it is given.
        clip: see `loop.update_weights`.
        parts: see `loop.update_weights`.
    """
    net = copy.deepcopy(network.trained).train()
    optimizer = make_optimizer(net)

    def step(precision: str) -> None:
        forward = Forward(net, mixed_precision(precision, device), network.forward.memory_format)
        with torch.random.fork_rng(devices=[]):
            loop.update_weights(
                net, optimizer, lambda part: loss_of(forward, part), batch,
                lr=0.0, clip=clip, parts=parts,
            )  # fmt: skip

    return step


def _gain(try_step: Callable[[str], object], clock: Callable[[], float]) -> float:
    """How many times as fast a step is in bf16, each at its best, on the first rank."""
    seconds: dict[str, list[float]] = {FLOAT32: [], BF16: []}
    gain = 1.0
    for number in range(WARM_UP_STEPS + TIMED_STEPS):
        for name, measured in seconds.items():
            started_at = clock()
            try_step(name)
            measured.append(clock() - started_at)
        if number < WARM_UP_STEPS:
            continue
        best = {name: max(1e-9, min(each[WARM_UP_STEPS:])) for name, each in seconds.items()}
        gain = exchange.gather_objects(best[FLOAT32] / best[BF16])[0]
        if gain < 1:  # far from FASTER: another step would not change that
            break
    return gain
