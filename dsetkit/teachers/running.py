"""How a teacher's torch network is run: where, in which precision, compiled or not; in one place.

Less precision is autocast's: weights stay float32, convolutions and matrix products compute in
bf16 or fp16, norms and softmax in float32, and whatever leaves the network is float32 again.
`auto` is float32, on CUDA too. A network's last convolution answers in the lower precision: bf16
has 8 significant bits, so depth goes in steps of 0.4 to 0.8 % of itself (2 to 4 cm at 5 m), fp16 in
steps of 0.05 to 0.1 %, where datasets store millimetres. Speed is worth that to some; it is for
them to say.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dsetkit.devices import prepare_device
from dsetkit.errors import TeacherError, one_line

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Network = Callable[..., torch.Tensor | dict]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Where and how a network is run.

    Attributes:
        device: `cpu` or `cuda`.
        precision: Key of DTYPES, or `auto`.
        compiled: By `torch.compile`, anew for each size of batch and picture.

    Raises:
        TeacherError: The device does not have that precision.
    """

    device: str = "cpu"
    precision: str = "auto"
    compiled: bool = False

    def __post_init__(self) -> None:
        on_cpu = torch.device(self.device).type == "cpu"
        if self.precision == "fp16" and on_cpu:
            raise TeacherError(
                "--teacher-precision fp16 is for GPUs: use bf16 or fp32 on the CPU, or --device "
                "cuda"
            )
        if self.precision == "bf16" and not on_cpu and not _has_bf16():
            raise TeacherError(
                "--teacher-precision bf16: this GPU does not compute in bf16: use fp16 or fp32"
            )

    @property
    def settings(self) -> dict:
        """For the manifest: what can change a number."""
        lower = self.precision not in ("auto", "fp32")
        precision = {"precision": self.precision} if lower else {}
        return precision | ({"compiled": True} if self.compiled else {})

    def prepare(self, network: Network) -> Network:
        """A network that lies on the device -> what runs it as said.

        Its outputs, a tensor or a dict of them, are float32. On the CPU the process keeps from now
        on the memory it frees.
        """
        prepare_device(torch.device(self.device))
        dtype = DTYPES.get(self.precision, torch.float32)
        lower = dtype != torch.float32
        device_type = torch.device(self.device).type
        # Not dynamic: the graph for a size must not depend on which sizes came before, or a
        # dataset that was cut off would go on with other last bits.
        forward = torch.compile(network, dynamic=False) if self.compiled else network

        def run(*inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor | dict:
            cast = torch.autocast(device_type, dtype if lower else None, enabled=lower)
            try:
                with cast:
                    return _as_float32(forward(*inputs, **named))
            except torch._dynamo.exc.TorchDynamoException as error:
                raise TeacherError(
                    f"--teacher-compile: torch cannot compile this network here "
                    f"({one_line(error)}): it needs a C++ compiler (apt install g++), on CUDA "
                    "Triton too; without the flag the labels are the same but for last bits"
                ) from error

        return run


PLAIN = Runner()  # on the CPU, in float32


def _has_bf16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _as_float32(outputs: torch.Tensor | dict) -> torch.Tensor | dict:
    """A tensor, or the tensors of a dict (which outputs of transformers are), in float32."""
    if isinstance(outputs, torch.Tensor):
        return outputs.float()
    for name, value in list(outputs.items()):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            outputs[name] = value.float()
    return outputs
